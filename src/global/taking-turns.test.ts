import { describe, expect, it } from 'vitest';
import { testEngine, testNode } from '../node/node-fixture.js';
import { modelsTakingTurns } from './taking-turns.js';

/** GPUs of 80 GiB; an engine takes 1 GiB more than its weights and KV memory. */
const engine = (model: string, weightGiB: number, kvGiB: number, ...gpuIndices: number[]) =>
  testEngine(`${model}-${gpuIndices}`, { model, weightGiB, kvGiB, gpuIndices });
const turns = (...engines: ReturnType<typeof engine>[]) => [...modelsTakingTurns([testNode(engines)])].sort();

describe('modelsTakingTurns', () => {
  it('are those that do not fit a GPU together', () => {
    expect(turns(engine('a', 30, 20, 0), engine('b', 20, 10, 0, 1), engine('c', 60, 10, 1))).toEqual(['a', 'b', 'c']);
    expect(turns(engine('a', 30, 20, 0), engine('b', 20, 8, 0), engine('c', 60, 10, 1))).toEqual([]);
  });

  it('are none where a GPU has one model, or GPUs are not known', () => {
    expect(turns(engine('a', 50, 20, 0), engine('a', 50, 20, 0))).toEqual([]);
    expect(turns(engine('a', 50, 20, 0), engine('b', 50, 20, 1))).toEqual([]);
    expect(turns(engine('a', 50, 20), engine('b', 50, 20))).toEqual([]);
  });
});
