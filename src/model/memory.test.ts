import { describe, expect, it } from 'vitest';
import { findGpu } from './gpu-catalogue.js';
import { findLlm } from './llm-catalogue.js';
import { kvBytesForSequence, kvBytesPerToken, kvPoolBytes, kvPoolTokens, weightBytesPerGpu } from './memory.js';
import { GB, GiB, KiB } from './units.js';

const llm = (name: string) => findLlm(name)!;

describe('kvBytesPerToken', () => {
  it.each([
    ['llama-3.1-8b', 'bf16', 1, 131_072],
    ['llama-3.1-70b', 'bf16', 1, 327_680],
    ['llama-3.1-70b', 'bf16', 4, 81_920],
    ['llama-3.1-70b', 'fp8', 4, 40_960],
    // Eight KV heads cannot be cut in sixteen.
    ['llama-3.1-70b', 'bf16', 16, 40_960],
    ['qwen3-0.6b', 'bf16', 1, 114_688],
    ['qwen3-30b-a3b', 'bf16', 1, 98_304],
    ['deepseek-v3', 'bf16', 1, 70_272],
    ['deepseek-v3', 'bf16', 8, 70_272],
    ['deepseek-v3', 'fp8', 8, 40_016],
    ['gpt-oss-120b', 'bf16', 1, 36 * KiB],
    ['gemma-3-27b', 'bf16', 1, 80 * KiB],
    ['qwen3.5-27b', 'bf16', 1, 64 * KiB],
  ] as const)('%s %s TP%i: %i', (name, dtype, tp, bytes) => {
    expect(kvBytesPerToken(llm(name), dtype, tp)).toBe(bytes);
  });
});

describe('kvBytesForSequence', () => {
  it('counts whole blocks', () => {
    const block = 16 * 131_072;
    expect([0, 1, 16, 17].map((tokens) => kvBytesForSequence(llm('llama-3.1-8b'), tokens, 'bf16', 1))).toEqual([
      0,
      block,
      block,
      2 * block,
    ]);
  });

  it('adds the window of the other layers, which stops growing', () => {
    const gptOss = llm('gpt-oss-120b');
    // 18 of 36 layers see 128 tokens: at most 9 blocks of 16, whatever the length.
    const window = 9 * 16 * 36 * KiB;
    expect(kvBytesForSequence(gptOss, 16_000, 'bf16', 1)).toBe(16_000 * 36 * KiB + window);
    expect(kvBytesForSequence(gptOss, 32, 'bf16', 1)).toBe(32 * 72 * KiB);
  });

  it('adds a fixed state for recurrent layers', () => {
    const qwen = llm('qwen3.5-27b');
    expect(kvBytesForSequence(qwen, 160, 'bf16', 1) - 160 * 64 * KiB).toBe(48 * qwen.stateBytesPerLayer!);
  });
});

describe('weightBytesPerGpu', () => {
  it.each([
    ['llama-3.1-8b', 'bf16', 1, 16.06],
    ['llama-3.1-70b', 'bf16', 4, 35.3],
    // RedHatAI's FP8 checkpoint is 72.7 GB, the AWQ one 39.8 GB.
    ['llama-3.1-70b', 'fp8', 1, 72.7],
    ['llama-3.1-70b', 'int4', 1, 41.9],
    // Published checkpoints: 60.8 and 12.8 GiB.
    ['gpt-oss-120b', 'mxfp4', 1, 65.3],
    ['gpt-oss-20b', 'mxfp4', 1, 13.75],
    ['kimi-k2.5', 'int4', 8, 595 / 8],
  ] as const)('%s %s TP%i: about %d GB', (name, dtype, tp, gigabytes) => {
    const ratio = weightBytesPerGpu(llm(name), dtype, tp) / GB / gigabytes;
    expect(ratio).toBeGreaterThan(0.97);
    expect(ratio).toBeLessThan(1.03);
  });

  it('has in each data-parallel rank all but the routed experts', () => {
    const dense = llm('llama-3.1-8b');
    expect(weightBytesPerGpu(dense, 'bf16', 2, 2)).toBe(weightBytesPerGpu(dense, 'bf16', 1));
    // Of 30.5 billion parameters 1.5 are not in routed experts.
    const mixture = llm('qwen3-30b-a3b');
    expect(weightBytesPerGpu(mixture, 'bf16', 2, 2) / GB).toBeCloseTo(29 + 2 * 1.5, 0);
    expect(weightBytesPerGpu(mixture, 'bf16', 2) / GB).toBeCloseTo(30.5, 0);
  });
});

describe('kvPoolBytes', () => {
  it('matches a measured pool: 41 408 tokens of Llama-3.1-8B on an RTX 4090, and not the 54 400 without overheads', () => {
    const options = { maxNumBatchedTokens: 2048 };
    const bytes = kvPoolBytes(findGpu('rtx-4090')!, llm('llama-3.1-8b'), 'bf16', 1, 0.92, options);
    const tokens = kvPoolTokens(bytes, llm('llama-3.1-8b'), 'bf16', 1, 8192);
    expect(tokens / 41_408).toBeGreaterThan(0.95);
    expect(tokens / 41_408).toBeLessThan(1.05);
  });

  it('is 0 when the weights do not fit', () => {
    expect(kvPoolBytes(findGpu('h100-sxm')!, llm('llama-3.1-70b'), 'bf16', 1, 0.92)).toBe(0);
  });
});

describe('kvPoolTokens', () => {
  it('is whole blocks for uniform models: 1 GiB holds 8192 tokens of Llama-3.1-8B', () => {
    expect(kvPoolTokens(GiB, llm('llama-3.1-8b'), 'bf16', 1, 4096)).toBe(8192);
    expect(kvPoolTokens(GiB + 17 * 131_072, llm('llama-3.1-8b'), 'bf16', 1, 4096)).toBe(8192 + 16);
  });

  it('is stated for full-length sequences where windows take a part', () => {
    const gptOss = llm('gpt-oss-20b');
    const short = kvPoolTokens(GiB, gptOss, 'bf16', 1, 256);
    const long = kvPoolTokens(GiB, gptOss, 'bf16', 1, 131_072);
    expect(short).toBeLessThan(long);
    expect(long).toBeLessThanOrEqual(GiB / (24 * KiB));
  });
});
