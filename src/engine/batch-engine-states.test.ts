import { describe, expect, it } from 'vitest';
import { findGpu } from '../model/gpu-catalogue.js';
import { findLlm } from '../model/llm-catalogue.js';
import { BatchEngine, type BatchEngineConfig, type EngineEvent, type EngineRequest } from './batch-engine.js';
import { NO_FRONT_END } from './front-end.js';

function engineOf(config: Partial<BatchEngineConfig> = {}): BatchEngine {
  return new BatchEngine({
    frontEnd: NO_FRONT_END,
    llm: findLlm('llama-3.1-8b')!,
    gpu: findGpu('h100-sxm')!,
    tp: 1,
    weightDtype: 'bf16',
    kvDtype: 'bf16',
    maxModelLen: 8192,
    numGpuBlocks: 1000,
    ...config,
  });
}

function request(id: string, promptTokens: number, outputTokens: number, more: Partial<EngineRequest> = {}) {
  return { id, promptTokens, outputTokens, priority: 0, arrivalMs: 0, ...more };
}

function drain(engine: BatchEngine): EngineEvent[] {
  const events: EngineEvent[] = [];
  for (let next = engine.nextEventMs(); next < Number.POSITIVE_INFINITY; next = engine.nextEventMs()) {
    engine.advance(next, events);
  }
  return events;
}

const idsOf = (events: readonly EngineEvent[], kind: EngineEvent['kind']) =>
  events.filter((event) => event.kind === kind).map((event) => event.id);
const hashes = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

describe('BatchEngine: prefix cache', () => {
  function cachedOf(engine: BatchEngine, asked: EngineRequest, nowMs: number): number {
    engine.add(asked, nowMs);
    const event = drain(engine).find((candidate) => candidate.kind === 'first-token');
    return event?.kind === 'first-token' ? event.cachedTokens : -1;
  }

  it('finds the longest known prefix, in whole blocks, and computes at least the last token', () => {
    const engine = engineOf();
    const chain = hashes('a', 10);
    expect(cachedOf(engine, request('1', 165, 3, { blockHashes: chain }), 0)).toBe(0);
    expect(cachedOf(engine, request('2', 165, 3, { blockHashes: chain }), 1000)).toBe(160);
    // All ten blocks are known, but then nothing would be left to sample from.
    expect(cachedOf(engine, request('3', 160, 3, { blockHashes: chain }), 2000)).toBe(144);
    const branch = [...chain.slice(0, 4), ...hashes('b', 6)];
    expect(cachedOf(engine, request('4', 165, 3, { blockHashes: branch }), 3000)).toBe(64);
    expect(cachedOf(engine, request('5', 165, 3), 4000)).toBe(0);
    expect(cachedOf(engine, request('6', 165, 3, { blockHashes: chain, salt: 'tenant' }), 5000)).toBe(0);
    expect(cachedOf(engine, request('7', 165, 3, { blockHashes: chain, salt: 'tenant' }), 6000)).toBe(160);
    expect(engine.stats()).toMatchObject({
      cachedPromptTokens: 160 + 144 + 64 + 160,
      prefixHitsTokens: 160 + 144 + 64 + 160,
      prefixQueriesTokens: 6 * 165 + 160,
      usedBlocks: 0,
    });
  });

  it('a hit is faster, and shared blocks count once', () => {
    const engine = engineOf();
    const blockHashes = hashes('a', 250);
    engine.add(request('1', 4001, 2, { blockHashes }), 0);
    const [first] = drain(engine);
    for (const id of ['2', '3']) engine.add(request(id, 4001, 50, { blockHashes }), 1000);
    const events: EngineEvent[] = [];
    engine.advance(engine.nextEventMs(), events);
    expect(events[0]!.atMs - 1000).toBeLessThan(0.3 * first!.atMs);
    expect(engine.stats().usedBlocks).toBe(250 + 2);
  });

  it('sees blocks of a request of the same step, as vLLM does', () => {
    const engine = engineOf();
    for (const id of ['1', '2']) engine.add(request(id, 100, 2, { blockHashes: hashes('a', 6) }), 0);
    const events = drain(engine).filter((event) => event.kind === 'first-token');
    expect(events.map((event) => event.cachedTokens)).toEqual([0, 96]);
  });

  it('knows the output when its blocks are named, for the next turn of a conversation', () => {
    const engine = engineOf();
    const chain = hashes('a', 20);
    engine.add(request('1', 160, 100, { blockHashes: chain.slice(0, 16) }), 0);
    drain(engine);
    // 259 tokens are in the cache: the last one generated was never computed.
    expect(cachedOf(engine, request('2', 320, 2, { blockHashes: chain }), 5000)).toBe(256);
  });

  it('evicts the oldest content when the room is needed', () => {
    const engine = engineOf({ numGpuBlocks: 30 });
    for (const [index, name] of ['a', 'b', 'c'].entries()) {
      engine.add(request(name, 161, 2, { blockHashes: hashes(name, 10) }), index * 1000);
      drain(engine);
    }
    expect(cachedOf(engine, request('c2', 161, 2, { blockHashes: hashes('c', 10) }), 4000)).toBe(160);
    expect(cachedOf(engine, request('a2', 161, 2, { blockHashes: hashes('a', 10) }), 5000)).toBeLessThan(160);
  });

  it('helps a preempted request to come back', () => {
    const engine = engineOf({ numGpuBlocks: 18 });
    engine.add(request('first', 100, 100, { blockHashes: hashes('a', 6) }), 0);
    engine.add(request('second', 100, 100, { blockHashes: hashes('a', 6) }), 0);
    const events = drain(engine);
    expect(idsOf(events, 'preempted')).toEqual(['second']);
    expect(engine.stats()).toMatchObject({ generatedTokens: 200, usedBlocks: 0, running: 0 });
  });

  it('is off when told so', () => {
    const engine = engineOf({ prefixCaching: false });
    const blockHashes = hashes('a', 10);
    cachedOf(engine, request('1', 165, 3, { blockHashes }), 0);
    expect(cachedOf(engine, request('2', 165, 3, { blockHashes }), 1000)).toBe(0);
  });

  it('resets when nothing is held, or by preempting', () => {
    const engine = engineOf();
    const blockHashes = hashes('a', 10);
    engine.add(request('1', 165, 100, { blockHashes }), 0);
    engine.advance(50, []);
    expect(engine.resetPrefixCache(false)).toBe(false);
    expect(engine.resetPrefixCache(true)).toBe(true);
    const events = drain(engine);
    expect(events.map((event) => event.kind)).toEqual(['preempted', 'finished']);
    expect(engine.resetPrefixCache(false)).toBe(true);
    expect(cachedOf(engine, request('2', 165, 3, { blockHashes }), 5000)).toBe(0);
  });
});

