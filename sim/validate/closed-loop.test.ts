import { describe, expect, it } from 'vitest';
import type { BatchEngineConfig } from '../../src/engine/batch-engine.js';
import { NO_FRONT_END, VLLM_FRONT_END } from '../../src/engine/front-end.js';
import { StepCost } from '../../src/engine/step-time.js';
import { findGpu } from '../../src/model/gpu-catalogue.js';
import { findLlm } from '../../src/model/llm-catalogue.js';
import { runClosedLoop } from './closed-loop.js';

const CONFIG: BatchEngineConfig = {
  ...{ llm: findLlm('llama-3.1-8b')!, gpu: findGpu('h100-sxm')!, tp: 1, weightDtype: 'bf16', kvDtype: 'bf16' },
  ...{ maxModelLen: 8192, numGpuBlocks: 20_000, prefixCaching: false, frontEnd: NO_FRONT_END },
};
const LOOP = { promptTokens: 1000, outputTokens: 101, concurrency: 1, shortestShare: 1 };

describe('runClosedLoop', () => {
  const cost = new StepCost(CONFIG);

  it('one place: each request alone', () => {
    const { ttftMs, tpotMs } = runClosedLoop(CONFIG, LOOP);
    expect(ttftMs).toBeCloseTo(cost.prefillMs(1000), 6);
    expect(tpotMs).toBeCloseTo(cost.decodeRunMs(1, 1000, 100) / 100, 6);
  });

  it('the front end belongs to the time to first token, and to nothing else', () => {
    const { ttftMs, tpotMs } = runClosedLoop({ ...CONFIG, frontEnd: VLLM_FRONT_END }, LOOP);
    expect(ttftMs).toBeCloseTo(cost.prefillMs(1000) + 20 + 1 + 3, 6);
    expect(tpotMs).toBeCloseTo(cost.decodeRunMs(1, 1000, 100) / 100, 6);
  });

  it('obeys the law of closed loops: places = throughput × time in the system', () => {
    const loop = { promptTokens: 800, outputTokens: 200, concurrency: 16, shortestShare: 1 };
    const { ttftMs, tpotMs } = runClosedLoop(CONFIG, loop);
    const perRequestMs = ttftMs + 199 * tpotMs;
    const busyMs = cost.prefillMs(800) + 199 * (cost.decodeMs(16, 900) / 16);
    // The engine is never idle, so 16 requests leave it in the time of one.
    expect(perRequestMs / 16 / busyMs).toBeGreaterThan(0.85);
    expect(perRequestMs / 16 / busyMs).toBeLessThan(1.1);
  });

  it('shorter draws shorten what they should', () => {
    const equal = runClosedLoop(CONFIG, { ...LOOP, concurrency: 8 });
    const drawn = runClosedLoop(CONFIG, { ...LOOP, concurrency: 8, shortestShare: 0.5 });
    expect(drawn.ttftMs).toBeLessThan(equal.ttftMs);
  });
});
