import { expect, it } from 'vitest';
import { OnlinePredictor } from '../../src/predict/predictor.js';
import { staticMedians } from '../../src/predict/training/medians.js';
import { predictionTrace } from '../../test/prediction-trace.js';
import { type JudgedHistory, judgeCalls } from './judge-calls.js';
import { predictionReport } from './report.js';
import { traceCalls } from './trace-calls.js';

const history = traceCalls([...predictionTrace(150), ...predictionTrace(20, 'report', 2)]);
const judged = judgeCalls(history, new OnlinePredictor({ blockTokens: 1 }), staticMedians(history));

/** The judged calls with other truths, predictions and steps. */
function reportOf(change: (call: JudgedHistory['calls'][number], index: number) => object, steps = judged.steps) {
  const calls = judged.calls.map((call, index) => ({ ...call, ...change(call, index) }));
  return predictionReport({ ...judged, calls, steps })!;
}

it('tells how far off medians and baselines were, of all calls and of each template', () => {
  const { length, baselines, templates, calls } = reportOf((call) => ({
    outputTokens: call.prediction.outputTokens.q50 + (call.call.stage.template === 'report' ? 30 : 10),
    lookups: { ...call.lookups, lastOfRole: call.prediction.outputTokens.q50 },
    ewmaTokens: call.prediction.outputTokens.q50 - 5,
  }));
  expect([calls, length.calls]).toEqual([680, 680]);
  expect(templates['essay']!.length.mae).toBeCloseTo(10, 9);
  expect(templates['report']!.length.mae).toBeCloseTo(30, 9);
  expect(length.mae).toBeCloseTo((600 * 10 + 80 * 30) / 680, 9);
  // Half of an error by which the median was too low.
  expect(templates['report']!.length.pinball.q50).toBeCloseTo(15, 9);
  expect(templates['report']!.baselines.ewma.mae).toBeCloseTo(35, 9);
  expect(baselines.bestLookup).toEqual({ name: 'lastOfRole', mae: baselines.lastOfRole.mae });
  expect(baselines.lastOfRole.mae).toBeCloseTo(length.mae, 9);
});

it('leaves calls without a known length out of what is said of lengths', () => {
  const { calls, length } = reportOf(({ boundTokens }, index) => ({
    outputTokens: index % 2 === 0 ? boundTokens : undefined,
  }));
  expect([calls, length.calls]).toEqual([680, 340]);
});

it('tells which share outgrew its bound, and of the role with enough calls that fared worst', () => {
  const { coverage, templates } = reportOf(({ call, boundTokens }, index) => ({
    // A call that just fits has not outgrown its bound.
    outputTokens: boundTokens + Number(call.stage.role === 'critic' && index % 8 === 3),
  }));
  const critics = judged.calls.filter(({ call }) => call.stage.role === 'critic');
  const over = judged.calls.filter(({ call }, index) => call.stage.role === 'critic' && index % 8 === 3).length;
  expect(over).toBeGreaterThan(0);
  expect(coverage.overflow).toBeCloseTo(over / 680, 9);
  expect(coverage.overflowAfter1000).toBeUndefined();
  expect(critics.length).toBeLessThan(500);
  expect(coverage.worstLargeRole).toBeUndefined();
  // The critics of a model have fewer than a hundred calls each, so that only writers are enough.
  expect(coverage.worstRole?.role).toBe('writer');
  expect(templates['report']!.coverage.worstRole).toBeUndefined();
});

it('tells how often what came next was the first, or among the first two, that were said', () => {
  const step = (next: string | undefined, ...ranked: (string | undefined)[]) => ({ template: 'essay', next, ranked });
  const { nextRole } = reportOf(
    () => ({}),
    [
      step('a', 'a', 'b'),
      step('b', 'a', 'b', 'c'),
      step('c', 'a', 'b', 'c'),
      // The workflow ended, which was said.
      step(undefined, undefined, 'a'),
      step('a'),
    ],
  );
  expect(nextRole).toEqual({ calls: 5, top1: 0.4, top2: 0.6 });
});

it('tells how well tool calls were told apart', () => {
  const chosen = (index: number) => index % 10 === 0;
  const tool = (right: boolean) =>
    reportOf(({ prediction }, index) => ({
      toolCalled: chosen(index) ? index % 20 === 0 : undefined,
      prediction: { ...prediction, toolProbability: (index % 20 === 0) === right ? 0.9 : 0.1 },
    })).tool;
  expect(tool(true)).toMatchObject({ calls: 68, share: 0.5, auc: 1 });
  expect(tool(true).brier).toBeCloseTo(0.01, 9);
  expect(tool(false)).toMatchObject({ auc: 0 });
});
