import { describe, expect, it } from 'vitest';
import { makeView } from '../../test/engine-view-fixture.js';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import type { EngineView } from '../model/fleet.js';
import type { GpuSpec } from '../model/gpu.js';
import type { LlmSpec } from '../model/llm.js';
import { type EngineRecord, linearCosts } from './engine-record.js';
import { ENGINE_FILTERS } from './filter/registry.js';
import type { PlaceRequest } from './place-request.js';
import { ENGINE_SCORERS } from './score/registry.js';

const LLAMA_8B: LlmSpec = {
  name: 'llama-3.1-8b',
  layers: 32,
  hiddenSize: 4096,
  attentionHeads: 32,
  kvHeads: 8,
  headDim: 128,
  ffnSize: 14_336,
  vocabSize: 128_256,
  parametersB: 8.03,
  activeParametersB: 8.03,
  maxContextTokens: 131_072,
};

const H100: GpuSpec = {
  name: 'h100-sxm',
  memoryBytes: 80e9,
  memoryBandwidth: 3.35e12,
  bf16Flops: 989e12,
  peerBandwidth: 450e9,
  hostBandwidth: 50e9,
};

function record(view: Partial<EngineView> = {}, more: Partial<EngineRecord> = {}): EngineRecord {
  return {
    view: makeView('n0/e0', view),
    costs: { prefillMsPerToken: 0.1, stepMs: 10, stepMsPerSequence: 0.5, stepMsPerContextToken: 0.001 },
    pendingLeases: 0,
    pendingKvTokens: 0,
    heldBeside: 0,
    slowness: 1,
    stale: false,
    leaseTime: { meanMs: 4_000 },
    cacheGeneration: 0,
    ranks: [],
    ...more,
  };
}

function adapted(adapters: readonly string[]): EngineRecord {
  return record({}, { view: makeView('n0/e0', {}, { adapters }) });
}

function request(more: Partial<PlaceRequest> = {}): PlaceRequest {
  return {
    stage: makeStage({ promptTokens: 1_000 }),
    prediction: makePrediction({
      outputTokens: { q30: 1, q50: 100, q95: 1, mean: 1 },
      kvTokens: { q50: 1, bound: 2_000 },
    }),
    excluded: new Set(),
    limits: { lookAhead: 2, unlimitedSeats: 256 },
    cachedTokens: new Map(),
    rttMs: () => 0,
    ...more,
  };
}

/** Filter, engine, request, whether the engine passes. */
const FILTER_CASES: [string, EngineRecord, PlaceRequest, boolean][] = [
  ['model', record(), request(), true],
  ['model', record(), request({ stage: makeStage({ model: 'model-b' }) }), false],
  ['model', adapted(['critic', 'planner']), request({ stage: makeStage({ adapter: 'planner' }) }), true],
  ['model', adapted(['critic']), request({ stage: makeStage({ adapter: 'planner' }) }), false],
  ['model', record(), request({ stage: makeStage({ adapter: 'planner' }) }), false],
  ['model', adapted(['critic']), request(), true],
  ['excluded', record(), request({ excluded: new Set(['n0/e1']) }), true],
  ['excluded', record(), request({ excluded: new Set(['n0/e0']) }), false],
  ['pinned', record(), request({ stage: makeStage({ promptTokens: 1_000, onlyEngineId: 'n0/e0' }) }), true],
  ['pinned', record(), request({ stage: makeStage({ promptTokens: 1_000, onlyEngineId: 'n0/e1' }) }), false],
  ['healthy', record({ state: 'running' }), request(), true],
  ['healthy', record({ state: 'sleeping', readyInMs: 900 }), request(), true],
  ['healthy', record({ state: 'waking', readyInMs: 100 }), request(), true],
  ['healthy', record({ state: 'sleeping', readyInMs: Number.POSITIVE_INFINITY }), request(), false],
  ['healthy', record({ state: 'draining' }), request(), false],
  ['healthy', record({ state: 'down' }), request(), false],
  ['healthy', record({ state: 'failed' }), request(), false],
  ['fresh', record({}, { stale: false }), request(), true],
  ['fresh', record({}, { stale: true }), request(), false],
  ['too-large', record({ kvPoolTokens: 1_001 }), request(), true],
  ['too-large', record({ kvPoolTokens: 1_000 }), request(), false],
  ['too-large', record(), request({ stage: makeStage({ promptTokens: 131_072 }) }), false],
  [
    'too-large',
    record({ kvPoolTokens: 200_000 }),
    request({ stage: makeStage({ promptTokens: 131_071, maxTokens: 2 }) }),
    true,
  ],
  [
    'too-large',
    record({ kvPoolTokens: 200_000 }),
    request({ stage: makeStage({ promptTokens: 131_071, maxTokens: 1, outputLimited: true }) }),
    true,
  ],
  [
    'too-large',
    record({ kvPoolTokens: 200_000 }),
    request({ stage: makeStage({ promptTokens: 131_071, maxTokens: 2, outputLimited: true }) }),
    false,
  ],
  ['kv', record({ reservedKvTokens: 98_000 }), request(), true],
  ['kv', record({ reservedKvTokens: 98_001 }), request(), false],
  ['kv', record({ reservedKvTokens: 97_000 }, { pendingKvTokens: 1_001 }), request(), false],
  ['kv', record({ kvPoolTokens: 1_500 }), request(), true],
  ['kv', record({ keptKvTokens: 98_000 }), request(), true],
  ['kv', record({ reservedKvTokens: 50_000, keptKvTokens: 48_001 }), request(), false],
  ['seat', record({ leases: 9 }), request(), true],
  ['seat', record({ leases: 10 }), request(), false],
  ['seat', record({ leases: 9 }, { pendingLeases: 1 }), request(), false],
  ['seat', record({ leases: 257, seats: Number.POSITIVE_INFINITY }), request(), true],
  ['seat', record({ leases: 258, seats: Number.POSITIVE_INFINITY }), request(), false],
  ['seat', record({ state: 'sleeping', leases: 1 }), request(), true],
  ['seat', record({ state: 'sleeping', leases: 2 }), request(), false],
];