describe('BatchEngine: abort', () => {
  it('removes a running or waiting request silently, frees its room, and is false for unknown ones', () => {
    const engine = engineOf({ maxNumSeqs: 1 });
    engine.add(request('a', 100, 500), 0);
    engine.add(request('b', 100, 5), 0);
    engine.add(request('c', 100, 5), 0);
    engine.advance(100, []);
    expect(engine.abort('b', 100)).toBe(true);
    expect(engine.abort('a', 101)).toBe(true);
    expect(engine.abort('a', 102)).toBe(false);
    const events = drain(engine);
    expect(events.map((event) => `${event.kind} ${event.id}`)).toEqual(['first-token c', 'finished c']);
    expect(engine.stats()).toMatchObject({ aborted: 2, finished: 1, running: 0, waiting: 0, usedBlocks: 0 });
  });

  it('lets the step under way end for the others, and lets the next in line in', () => {
    const engine = engineOf({ maxNumSeqs: 2 });
    engine.add(request('a', 100, 500), 0);
    engine.add(request('b', 100, 500), 0);
    engine.add(request('c', 100, 5), 0);
    engine.advance(100, []);
    const stepEndMs = engine.nextStepMs();
    const tokens = engine.generatedTokens('a');
    engine.abort('b', 100);
    expect(engine.nextStepMs()).toBeCloseTo(stepEndMs, 9);
    engine.advance(stepEndMs + 1e-6, []);
    expect(engine.generatedTokens('a')).toBe(tokens + 1);
    expect(engine.stats()).toMatchObject({ running: 2, waiting: 0 });
  });
});

