import { describe, expect, it } from 'vitest';
import { kvMemories, kvMemoryOf } from './kv-memory.js';
import { findLlm } from './llm-catalogue.js';
import { kvBytesForSequence, kvPoolTokens } from './memory.js';
import { GiB } from './units.js';

const of = (name: string, gpus = 1, maxModelLen = 32_768) => {
  const llm = findLlm(name)!;
  return { llm, memory: kvMemoryOf({ llm, gpuIndices: Array.from({ length: gpus }, (_, gpu) => gpu), maxModelLen })! };
};

describe('kvMemoryOf', () => {
  it('counts whole blocks of all GPUs, and the full blocks of a shared prefix', () => {
    const { llm, memory } = of('llama-3.1-8b', 2);
    expect(memory.isEven).toBe(true);
    expect(memory.bytes(17)).toBe(2 * kvBytesForSequence(llm, 32, 'bf16', 2));
    expect(memory.sharedBytes(31)).toBe(memory.bytes(16));
    expect(memory.poolTokens(17)).toBe(32);
  });

  it('knows the compressed cache of latent attention, which every GPU holds whole', () => {
    const { memory } = of('deepseek-v3', 8);
    // 61 layers of 512 + 64 numbers in 16 bits, on each of 8 GPUs.
    expect(memory.bytes(16)).toBe(8 * 61 * 576 * 2 * 16);
  });

  it('counts a short sequence of sliding windows for what it takes of the pool', () => {
    const { llm, memory } = of('gemma-3-27b');
    expect(memory.isEven).toBe(false);
    const pool = kvPoolTokens(40 * GiB, llm, 'bf16', 1, 32_768);
    // As many short sequences as the pool's tokens say fit its bytes, and no block more.
    const sequences = Math.floor(pool / memory.poolTokens(1000));
    expect(sequences * memory.bytes(1000)).toBeLessThanOrEqual(40 * GiB);
    expect((sequences + 2) * memory.bytes(1000)).toBeGreaterThan(40 * GiB);
    expect(memory.poolTokens(1000)).toBeGreaterThan(2 * 1000);
    expect(memory.poolTokens(32_768)).toBe(32_768);
  });

  it('says nothing of a model that is not known', () => {
    expect(kvMemoryOf({ gpuIndices: [], maxModelLen: 1 })).toBeUndefined();
    expect(kvMemories([])('any')).toBeUndefined();
  });
});
