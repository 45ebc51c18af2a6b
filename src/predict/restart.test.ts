import { expect, it } from 'vitest';
import { traceCalls } from '../../sim/predict/trace-calls.js';
import { predictionTrace } from '../../test/prediction-trace.js';
import type { CallHistory } from './examples.js';
import { OnlinePredictor } from './predictor.js';
import { forestModel } from './stage-model.js';
import { DEFAULT_TRAINING, trainModel } from './training/train-model.js';

const trained = trainModel(traceCalls(predictionTrace(150)), { ...DEFAULT_TRAINING, trees: 20, leaves: 7 });
const config = { serviceTimeMs: (_model: string, prompt: number, _cached: number, output: number) => prompt + output };
/** Of the kind that was trained on, and of another, three times as long as the model thinks. */
const served = traceCalls([
  ...predictionTrace(60, 'essay', 2),
  ...predictionTrace(60, 'report', 3).map((row) => ({ ...row, output_length: 3 * row.output_length })),
]);

function run(predictor: OnlinePredictor, { calls, events }: CallHistory): void {
  for (const event of events) {
    if (event.kind === 'workflowEnded') {
      predictor.workflowEnded(event.workflowId);
      continue;
    }
    const { stage, context, outcome } = calls[event.call]!;
    if (event.kind === 'begin') predictor.predict(stage, context);
    else predictor.observe(stage, context, outcome);
  }
}

it.each([
  ['without a model', () => new OnlinePredictor(config)],
  ['with a model', () => new OnlinePredictor({ ...config, model: forestModel(trained.model) })],
])('all that was learned survives a restart, %s', (_name, make) => {
  const before = make();
  run(before, served);
  const after = make();
  const fresh = after.state();
  const { model: learned, ...shared } = JSON.parse(JSON.stringify(before.state())) as ReturnType<typeof before.state>;
  // Something was learned in every part, else its loss would not show.
  const { model: nothing, ...none } = fresh;
  for (const [part, empty] of Object.entries({ ...none, ...nothing })) {
    expect({ ...shared, ...learned }[part as keyof typeof shared], part).not.toEqual(empty);
  }
  after.restore(JSON.parse(JSON.stringify(before.state())));
  expect(after.state()).toEqual(before.state());

  const next = traceCalls(predictionTrace(20, 'report', 4)).calls;
  for (const { stage, context } of next) {
    const [said, again] = [before.predict(stage, context), after.predict(stage, context)];
    expect(again.source).toBe(said.source);
    // What is saved is rounded.
    expect(Math.abs(again.outputTokens.q50 - said.outputTokens.q50)).toBeLessThanOrEqual(
      1 + 0.01 * said.outputTokens.q50,
    );
    expect(again.kvTokens.bound / said.kvTokens.bound).toBeCloseTo(1, 1);
    expect(again.remainingMs / said.remainingMs || 1).toBeCloseTo(1, 1);
    const [next, nextAgain] = [before, after].map((each) => each.nextAfter(stage, context, undefined)[0]);
    expect([nextAgain?.role, nextAgain?.model]).toEqual([next?.role, next?.model]);
  }
});
