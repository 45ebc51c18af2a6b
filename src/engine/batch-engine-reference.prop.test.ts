import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findGpu } from '../model/gpu-catalogue.js';
import { findLlm } from '../model/llm-catalogue.js';
import { BatchEngine, type BatchEngineConfig, type EngineEvent, type EngineRequest } from './batch-engine.js';
import { NO_FRONT_END } from './front-end.js';
import { StepCost } from './step-time.js';

interface Item {
  readonly request: EngineRequest;
  generated: number;
  computed: number;
  blocks: number;
  chunk: number;
  decoding: boolean;
}

/**
 * The same engine step by step and request by request, without a prefix cache: slow, and short enough to be believed.
 * Returns `kind id` and times.
 */
function reference(config: BatchEngineConfig, requests: readonly EngineRequest[]): [string, number][] {
  const cost = new StepCost(config);
  const { numGpuBlocks, maxNumSeqs = 256, maxNumBatchedTokens = 8192, reserveFullPrompt = true } = config;
  const byPriority = config.schedulingPolicy === 'priority';
  const blocksOf = (tokens: number) => Math.ceil(tokens / config.blockSize!);
  const arrivals = requests.map(
    (request): Item => ({ request, generated: 0, computed: 0, blocks: 0, chunk: 0, decoding: false }),
  );
  const order = new Map(arrivals.map((item, index) => [item, index]));
  const goesBefore = (a: Item, b: Item) =>
    (byPriority ? a.request.priority - b.request.priority || a.request.arrivalMs - b.request.arrivalMs : 0) ||
    order.get(a)! - order.get(b)!;
  const waiting: Item[] = [];
  const running: Item[] = [];
  const log: [string, number][] = [];
  let free = numGpuBlocks;
  let nowMs = 0;

  const take = (item: Item, tokens: number) => {
    free -= blocksOf(tokens) - item.blocks;
    item.blocks = blocksOf(tokens);
  };
  const leave = (item: Item) => {
    running.splice(running.indexOf(item), 1);
    free += item.blocks;
    item.blocks = 0;
  };

  for (;;) {
    while (arrivals.length > 0 && arrivals[0]!.request.arrivalMs <= nowMs) waiting.push(arrivals.shift()!);
    waiting.sort(goesBefore);
    let budget = maxNumBatchedTokens - running.filter((item) => item.decoding).length;
    let preempted = false;
    for (const item of running) {
      item.chunk = item.decoding ? 1 : Math.min(item.request.promptTokens + item.generated - item.computed, budget);
      if (!item.decoding) budget -= item.chunk;
    }
    for (const item of [...running]) {
      while (running.includes(item) && blocksOf(item.computed + item.chunk) - item.blocks > free) {
        const victim = byPriority ? [...running].sort(goesBefore).at(-1)! : running.at(-1)!;
        budget += victim.chunk;
        leave(victim);
        victim.computed = 0;
        victim.decoding = false;
        preempted = true;
        waiting.push(victim);
        log.push([`preempted ${victim.request.id}`, nowMs]);
      }
      if (running.includes(item)) take(item, item.computed + item.chunk);
    }
    waiting.sort(goesBefore);
    if (!preempted || running.length === 0) {
      while (budget > 0 && running.length < maxNumSeqs && waiting.length > 0) {
        const item = waiting[0]!;
        const total = item.request.promptTokens + item.generated;
        const chunk = Math.min(total, budget);
        if (blocksOf(reserveFullPrompt ? total : chunk) > free) break;
        waiting.shift();
        running.push(item);
        item.chunk = chunk;
        budget -= chunk;
        take(item, chunk);
      }
    }
    if (running.length === 0) {
      if (arrivals.length === 0) return log;
      nowMs = Math.max(nowMs, arrivals[0]!.request.arrivalMs);
      continue;
    }
    const decodes = running.filter((item) => item.decoding);
    const prefills = running.filter((item) => !item.decoding);
    const ends = (item: Item) => item.computed + item.chunk === item.request.promptTokens + item.generated;
    nowMs += cost.stepMs({
      decodeSeqs: decodes.length,
      contextTokens: decodes.reduce((sum, item) => sum + item.computed, 0),
      prefillTokens: prefills.reduce((sum, item) => sum + item.chunk, 0),
      prefillPairs: prefills.reduce((sum, item) => sum + item.chunk * (item.chunk + 2 * item.computed), 0),
      prefillSeqs: prefills.filter(ends).length,
    });
    for (const item of [...running]) {
      const done = item.decoding || ends(item);
      item.computed += item.chunk;
      if (!done) continue;
      item.generated += 1;
      item.decoding = true;
      if (item.generated === 1) log.push([`first-token ${item.request.id}`, nowMs]);
      if (item.generated < item.request.outputTokens) continue;
      leave(item);
      log.push([`finished ${item.request.id}`, nowMs]);
    }
  }
}