describe('what an engine keeps', () => {
  it('is room for its own session and for nobody else', () => {
    const kv = ENGINE_FILTERS.find(({ name }) => name === 'kv')!;
    const engine = record({ reservedKvTokens: 50_000, keptKvTokens: 49_000 });
    const kept = { engine, tokens: 1_500 };
    expect(kv.passes(request(), engine)).toBe(false);
    expect(kv.passes(request({ kept }), engine)).toBe(true);
    expect(kv.passes(request({ kept: { engine: record(), tokens: 1_500 } }), engine)).toBe(false);
  });

  it('is no room where the engine was asked in vain', () => {
    const kv = ENGINE_FILTERS.find(({ name }) => name === 'kv')!;
    const engine = record({ reservedKvTokens: 99_000 });
    expect(kv.passes(request({ kept: { engine, tokens: 50_000 } }), engine)).toBe(false);
  });
});

describe('filters', () => {
  it.each(FILTER_CASES)('%s (case %#)', (name, engine, asked, passes) => {
    const filter = ENGINE_FILTERS.find((candidate) => candidate.name === name)!;
    expect(filter.passes(asked, engine)).toBe(passes);
  });

  it('are all in the table', () => {
    expect(new Set(FILTER_CASES.map(([name]) => name))).toEqual(new Set(ENGINE_FILTERS.map(({ name }) => name)));
  });
});

const warm = record();

/** Scorer, engine, request, expected milliseconds. */
const SCORE_CASES: [string, EngineRecord, PlaceRequest, number][] = [
  ['ready', record(), request(), 0],
  ['ready', record({ state: 'sleeping', readyInMs: 2_100 }), request(), 2_100],
  ['queue', record({ leases: 7 }), request(), 0],
  ['queue', record({ leases: 8 }), request(), 500],
  ['queue', record({ leases: 9 }), request(), 1_000],
  ['queue', record({ leases: 2, engineWaiting: 3 }), request(), 1_500],
  ['prefill', record(), request(), 100],
  ['prefill', record({ pendingPrefillTokens: 5_000 }), request(), 600],
  ['prefill', warm, request({ cachedTokens: new Map([[warm, 900]]) }), 10],
  ['decode', record(), request(), 1_000],
  ['decode', record({ leases: 4, reservedKvTokens: 2_000 }), request(), 1_400],
  ['disturbance', record({ disturbanceMs: 70 }), request(), 0],
  ['disturbance', record({}, { heldBeside: 2 }), request(), 8_000],
  ['preemption', record({}), request(), 0],
  ['preemption', record({ enginePreemptions: 60 }), request(), 100],
  ['disturbance', record({ state: 'sleeping', disturbanceMs: 70 }), request(), 70],
  ['network', record(), request({ rttMs: (nodeId) => (nodeId === 'n0' ? 12 : 0) }), 12],
];

describe('scorers', () => {
  it.each(SCORE_CASES)('%s (case %#)', (name, engine, asked, expectedMs) => {
    const scorer = ENGINE_SCORERS.find((candidate) => candidate.name === name)!;
    expect(scorer.delayMs(asked, engine)).toBeCloseTo(expectedMs, 6);
  });

  it('are all in the table', () => {
    expect(new Set(SCORE_CASES.map(([name]) => name))).toEqual(new Set(ENGINE_SCORERS.map(({ name }) => name)));
  });
});

describe('linearCosts', () => {
  it('puts an 8B model on an H100 where it is measured to be, and two GPUs ahead of one', () => {
    const one = linearCosts({ ...makeView('n0/e0').spec, llm: LLAMA_8B, gpu: H100 });
    expect(one.stepMs).toBeGreaterThan(5);
    expect(one.stepMs).toBeLessThan(9);
    expect(one.prefillMsPerToken).toBeGreaterThan(0.02);
    expect(one.prefillMsPerToken).toBeLessThan(0.06);
    const two = linearCosts({
      ...makeView('n0/e0').spec,
      llm: LLAMA_8B,
      gpu: H100,
      gpuIndices: [0, 1],
      weightBytes: 8e9,
    });
    // All-reduces eat part of what a second GPU brings.
    expect(two.prefillMsPerToken).toBeGreaterThan(one.prefillMsPerToken / 2);
    expect(two.prefillMsPerToken).toBeLessThan(one.prefillMsPerToken * 0.9);
    expect(two.stepMs).toBeLessThan(one.stepMs);
  });

  it('spreads what is in an engine over its data-parallel ranks', () => {
    const spec = { ...makeView('n0/e0').spec, llm: LLAMA_8B, gpu: H100 };
    const one = linearCosts(spec);
    expect(linearCosts({ ...spec, gpuIndices: [0, 1], dataParallel: 2 })).toEqual({
      ...one,
      stepMsPerSequence: one.stepMsPerSequence / 2,
      stepMsPerContextToken: one.stepMsPerContextToken / 2,
    });
  });
});
