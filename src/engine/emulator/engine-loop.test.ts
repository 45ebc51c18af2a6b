import { expect, it } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import { findGpu } from '../../model/gpu-catalogue.js';
import { findLlm } from '../../model/llm-catalogue.js';
import { BatchEngine } from '../batch-engine.js';
import { EngineLoop } from './engine-loop.js';
import { FaultPlan } from './faults.js';
import { VllmMetrics } from './metrics.js';
import { resolveModel } from './options.js';

it('stands still as long as it is stalled, however often it is told to', () => {
  const clock = new ManualClock();
  const model = resolveModel({ model: 'llama-3.1-8b', gpu: 'h100-sxm' });
  const loop = new EngineLoop({
    engine: new BatchEngine({
      ...{ llm: findLlm('llama-3.1-8b')!, gpu: findGpu('h100-sxm')!, tp: 1, weightDtype: 'bf16', kvDtype: 'bf16' },
      ...{ maxModelLen: 4096, numGpuBlocks: 1000 },
    }),
    ...{ clock, metrics: new VllmMetrics(model, 0), faults: new FaultPlan(), tickMs: 5, onDeath: () => undefined },
  });
  const beganMs = loop.nowMs();
  loop.stall();
  clock.advance(100);
  loop.stall();
  clock.advance(50);
  expect(loop.nowMs()).toBe(beganMs);
  loop.unstall();
  clock.advance(7);
  expect(loop.nowMs()).toBe(beganMs + 7);
});