describe('BatchEngine against its step-by-step reference', () => {
  const requests = fc.array(
    fc.record({
      promptTokens: fc.integer({ min: 1, max: 70 }),
      outputTokens: fc.integer({ min: 1, max: 60 }),
      priority: fc.integer({ min: -1, max: 1 }),
      gapMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 150, noNaN: true })),
    }),
    { minLength: 1, maxLength: 25 },
  );
  const configs = fc.record({
    llm: fc.constantFrom(findLlm('llama-3.1-8b')!, findLlm('gpt-oss-20b')!),
    maxNumSeqs: fc.integer({ min: 1, max: 10 }),
    maxNumBatchedTokens: fc.constantFrom(16, 50, 1000),
    numGpuBlocks: fc.integer({ min: 33, max: 90 }),
    blockSize: fc.constantFrom(4, 16),
    schedulingPolicy: fc.constantFrom('fcfs' as const, 'priority' as const),
    reserveFullPrompt: fc.boolean(),
  });

  it('happens alike: the same tokens, preemptions and ends at the same times', () => {
    let preemptions = 0;
    fc.assert(
      fc.property(configs, requests, (options, list) => {
        const config: BatchEngineConfig = {
          ...options,
          gpu: findGpu('h100-sxm')!,
          tp: 1,
          weightDtype: 'bf16',
          kvDtype: 'bf16',
          maxModelLen: 132,
          prefixCaching: false,
        };
        let arrivalMs = 0;
        const stream = list.map(({ gapMs, ...rest }, index): EngineRequest => {
          arrivalMs += gapMs;
          return { id: `r${index}`, arrivalMs, ...rest };
        });
        const engine = new BatchEngine({ ...config, frontEnd: NO_FRONT_END });
        const events: EngineEvent[] = [];
        for (const request of stream) {
          engine.advance(request.arrivalMs, events);
          engine.add(request, request.arrivalMs);
        }
        for (let next = engine.nextEventMs(); next < Number.POSITIVE_INFINITY; next = engine.nextEventMs()) {
          engine.advance(next, events);
        }
        const expected = reference(config, stream);
        preemptions += engine.stats().preemptions;
        // Within one moment the order of different requests is free.
        const byTime = (log: [string, number][]) =>
          log.map(([what, atMs]) => ({ what, atMs })).sort((a, b) => (a.what < b.what ? -1 : 1));
        const found = byTime(events.map((event) => [`${event.kind} ${event.id}`, event.atMs]));
        const wanted = byTime(expected);
        expect(found.map(({ what }) => what)).toEqual(wanted.map(({ what }) => what));
        for (const [index, { atMs }] of wanted.entries()) {
          if (!found[index]!.what.startsWith('preempted')) expect(found[index]!.atMs).toBeCloseTo(atMs, 6);
        }
      }),
      { numRuns: 600 },
    );
    // The schedules are worth comparing only if blocks run short in many of them.
    expect(preemptions).toBeGreaterThan(100);
  });
});
