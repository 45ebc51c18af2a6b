import { describe, expect, it } from 'vitest';
import { testEngine } from '../node/testing.js';
import { modelsOnSharedGpus } from './shared-gpus.js';

describe('modelsOnSharedGpus', () => {
  const engine = (nodeId: string, model: string, ...gpuIndices: number[]) => ({
    ...testEngine(`${nodeId}-${model}-${gpuIndices}`),
    ...{ nodeId, model, gpuIndices },
  });

  it('are those with a neighbour of another model on any of their GPUs', () => {
    const fleet = [engine('n', 'a', 0), engine('n', 'b', 0, 1), engine('n', 'c', 2), engine('n', 'c', 2)];
    expect([...modelsOnSharedGpus(fleet)].sort()).toEqual(['a', 'b']);
  });

  it('are none where GPUs of different nodes have the same number, or are not known', () => {
    expect(modelsOnSharedGpus([engine('n', 'a', 0), engine('m', 'b', 0)]).size).toBe(0);
    expect(modelsOnSharedGpus([engine('n', 'a'), engine('n', 'b')]).size).toBe(0);
  });
});
