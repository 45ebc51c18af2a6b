import { describe, expect, it } from 'vitest';
import { ONE_SEAT, testScenario } from '../../test/sim-scenario.js';
import { completed, FIRST_CONTEXT, makeStage } from '../../test/stage-fixture.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import type { PredictionMode, Reservation } from '../types.js';
import { Predictions } from './predictions.js';
import { openRun } from './runs.js';

const MODEL = 'llama-3.1-8b';
/** Two calls, one after the other; the first answers with 700 tokens, the second with 100. */
const ROWS: TraceRow[] = [
  { request_id: 'a', workflow_id: 'w', timestamp: 0, input_length: 1000, output_length: 700, model: MODEL },
  { request_id: 'b', workflow_id: 'w', wait_for: ['a'], input_length: 1000, output_length: 100, model: MODEL },
];
const [workflow] = groupWorkflows(ROWS);
const run = openRun({ atMs: 0, workflow: workflow!, sloClass: 'interactive', deadlineMs: 60_000 });
const stage = makeStage({ model: MODEL, role: 'writer', promptTokens: 1000, maxTokens: 4096 });
const scenario = testScenario(ONE_SEAT, [workflow!]);

function predictions(prediction: PredictionMode, reservation: Reservation = 'predicted', seed = 1) {
  const made = new Predictions({ ...scenario, prediction, reservation, seed });
  return {
    made,
    say: (row = ROWS[0]!) => made.predict(stage, FIRST_CONTEXT, run, row, row.output_length),
  };
}
/** The time of a call on an engine of the fleet, and of the one that follows. */
const serviceMs = (tokens: number) => scenario.serviceTimeMs!(MODEL, 1000, 0, tokens)!;

describe('what schedulers are told in place of the live predictions', () => {
  it('is the truth, and what follows it', () => {
    const { outputTokens, remainingMs, source } = predictions({ kind: 'oracle' }).say();
    expect(outputTokens).toMatchObject({ q50: 700, mean: 700 });
    expect(source).toBe('foresight');
    expect(remainingMs).toBeCloseTo(serviceMs(100), 6);
    expect(predictions({ kind: 'oracle' }).say(ROWS[1]).remainingMs).toBe(0);
  });

  it('is the truth times a factor whose logarithm has the sigma that is asked for, drawn by the seed', () => {
    const draw = (sigma: number, seed = 1) => {
      const { say } = predictions({ kind: 'noise', sigma }, 'predicted', seed);
      return Array.from({ length: 2000 }, () => say()).map(({ outputTokens, remainingMs }) => {
        // Lengths and what is left are wrong together.
        expect(remainingMs / serviceMs(100)).toBeCloseTo(outputTokens.q50 / 700, 1);
        return Math.log(outputTokens.q50 / 700);
      });
    };
    const logs = draw(0.5);
    const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
    const deviation = Math.sqrt(logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / logs.length);
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.abs(deviation - 0.5)).toBeLessThan(0.03);
    expect(draw(0.5)).toEqual(logs);
    expect(draw(0.5, 2)).not.toEqual(logs);
    expect(new Set(draw(0))).toEqual(new Set([0]));
  });

  it('is nothing: all calls look alike', () => {
    const { say, made } = predictions({ kind: 'none' });
    const before = say();
    for (let call = 0; call < 50; call++) made.observe(stage, FIRST_CONTEXT, completed(900));
    const after = say(ROWS[1]);
    expect(after.outputTokens).toEqual(before.outputTokens);
    expect([after.serviceMs, after.remainingMs]).toEqual([before.serviceMs, 0]);
  });

  it('is the running median of the role', () => {
    const { say, made } = predictions({ kind: 'role-median' });
    const fresh = say().outputTokens.q50;
    for (const tokens of [50, 60, 70, 80, 4000]) made.observe(stage, FIRST_CONTEXT, completed(tokens));
    expect(say().outputTokens.q50).toBe(70);
    const other = made.predict({ ...stage, role: 'critic' }, FIRST_CONTEXT, run, ROWS[0]!, 700);
    expect(other.outputTokens.q50).toBe(fresh);
  });

  it.each(['none', 'oracle', 'role-median', 'online'] as const)('leaves memory to the calibrated bound: %s', (kind) => {
    const { say, made } = predictions({ kind });
    const online = predictions({ kind: 'online' });
    for (let call = 0; call < 50; call++) {
      for (const each of [made, online.made]) each.observe(stage, FIRST_CONTEXT, completed(300));
    }
    expect(say().kvTokens.bound).toBe(online.say().kvTokens.bound);
  });
});

describe('what is reserved', () => {
  it.each([
    ['oracle', 1700],
    ['max-tokens', 5096],
  ] as const)('is by %s the prompt and %i tokens in all', (reservation, tokens) => {
    const { kvTokens } = predictions({ kind: 'online' }, reservation).say();
    expect(kvTokens).toMatchObject({ q50: tokens, bound: tokens });
  });
});
