import { describe, expect, it } from 'vitest';
import { findGpu } from '../model/gpu-catalogue.js';
import { findLlm } from '../model/llm-catalogue.js';
import { weightBytesPerGpu } from '../model/memory.js';
import { coldStartMs, hostLinkBandwidth, reloadMs, sleepMs, wakeMs } from './weight-moves.js';

const A100 = findGpu('a100-sxm-80gb')!;
const H100 = findGpu('h100-sxm')!;

describe('weight moves', () => {
  // vLLM's sleep-mode measurements (blog of October 2025): seconds, A100.
  it.each([
    ['qwen3-0.6b', 'bf16', 1, 0.23, 0.28],
    ['qwen3-coder-30b-a3b', 'bf16', 1, 2.85, 2.89],
    ['qwen3-235b-a22b', 'fp8', 4, 5.27, 5.66],
  ] as const)('wakes %s %s TP%i in the measured time', (name, dtype, tp, from, to) => {
    const seconds = wakeMs(A100, weightBytesPerGpu(findLlm(name)!, dtype, tp), tp) / 1000;
    expect(seconds).toBeGreaterThan(0.9 * from);
    expect(seconds).toBeLessThan(1.1 * to);
  });

  // Measured on one H200, vLLM 0.26.0 (docs/simulator-truth.md): milliseconds.
  it.each([
    ['llama-3.1-8b', [355, 416], [450, 481]],
    ['qwen3-14b', [645, 673], [762, 799]],
  ] as const)('swaps %s in the time measured on an H200, within 15 %%', (name, slept, woke) => {
    const gpu = findGpu('h200-sxm')!;
    const bytes = weightBytesPerGpu(findLlm(name)!, 'bf16', 1);
    for (const [time, [from, to]] of [
      [sleepMs(gpu, bytes, 1), slept],
      [wakeMs(gpu, bytes), woke],
    ] as const) {
      expect(time).toBeGreaterThan(0.85 * from);
      expect(time).toBeLessThan(1.15 * to);
    }
  });

  it('sleeps a 30B in the measured 2.8 s, far slower before its host buffers are pinned, and drops weights at once', () => {
    const bytes = weightBytesPerGpu(findLlm('qwen3-coder-30b-a3b')!, 'bf16', 1);
    expect(sleepMs(A100, bytes, 1) / 2780).toBeCloseTo(1, 0);
    expect(sleepMs(A100, bytes, 1, { firstTime: true })).toBeGreaterThan(9 * sleepMs(A100, bytes, 1));
    expect(sleepMs(A100, bytes, 2)).toBeLessThan(500);
  });

  it('reloads 0.6B after a level-2 sleep in the measured 0.8 to 0.9 s; files in host memory are faster', () => {
    const bytes = weightBytesPerGpu(findLlm('qwen3-0.6b')!, 'bf16', 1);
    expect(reloadMs(bytes, 'disk')).toBeGreaterThan(750);
    expect(reloadMs(bytes, 'disk')).toBeLessThan(950);
    expect(reloadMs(bytes, 'host')).toBeLessThan(reloadMs(bytes, 'disk'));
  });

  it('shares the host between the GPUs that copy at once', () => {
    expect(hostLinkBandwidth(A100, 1)).toBe(21e9);
    expect(hostLinkBandwidth(A100, 2)).toBe(21e9);
    expect(hostLinkBandwidth(A100, 4) * 4).toBeCloseTo(43e9, -3);
    expect(wakeMs(H100, 80e9, 8)).toBeGreaterThan(3 * wakeMs(H100, 80e9, 1));
  });

  it('starts engines in the measured time, and later without a compile cache', () => {
    // vllm-startup-profiler: Llama-2-7B in 45.0 s, 14B in 60.9 s.
    expect(coldStartMs(findLlm('mistral-7b')!, 'bf16', 1) / 1000).toBeCloseTo(47, -1);
    expect(coldStartMs(findLlm('qwen3-14b')!, 'bf16', 1) / 1000).toBeCloseTo(61, -1);
    const cold = { compileCached: false };
    const dense = findLlm('llama-3.1-8b')!;
    const sparse = findLlm('qwen3-30b-a3b')!;
    expect(coldStartMs(dense, 'fp8', 1, cold) - coldStartMs(dense, 'fp8', 1)).toBeGreaterThan(20_000);
    expect(coldStartMs(sparse, 'fp8', 1, cold) - coldStartMs(sparse, 'fp8', 1)).toBeGreaterThan(100_000);
  });
});