describe('BatchEngine: pause and sleep', () => {
  function busy(config: Partial<BatchEngineConfig> = {}) {
    const engine = engineOf({ maxNumSeqs: 2, ...config });
    for (const id of ['a', 'b', 'c']) engine.add(request(id, 100, 50), 0);
    const events: EngineEvent[] = [];
    engine.advance(60, events);
    return { engine, events };
  }

  it('abort ends running and waiting requests at once, and queues what comes later', () => {
    const { engine, events } = busy();
    engine.pause('abort', true, 60, events);
    const aborted = events.filter((event) => event.kind === 'aborted');
    expect(aborted.map((event) => event.id)).toEqual(['a', 'b', 'c']);
    expect(aborted[0]!.outputTokens).toBeGreaterThan(0);
    expect(aborted[2]!.outputTokens).toBe(0);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, usedBlocks: 0, aborted: 3 });
    expect(engine.paused).toBe('new');
    engine.add(request('d', 10, 2), 70);
    expect(engine.nextEventMs()).toBe(Number.POSITIVE_INFINITY);
    engine.advance(1000, events);
    engine.resume(1000);
    expect(drain(engine).map((event) => event.kind)).toEqual(['first-token', 'finished']);
  });

  it('wait finishes what runs and admits nothing', () => {
    const { engine, events } = busy();
    engine.pause('wait', true, 60, events);
    events.push(...drain(engine));
    expect(idsOf(events, 'finished')).toEqual(['a', 'b']);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 1 });
    engine.resume(5000);
    expect(idsOf(drain(engine), 'finished')).toEqual(['c']);
  });

  it('keep freezes, with the KV, when the cache stays', () => {
    const { engine, events } = busy();
    const tokens = engine.generatedTokens('a');
    engine.pause('keep', false, 60, events);
    engine.advance(10_000, events);
    expect(engine.paused).toBe('all');
    expect(engine.generatedTokens('a')).toBe(tokens);
    expect(engine.stats()).toMatchObject({ running: 2, preemptions: 0 });
    engine.resume(10_000);
    expect(idsOf(drain(engine), 'finished')).toEqual(['a', 'b', 'c']);
  });

  it.each(['pause', 'sleep'])('keep with a reset cache (%s) counts one preemption a frozen request', (how) => {
    const { engine, events } = busy();
    const tokens = engine.generatedTokens('a');
    engine.pause('keep', how === 'pause', 60, events);
    if (how === 'sleep') engine.sleepKv(61, events);
    expect(idsOf(events, 'preempted').sort()).toEqual(['a', 'b']);
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 3, usedBlocks: 0, preemptions: 2 });
    expect(engine.generatedTokens('a')).toBe(tokens);
    engine.advance(9000, events);
    engine.resume(9000);
    const after = drain(engine);
    expect(idsOf(after, 'first-token')).toEqual(['c']);
    expect(idsOf(after, 'finished')).toEqual(['a', 'b', 'c']);
    expect(engine.stats()).toMatchObject({ generatedTokens: 150, usedBlocks: 0 });
  });

  it('may come just when blocks have run short', () => {
    const engine = engineOf({ numGpuBlocks: 20, prefixCaching: false });
    engine.add(request('a', 100, 100), 0);
    engine.add(request('b', 100, 100), 0);
    let nowMs = 0;
    for (let next = engine.nextStepMs(); engine.stats().preemptions === 0; next = engine.nextStepMs()) {
      nowMs = next;
      engine.advance(nowMs, []);
    }
    const events: EngineEvent[] = [];
    engine.pause('keep', true, nowMs, events);
    expect(idsOf(events, 'preempted')).toEqual(['b', 'a']);
    expect(engine.stats().usedBlocks).toBe(0);
    engine.resume(nowMs);
    drain(engine);
    expect(engine.stats()).toMatchObject({ usedBlocks: 0, finished: 2, generatedTokens: 200 });
  });

  it('a sleep forgets the prefix cache', () => {
    const engine = engineOf();
    const blockHashes = hashes('a', 10);
    engine.add(request('1', 165, 3, { blockHashes }), 0);
    drain(engine);
    engine.pause('abort', false, 5000, []);
    engine.sleepKv(5000, []);
    engine.resume(6000);
    engine.add(request('2', 165, 3, { blockHashes }), 6000);
    expect(drain(engine)[0]).toMatchObject({ kind: 'first-token', cachedTokens: 0 });
  });
});

describe('BatchEngine: elastic KV', () => {
  it('a shrink below use preempts who needs more, admits nobody, and a growth lets all go on', () => {
    const engine = engineOf({ numGpuBlocks: 40 });
    engine.add(request('a', 100, 60), 0);
    engine.add(request('b', 100, 60), 0);
    engine.advance(30, []);
    engine.setKvLimitBlocks(8);
    const events = drain(engine);
    expect(idsOf(events, 'preempted')[0]).toBe('b');
    expect(engine.stats().usedBlocks).toBeLessThanOrEqual(8);
    engine.setKvLimitBlocks(40);
    events.push(...drain(engine));
    expect(idsOf(events, 'finished').sort()).toEqual(['a', 'b']);
    expect(engine.stats()).toMatchObject({ usedBlocks: 0, generatedTokens: 120 });
  });

  it('a queue that waits for blocks moves when the limit grows', () => {
    const engine = engineOf({ numGpuBlocks: 40 });
    engine.setKvLimitBlocks(2);
    engine.add(request('a', 100, 5), 0);
    expect(engine.nextEventMs()).toBe(Number.POSITIVE_INFINITY);
    engine.advance(500, []);
    engine.setKvLimitBlocks(40);
    const [first] = drain(engine);
    expect(first).toMatchObject({ kind: 'first-token', id: 'a', queueMs: 500 });
  });
});
