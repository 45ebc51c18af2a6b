import { describe, expect, it } from 'vitest';
import { findGpu } from '../model/gpu-catalogue.js';
import { findLlm } from '../model/llm-catalogue.js';
import type { BatchEngineConfig, Engine, EngineEvent } from './batch-types.js';
import { NO_FRONT_END } from './front-end.js';
import { newEngine } from './new-engine.js';
import { StepCost } from './step-time.js';

const MIXTURE: BatchEngineConfig = {
  ...{ llm: findLlm('qwen3-30b-a3b')!, gpu: findGpu('h100-sxm')!, tp: 2, dataParallel: 2, frontEnd: NO_FRONT_END },
  ...{ weightDtype: 'bf16', kvDtype: 'bf16', maxModelLen: 8192, numGpuBlocks: 512, maxNumSeqs: 8 },
};
const DENSE: BatchEngineConfig = { ...MIXTURE, llm: findLlm('llama-3.1-8b')! };

interface Told {
  readonly rank: number | undefined;
  readonly firstMs: number;
  readonly endMs: number;
}

function add(engine: Engine, id: string, promptTokens: number, outputTokens: number, nowMs = 0): void {
  engine.add({ id, promptTokens, outputTokens, priority: 0, arrivalMs: nowMs }, nowMs);
}

/** Runs until idle. */
function drain(engine: Engine): Map<string, Told> {
  const events: EngineEvent[] = [];
  for (let nextMs = engine.nextEventMs(); nextMs < Number.POSITIVE_INFINITY; nextMs = engine.nextEventMs()) {
    engine.advance(nextMs, events);
  }
  const told = new Map<string, Told>();
  for (const event of events) {
    if (event.kind === 'first-token') {
      told.set(event.id, { rank: event.rank, firstMs: event.atMs, endMs: Number.NaN });
    } else if (event.kind === 'finished') told.set(event.id, { ...told.get(event.id)!, endMs: event.atMs });
  }
  return told;
}

const tpotOf = ({ firstMs, endMs }: Told, outputTokens: number) => (endMs - firstMs) / (outputTokens - 1);

describe.each([
  ['mixture', MIXTURE],
  ['dense', DENSE],
])('data-parallel ranks of a %s', (_, config) => {
  it('get requests by the least load, one that waits counting as four that run', () => {
    const engine = newEngine(config);
    for (let index = 0; index < 4; index++) add(engine, `a${index}`, 100, 400);
    engine.advance(1, []);
    expect(engine.rankStats().map(({ running }) => running)).toEqual([2, 2]);
    const full = newEngine({ ...config, maxNumSeqs: 2 });
    for (let index = 0; index < 6; index++) add(full, `b${index}`, 100, 400);
    full.advance(1, []);
    expect(full.rankStats().map(({ running, waiting }) => [running, waiting])).toEqual([
      [2, 1],
      [2, 1],
    ]);
  });

  it('compute equal shares as fast as the cost of one rank says', () => {
    const engine = newEngine(config);
    for (let index = 0; index < 8; index++) add(engine, `r${index}`, 100, 201);
    const told = drain(engine);
    const cost = new StepCost(config);
    const expected = cost.decodeRunMs(4, 400, 200) / 200;
    for (const each of told.values()) expect(tpotOf(each, 201)).toBeCloseTo(expected, 6);
    expect([...told.values()].map(({ rank }) => rank).sort()).toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  });

  it('keep the KV memory of one from the requests of another', () => {
    // Each rank holds 512 blocks: two of three such prompts do not fit together, though a third of all blocks stays free.
    const engine = newEngine(config);
    for (const id of ['a', 'b', 'c']) add(engine, id, 16 * 300, 50);
    engine.advance(1, []);
    const { running, waiting, usedBlocks, totalBlocks, kvUsage } = engine.stats();
    expect({ running, waiting, totalBlocks }).toEqual({ running: 2, waiting: 1, totalBlocks: 1024 });
    expect(totalBlocks - usedBlocks).toBeGreaterThan(301);
    expect(kvUsage).toBe(Math.max(...engine.rankStats().map((rank) => rank.kvUsage)));
    expect([...drain(engine).values()].every(({ endMs }) => endMs > 0)).toBe(true);
  });

  it('run a request where it asks to be, however full that rank is', () => {
    const engine = newEngine(config);
    for (let index = 0; index < 6; index++) {
      engine.add({ id: `r${index}`, promptTokens: 100, outputTokens: 20, priority: 0, arrivalMs: 0, rank: 1 }, 0);
    }
    add(engine, 'other', 100, 20);
    const told = drain(engine);
    expect([...told].filter(([, { rank }]) => rank === 1).map(([id]) => id)).toEqual([
      'r0',
      'r1',
      'r2',
      'r3',
      'r4',
      'r5',
    ]);
    expect(told.get('other')?.rank).toBe(0);
  });

  it('refuses two requests of one name, wherever the first is', () => {
    const engine = newEngine(config);
    add(engine, 'a', 100, 10);
    expect(() => add(engine, 'a', 100, 10)).toThrow('request a is already here');
  });
});

describe('ranks of a mixture', () => {
  it('all wait for the prompt of one; those of a dense model do not', () => {
    // What one rank writes in 100 ms, with or without a prompt that goes to the other.
    const written = (config: BatchEngineConfig, promptTokens: number) => {
      const engine = newEngine(config);
      add(engine, 'writes', 100, 1000);
      engine.advance(200, []);
      const before = engine.generatedTokens('writes');
      if (promptTokens > 0) add(engine, 'reads', promptTokens, 1, 200);
      engine.advance(300, []);
      return engine.generatedTokens('writes') - before;
    };
    expect(written(DENSE, 6000)).toBe(written(DENSE, 0));
    expect(written(MIXTURE, 6000)).toBeLessThan(0.8 * written(MIXTURE, 0));
  });

  it('pad one another in a graph, so that a lone request is no faster than as many on every rank', () => {
    const tpot = (requests: number) => {
      const engine = newEngine(MIXTURE);
      for (let index = 0; index < requests; index++) add(engine, `r${index}`, 100, 101);
      return tpotOf(drain(engine).get('r0')!, 101);
    };
    expect(tpot(1)).toBeCloseTo(tpot(2), 9);
    expect(tpot(4)).toBeGreaterThan(tpot(2));
  });

  it('go on where one of them loses its last request', () => {
    const engine = newEngine(MIXTURE);
    add(engine, 'stays', 100, 50);
    add(engine, 'leaves', 100, 50);
    engine.advance(60, []);
    expect(engine.abort('leaves', 60)).toBe(true);
    expect(engine.stats()).toMatchObject({ running: 1, aborted: 1 });
    expect(drain(engine).has('stays')).toBe(true);
    expect(engine.stats()).toMatchObject({ running: 0, finished: 1, usedBlocks: 0 });
  });
});
