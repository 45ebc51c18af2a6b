import { describe, expect, it } from 'vitest';
import { findGpu } from '../model/gpu-catalogue.js';
import { findLlm } from '../model/llm-catalogue.js';
import { BatchEngine, type EngineEvent } from './batch-engine.js';
import { StepCost } from './step-time.js';

const SHAPE = {
  ...{ llm: findLlm('llama-3.1-8b')!, gpu: findGpu('h100-sxm')!, tp: 1 },
  ...({ weightDtype: 'bf16', kvDtype: 'bf16' } as const),
};
const prefillMs = new StepCost(SHAPE).prefillMs(100);
const FRONT_END = { latencyMs: 30, requestMs: 2, promptTokenMs: 0.01 };

const engineOf = () => new BatchEngine({ ...SHAPE, maxModelLen: 8192, numGpuBlocks: 1000, frontEnd: FRONT_END });
const request = (id: string) => ({ id, promptTokens: 100, outputTokens: 50, priority: 0, arrivalMs: 0 });

/** Runs until nothing happens any more. */
function drain(engine: BatchEngine, events: EngineEvent[] = []): EngineEvent[] {
  for (let next = engine.nextEventMs(); next < Number.POSITIVE_INFINITY; next = engine.nextEventMs()) {
    engine.advance(next, events);
  }
  return events;
}
const firstMs = (events: readonly EngineEvent[], id: string) =>
  events.find((event) => event.kind === 'first-token' && event.id === id)?.atMs;

describe('front end of an engine', () => {
  it('delays what comes, one after the other, and is no part of the queue', () => {
    const engine = engineOf();
    engine.add(request('a'), 0);
    engine.add(request('b'), 0);
    expect(engine.stats()).toMatchObject({ waiting: 0, running: 0 });
    expect(engine.nextEventMs()).toBe(33);
    const events = drain(engine);
    expect(firstMs(events, 'a')).toBeCloseTo(33 + prefillMs, 9);
    // The second is through while the first is computed, so it joins the next step.
    expect(firstMs(events, 'b')).toBeGreaterThan(36 + prefillMs);
    expect(events.slice(0, 2)).toMatchObject([
      { kind: 'queued', id: 'a', atMs: 33 },
      { kind: 'queued', id: 'b', atMs: 36 },
    ]);
    expect(events[2]).toMatchObject({ kind: 'first-token', id: 'a', queueMs: 0 });
    expect(events.map(({ atMs }) => atMs)).toEqual(events.map(({ atMs }) => atMs).sort((x, y) => x - y));
  });

  it('is free again later', () => {
    const engine = engineOf();
    engine.add(request('a'), 0);
    engine.add(request('b'), 10_000);
    expect(firstMs(drain(engine), 'b')).toBeCloseTo(10_033 + prefillMs, 9);
  });

  it('keeps what happened for the next advance when a call from outside brings it forward', () => {
    const engine = engineOf();
    for (const id of ['a', 'b', 'c']) engine.add(request(id), 0);
    engine.add(request('late'), 10_000);
    const events: EngineEvent[] = [];
    engine.advance(10_000, events);
    expect(events.map(({ kind }) => kind).sort()).toEqual(
      ['queued', 'first-token', 'finished'].flatMap((kind) => [kind, kind, kind]).sort(),
    );
  });

  it('lets go of who leaves, alone or with all', () => {
    const engine = engineOf();
    for (const id of ['a', 'b', 'c']) engine.add(request(id), 0);
    expect(engine.abort('b', 1)).toBe(true);
    expect(engine.abort('b', 1)).toBe(false);
    const events: EngineEvent[] = [];
    engine.pause('abort', false, 2, events);
    expect(events.map(({ kind, id }) => [kind, id])).toEqual([
      ['aborted', 'a'],
      ['aborted', 'c'],
    ]);
    engine.resume(3);
    expect(drain(engine)).toEqual([]);
    expect(engine.stats()).toMatchObject({ aborted: 3, finished: 0 });
  });

  it('is there once for each data-parallel rank', () => {
    const ranks = { ...SHAPE, llm: findLlm('qwen3-30b-a3b')!, tp: 2, dataParallel: 2 };
    const engine = new BatchEngine({ ...ranks, maxModelLen: 8192, numGpuBlocks: 1000, frontEnd: FRONT_END });
    engine.add({ ...request('long'), promptTokens: 1000 }, 0);
    engine.add(request('b'), 0);
    engine.add(request('c'), 0);
    const queued = drain(engine).filter(({ kind }) => kind === 'queued');
    // Whoever has a server to itself overtakes the long one on the other.
    expect(queued.map(({ id, atMs }) => [id, atMs])).toEqual([
      ['b', 33],
      ['c', 36],
      ['long', 42],
    ]);
  });

  it('holds up nobody who runs', () => {
    const engine = engineOf();
    engine.add(request('a'), 0);
    const alone = drain(engine).at(-1)!.atMs;
    const other = engineOf();
    other.add(request('a'), 0);
    other.advance(alone - 20, []);
    other.add(request('late'), alone - 20);
    const events = drain(other);
    expect(events.find(({ kind, id }) => kind === 'finished' && id === 'a')?.atMs).toBeCloseTo(alone, 9);
  });
});
