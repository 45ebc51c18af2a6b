import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextNormal, SeededRng } from '../model/rng.js';
import { LengthTrust } from './length-trust.js';

const USUAL_TOKENS = 300;
const KIND = 'research\nmodel-a\nwriter';

/** Has seen calls of log-normal lengths around the usual one, of which the truth times noise, and times a constant, was said. */
function taught(sigma: number, { calls = 400, bias = 1 } = {}): LengthTrust {
  const rng = new SeededRng(7);
  const normal = () => nextNormal(rng);
  const trust = new LengthTrust(10);
  for (let call = 0; call < calls; call++) {
    const trueTokens = USUAL_TOKENS * Math.exp(0.7 * normal());
    trust.observe(KIND, bias * trueTokens * Math.exp(sigma * normal()), trueTokens);
  }
  return trust;
}

const said = fc.integer({ min: 1, max: 100_000 });
const pairs = fc.array(fc.tuple(said, said), { maxLength: 300 });
const fed = (calls: readonly (readonly [number, number])[]) => {
  const trust = new LengthTrust(10);
  for (const [saidTokens, trueTokens] of calls) trust.observe(KIND, saidTokens, trueTokens);
  return trust;
};

describe('LengthTrust', () => {
  it('leaves what is right as it is, also where it is always right by the same factor', () => {
    expect(taught(0).drawnIn(KIND, 1500)).toBeCloseTo(1500, 6);
    expect(taught(0, { bias: 3 }).drawnIn(KIND, 1500)).toBeCloseTo(1500, 6);
  });

  it('leaves what may be right as it is, until many calls speak against it', () => {
    // Four fifths of a difference come true, give or take a third of a length.
    const drawnIn = (calls: number) => {
      const side = (call: number) => (call % 2 === 0 ? 1 : -1);
      const seen = Array.from({ length: calls }, (_, call): [number, number] => [
        USUAL_TOKENS * Math.exp(0.35 * side(call)),
        USUAL_TOKENS * Math.exp(0.28 * side(call) + 0.3 * side(Math.floor(call / 2))),
      ]);
      return fed(seen).drawnIn(KIND, 1500);
    };
    expect(drawnIn(16)).toBe(1500);
    expect(drawnIn(256)).toBeLessThan(1450);
  });

  it('draws the rest in, the more the less of it comes true, and towards what is usually said', () => {
    const [little, more] = [1, 2].map((sigma) => taught(sigma).drawnIn(KIND, 1500));
    expect(little).toBeGreaterThan(400);
    expect(little).toBeLessThan(900);
    expect(more).toBeLessThan(little!);
    expect(more).toBeGreaterThan(0.8 * USUAL_TOKENS);
    expect(taught(2, { bias: 3 }).drawnIn(KIND, 3 * 1500) / (3 * more!)).toBeCloseTo(1, 1);
  });

  it('believes what is said of a kind before it has seen a few calls of it', () => {
    expect(taught(2, { calls: 15 }).drawnIn(KIND, 1500)).toBe(1500);
    expect(taught(2).drawnIn('another', 1500)).toBe(1500);
  });

  it('follows a predictor that becomes good', () => {
    const trust = taught(2);
    for (let call = 0; call < 2000; call++) {
      const tokens = 50 + ((37 * call) % 1000);
      trust.observe(KIND, tokens, tokens);
    }
    expect(trust.drawnIn(KIND, 1500) / 1500).toBeGreaterThan(0.95);
  });

  it('never draws beyond what is usually said, and keeps the order of a kind', () => {
    fc.assert(
      fc.property(pairs, said, said, (calls, a, b) => {
        const trust = fed(calls);
        const usual = Math.exp(calls.reduce((sum, [tokens]) => sum + Math.log(tokens), 0) / Math.max(1, calls.length));
        const drawn = trust.drawnIn(KIND, a);
        expect((trust.drawnIn(KIND, b) - drawn) * (b - a)).toBeGreaterThanOrEqual(0);
        if (calls.length > 256) return;
        expect(drawn).toBeGreaterThanOrEqual(Math.min(a, usual) * (1 - 1e-9));
        expect(drawn).toBeLessThanOrEqual(Math.max(a, usual) * (1 + 1e-9));
      }),
    );
  });

  it('goes on after a restart as if nothing had happened', () => {
    const before = taught(1);
    const after = new LengthTrust(10);
    after.restore(JSON.parse(JSON.stringify(before.state())));
    expect(after.drawnIn(KIND, 1500) / before.drawnIn(KIND, 1500)).toBeCloseTo(1, 2);
    expect(after.state()).toEqual(before.state());
  });
});
