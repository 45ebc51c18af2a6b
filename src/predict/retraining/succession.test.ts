import { describe, expect, it } from 'vitest';
import { completed, FIRST_CONTEXT, makeStage } from '../../../test/stage-fixture.js';
import { OnlinePredictor } from '../predictor.js';
import type { StageModel } from '../stage-model.js';
import type { SuccessionEvent } from './succession.js';
import { TRIAL_CALLS } from './trial.js';

/** Says the same of every call, right or wrong; bounds far away, so that they do not decide. */
function saying(tokens: number, q95 = 1000): StageModel {
  const [median, tail] = [Math.log1p(tokens), Math.log1p(q95)];
  const rules = {
    boundLogOffset: 0,
    repeatLogTolerance: 0,
    toolIntent: false,
    lookupTemplates: [],
    lengthErrors: [],
    remainingTemplates: [],
  };
  return { rules, evaluate: () => Float64Array.of(0, median, median, tail, median) };
}

class Traffic {
  readonly events: SuccessionEvent[] = [];
  private calls = 0;

  constructor(readonly predictor: OnlinePredictor) {}

  challenge(model: StageModel): void {
    this.predictor.challenge(model, (event) => this.events.push(event));
  }

  /** Calls of so many tokens, each by another agent in another template, so that no lookup knows them; answers the last median. */
  run(calls: number, tokens: number): number {
    let median = 0;
    for (let call = 0; call < calls; call++) {
      const name = `n${this.calls++}`;
      const stage = makeStage({ stageId: name, template: name, role: name });
      median = this.predictor.predict(stage, FIRST_CONTEXT).outputTokens.q50;
      this.predictor.observe(stage, FIRST_CONTEXT, completed(tokens));
    }
    return median;
  }
}

describe('a challenger', () => {
  it('serves once it has proved clearly better, and is confirmed where the one before is not', () => {
    const traffic = new Traffic(new OnlinePredictor({ model: saying(300) }));
    traffic.challenge(saying(200));
    expect(traffic.run(TRIAL_CALLS, 200)).toBe(300);
    expect(traffic.events).toEqual(['promoted']);
    expect(traffic.run(TRIAL_CALLS, 200)).toBe(200);
    expect(traffic.events).toEqual(['promoted', 'confirmed']);
  });

  it('is dismissed where it is not clearly better', () => {
    const traffic = new Traffic(new OnlinePredictor({ model: saying(300) }));
    traffic.challenge(saying(299));
    expect(traffic.run(TRIAL_CALLS, 200)).toBe(300);
    expect(traffic.run(1, 200)).toBe(300);
    expect(traffic.events).toEqual(['dismissed']);
  });

  it('is dismissed where its bounds are worse, however good its medians', () => {
    const traffic = new Traffic(new OnlinePredictor({ model: saying(300, 400) }));
    traffic.challenge(saying(200, 100_000));
    traffic.run(TRIAL_CALLS, 200);
    expect(traffic.events).toEqual(['dismissed']);
  });

  it('is rolled back when the calls turn out otherwise', () => {
    const traffic = new Traffic(new OnlinePredictor({ model: saying(300) }));
    traffic.challenge(saying(200));
    traffic.run(TRIAL_CALLS, 200);
    traffic.run(TRIAL_CALLS, 300);
    expect(traffic.events).toEqual(['promoted', 'rolled_back']);
    expect(traffic.run(1, 300)).toBe(300);
  });

  it('may follow upon no model, where it knows more than lookups do', () => {
    let truth = 0;
    const knowing: StageModel = {
      ...saying(0),
      evaluate: () => saying(truth, 400).evaluate(new Float64Array(), 0, ''),
    };
    const traffic = new Traffic(new OnlinePredictor());
    traffic.challenge(knowing);
    for (let call = 0; call < TRIAL_CALLS; call++) {
      truth = call % 2 === 0 ? 100 : 400;
      traffic.run(1, truth);
    }
    expect(traffic.events).toEqual(['promoted']);
    expect(Math.abs(traffic.run(1, truth) - truth)).toBeLessThanOrEqual(1);
  });
});
