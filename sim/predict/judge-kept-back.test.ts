import { expect, it } from 'vitest';
import { DEFAULT_TRAINING } from '../../src/predict/training/train-model.js';
import { tooFewToJudge } from './judge-kept-back.js';
import { traceCalls } from './trace-calls.js';

it('a source with too little to learn from or to judge is told apart before it is tried', () => {
  const call = (task: string, index: number) => ({
    ...{ request_id: `${task}-${index}`, task, input_length: 9, output_length: 5 },
  });
  const history = (tasks: readonly string[], derived: readonly string[] = []) =>
    traceCalls(tasks.flatMap((task) => [0, 1].map((index) => ({ ...call(task, index), derived: [...derived] }))));
  const why = (calls: ReturnType<typeof history>) => tooFewToJudge(calls, DEFAULT_TRAINING, 0.3);
  expect(why(history(Array.from({ length: 40 }, (_, index) => `task-${index}`)))).toBeUndefined();
  expect(why(history(['one']))).toMatch(/^its 2 calls with a known length are all .*split by task/);
  expect(why(history(['a', 'b'], ['output_length:rule']))).toBe('no call has a known length');
});
