import { describe, expect, it } from 'vitest';
import { coldStartMs, reloadMs, sleepMs, wakeMs } from '../../src/engine/weight-moves.js';
import { findGpu } from '../../src/model/gpu-catalogue.js';
import { findLlm } from '../../src/model/llm-catalogue.js';
import { weightBytesPerGpu } from '../../src/model/memory.js';

/**
 * vLLM's published A/B run of sleep mode (blog of October 2025, vLLM 0.11, one A100): Qwen3-0.6B and Phi-3-vision take turns on one GPU, one prompt a
 * turn, five switches.
 */
const PUBLISHED_S = { level1: 112.6, level2: 124.6, none: 357.1 };

const A100 = findGpu('a100-sxm-80gb')!;
const QWEN = findLlm('qwen3-0.6b')!;
/** A model of the run: moves come from our model; prompts, and the start of the vision model, which we do not model, from the same charts. */
const MODELS = {
  a: {
    weightBytes: weightBytesPerGpu(QWEN, 'bf16', 1),
    coldMs: coldStartMs(QWEN, 'bf16', 1),
    coldPromptMs: 3_650,
    warmPromptMs: 430,
  },
  b: { weightBytes: 2 * 4.15e9, coldMs: 60_500, coldPromptMs: 6_400, warmPromptMs: 800 },
};
const TURNS = ['a', 'b', 'a', 'b', 'a', 'b'] as const;

function timelineMs(mode: 1 | 2 | 'none'): number {
  let totalMs = 0;
  const started = new Set<string>();
  const slept = new Set<string>();
  for (const [turn, name] of TURNS.entries()) {
    const model = MODELS[name];
    const before = TURNS[turn - 1];
    if (before !== undefined && mode !== 'none') {
      totalMs += sleepMs(A100, MODELS[before].weightBytes, mode, { firstTime: !slept.has(before) });
      slept.add(before);
    }
    if (started.has(name) && mode !== 'none') {
      totalMs += mode === 1 ? wakeMs(A100, model.weightBytes) : reloadMs(model.weightBytes, 'disk');
      totalMs += model.warmPromptMs;
    } else {
      totalMs += model.coldMs + model.coldPromptMs;
      started.add(name);
    }
  }
  return totalMs;
}

describe('five switches between two models on one GPU', () => {
  it.each([
    ['level 1', 1, PUBLISHED_S.level1],
    ['level 2', 2, PUBLISHED_S.level2],
    ['no sleep mode', 'none', PUBLISHED_S.none],
  ] as const)('take the published time within 15 %%: %s', (_name, mode, seconds) => {
    expect(Math.abs(timelineMs(mode) / 1000 / seconds - 1)).toBeLessThan(0.15);
  });

  it('take the published order', () => {
    expect(timelineMs(1)).toBeLessThan(timelineMs(2));
    expect(timelineMs(2)).toBeLessThan(timelineMs('none') / 2);
  });
});
