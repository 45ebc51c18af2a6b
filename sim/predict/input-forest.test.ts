import { describe, expect, it } from 'vitest';
import { completed, FIRST_CONTEXT, makeStage } from '../../test/stage-fixture.js';
import { InputForest } from './input-forest.js';

describe('InputForest', () => {
  it('tells the mean of the calls whose prompts are as long', () => {
    const calls = Array.from({ length: 400 }, (_, call) => {
      const isLong = call % 2 === 0;
      const stage = makeStage({ stageId: `s${call}`, promptTokens: isLong ? 4000 : 100 });
      // A few long answers among the short ones: a median would not see them.
      const tokens = isLong ? 500 : call % 8 === 1 ? 900 : 100;
      return { stage, context: FIRST_CONTEXT, outcome: completed(tokens), task: `t${call}` };
    });
    const forest = InputForest.train({ calls, events: [] });
    expect(forest.tokens(4000)).toBeCloseTo(500, 0);
    expect(forest.tokens(100)).toBeGreaterThan(250);
    expect(forest.tokens(100)).toBeLessThan(350);
  });
});
