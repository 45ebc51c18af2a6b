import { describe, expect, it } from 'vitest';
import { completed, FIRST_CONTEXT, makeStage } from '../../test/stage-fixture.js';
import { nextNormal, type Rng, SeededRng } from '../model/rng.js';
import { BoundCalibration } from './calibration.js';
import { OnlinePredictor } from './predictor.js';

/** Share of calls that outgrow their bound after the first `skip`, when lengths follow `length(call, rng)`. */
function overflowShare(seed: number, calls: number, skip: number, length: (call: number, rng: Rng) => number): number {
  const rng = new SeededRng(seed);
  const predictor = new OnlinePredictor({ targetOverflow: 0.05 });
  let overflows = 0;
  for (let call = 0; call < calls; call++) {
    const stage = makeStage({ maxTokens: 100_000 });
    const { bound } = predictor.predict(stage, FIRST_CONTEXT).kvTokens;
    const outputTokens = Math.max(1, Math.round(length(call, rng)));
    if (call >= skip && stage.promptTokens + outputTokens > bound) overflows += 1;
    predictor.observe(stage, FIRST_CONTEXT, completed(outputTokens));
  }
  return overflows / (calls - skip);
}

const SHAPES: Record<string, (call: number, rng: Rng) => number> = {
  'a steady role': (_call, rng) => 300 * Math.exp(0.7 * nextNormal(rng)),
  'a role that grows by half a log unit': (call, rng) => 300 * Math.exp(0.7 * nextNormal(rng) + (0.5 * call) / 6000),
  'a role that jumps up and down': (call, rng) => (call % 2000 < 1000 ? 200 : 600) * Math.exp(0.5 * nextNormal(rng)),
  'a role with a heavy tail': (_call, rng) => 100 * (1 - rng.next()) ** (-1 / 1.5),
  'a role of two kinds of answer': (_call, rng) => (rng.next() < 0.9 ? 80 : 2500) * Math.exp(0.2 * nextNormal(rng)),
};

describe('bound calibration', () => {
  it.each(Object.entries(SHAPES))('overflows in 5 ± 1 %% of the calls: %s', (_name, length) => {
    for (const seed of [1, 2, 3]) {
      const share = overflowShare(seed, 6000, 500, length);
      expect(share).toBeGreaterThan(0.04);
      expect(share).toBeLessThan(0.06);
    }
  });

  it('moves by steps that fall from 0.2 to 0.05 log tokens over the first hundred calls of a role', () => {
    const calibration = new BoundCalibration({ targetOverflow: 0.05, maxRoles: 10, initialLogOffset: 0 });
    const moved = (overflowed: boolean) => {
      const before = Math.log(calibration.factor('r'));
      calibration.observe('r', overflowed);
      return Math.log(calibration.factor('r')) - before;
    };
    calibration.observe('r', false);
    expect(moved(true)).toBeCloseTo(0.95 * 0.1985, 9);
    for (let call = 2; call < 50; call++) calibration.observe('r', false);
    expect(moved(true)).toBeCloseTo(0.95 * 0.125, 9);
    for (let call = 51; call < 300; call++) calibration.observe('r', false);
    expect(moved(true)).toBeCloseTo(0.95 * 0.05, 9);
    expect(moved(false)).toBeCloseTo(-0.05 * 0.05, 9);
  });

  it('begins with the offset of the training, and a role that nobody has seen not below it', () => {
    const trained = { initialLogOffset: 0.3, newRoleLogOffset: 0.3 };
    const calibration = new BoundCalibration({ targetOverflow: 0.05, maxRoles: 10, ...trained });
    expect(calibration.factor('new')).toBeCloseTo(Math.exp(0.3), 9);
    for (let call = 0; call < 500; call++) calibration.observe('old', false);
    expect(calibration.factor('old')).toBeLessThan(1);
    expect(calibration.factor('new')).toBeCloseTo(Math.exp(0.3), 9);
  });
});
