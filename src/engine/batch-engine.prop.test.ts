import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findGpu } from '../model/gpu-catalogue.js';
import { findLlm } from '../model/llm-catalogue.js';
import type { Engine, EngineEvent } from './batch-types.js';
import { NO_FRONT_END, VLLM_FRONT_END } from './front-end.js';
import { newEngine } from './new-engine.js';

const LLMS = ['llama-3.1-8b', 'gpt-oss-20b', 'qwen3-30b-a3b'].map((name) => findLlm(name)!);

const configs = fc.record({
  llm: fc.constantFrom(...LLMS),
  // Mixtures step together, the dense one's ranks alone.
  dataParallel: fc.constantFrom(1, 1, 2, 3),
  maxNumSeqs: fc.integer({ min: 1, max: 8 }),
  maxNumBatchedTokens: fc.constantFrom(16, 64, 1024),
  numGpuBlocks: fc.integer({ min: 30, max: 120 }),
  blockSize: fc.constantFrom(4, 16),
  prefixCaching: fc.boolean(),
  schedulingPolicy: fc.constantFrom('fcfs' as const, 'priority' as const),
  reserveFullPrompt: fc.boolean(),
  frontEnd: fc.constantFrom(NO_FRONT_END, VLLM_FRONT_END, { latencyMs: 3, requestMs: 10, promptTokenMs: 0.1 }),
});

const operations = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      prompt: fc.integer({ min: 1, max: 80 }),
      output: fc.integer({ min: 1, max: 60 }),
      priority: fc.integer({ min: -2, max: 2 }),
      // Few families of prompts, so that prefixes meet; 0 shares nothing.
      family: fc.integer({ min: 0, max: 3 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('abort' as const), pick: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('pause' as const),
      mode: fc.constantFrom('abort' as const, 'wait' as const, 'keep' as const),
      clear: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('sleep' as const) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('resume' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('limit' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reset' as const), running: fc.boolean() }) },
);
type Operation = typeof operations extends fc.Arbitrary<infer T> ? T : never;

/** Operations with the time that passes before each; some come at the same moment. */
const schedules = fc.array(
  fc.tuple(fc.oneof(fc.constant(0), fc.double({ min: 0, max: 200, noNaN: true })), operations),
  { minLength: 1, maxLength: 40 },
);

type Config = typeof configs extends fc.Arbitrary<infer T> ? T : never;

interface Replay {
  readonly engine: Engine;
  readonly events: EngineEvent[];
  readonly added: Map<string, { prompt: number; output: number }>;
  readonly aborted: string[];
}

/** Plays a schedule, then lifts every hindrance and runs until idle. `onTick` sees the engine after every operation. */
function play(
  config: Config,
  schedule: readonly (readonly [number, Operation])[],
  before: (engine: Engine, fromMs: number, toMs: number, events: EngineEvent[]) => void,
  onTick: (engine: Engine) => void,
): Replay {
  const engine = newEngine({
    ...config,
    gpu: findGpu('h100-sxm')!,
    tp: config.dataParallel,
    weightDtype: 'bf16',
    kvDtype: 'bf16',
    maxModelLen: 100,
  });
  const events: EngineEvent[] = [];
  const added = new Map<string, { prompt: number; output: number }>();
  const aborted: string[] = [];
  let nowMs = 0;
  for (const [gapMs, operation] of schedule) {
    before(engine, nowMs, nowMs + gapMs, events);
    nowMs += gapMs;
    engine.advance(nowMs, events);
    switch (operation.kind) {
      case 'add': {
        const id = `r${added.size}`;
        const { prompt, output, priority, family } = operation;
        const blocks = Math.floor(prompt / config.blockSize);
        const blockHashes = Array.from({ length: blocks }, (_, index) => family * 1000 + index);
        const shared = family === 0 ? {} : { blockHashes };
        const request = { id, promptTokens: prompt, outputTokens: output, priority, arrivalMs: nowMs, ...shared };
        engine.add(request, nowMs);
        added.set(id, { prompt, output: Math.min(output, engine.maxModelLen - prompt) });
        break;
      }
      case 'abort': {
        const id = `r${operation.pick % Math.max(1, added.size)}`;
        if (engine.abort(id, nowMs)) aborted.push(id);
        break;
      }
      case 'pause':
        engine.pause(operation.mode, operation.clear, nowMs, events);
        break;
      case 'sleep':
        engine.pause('keep', false, nowMs, events);
        engine.sleepKv(nowMs, events);
        break;
      case 'resume':
        engine.resume(nowMs);
        break;
      case 'limit':
        engine.setKvLimitBlocks(Math.ceil(operation.share * config.numGpuBlocks));
        break;
      case 'reset':
        engine.resetPrefixCache(operation.running);
        break;
    }
    onTick(engine);
  }
  engine.setKvLimitBlocks(config.numGpuBlocks);
  engine.resume(nowMs);
  for (let next = engine.nextEventMs(); next < Number.POSITIVE_INFINITY; next = engine.nextEventMs()) {
    engine.advance(next, events);
    onTick(engine);
  }
  return { engine, events, added, aborted };
}

const NOTHING = () => {};

describe('an engine on random schedules', () => {
  it('ends every request exactly once, with all its tokens, and is empty at the end', () => {
    fc.assert(
      fc.property(configs, schedules, (config, schedule) => {
        const { engine, events, added, aborted } = play(config, schedule, NOTHING, NOTHING);
        const ended = new Map(aborted.map((id) => [id, 1]));
        let lastMs = 0;
        const started = new Set<string>();
        for (const event of events) {
          expect(event.atMs).toBeGreaterThanOrEqual(lastMs);
          lastMs = event.atMs;
          if (event.kind === 'first-token') {
            expect(started.has(event.id)).toBe(false);
            started.add(event.id);
            expect(event.cachedTokens).toBeLessThan(added.get(event.id)!.prompt);
          }
          if (event.kind !== 'finished' && event.kind !== 'aborted') continue;
          ended.set(event.id, (ended.get(event.id) ?? 0) + 1);
          if (event.kind === 'finished') expect(event.outputTokens).toBe(added.get(event.id)!.output);
        }
        for (const id of added.keys()) expect(ended.get(id), id).toBe(1);
        const stats = engine.stats();
        expect(stats).toMatchObject({ running: 0, waiting: 0, usedBlocks: 0, kvUsage: 0 });
        expect(stats.finished + stats.aborted).toBe(added.size);
        expect(stats.preemptions).toBe(events.filter((event) => event.kind === 'preempted').length);
        if (stats.aborted > 0) return;
        const outputs = [...added.values()].map(({ output }) => output);
        expect(stats.generatedTokens).toBe(outputs.reduce((sum, output) => sum + output, 0));
      }),
      { numRuns: 400 },
    );
  });

  it('never holds more blocks than there are, nor runs more than it has seats', () => {
    fc.assert(
      fc.property(configs, schedules, (config, schedule) => {
        play(
          config,
          schedule,
          (engine, fromMs, toMs, events) => {
            for (const share of [0.3, 0.6]) engine.advance(fromMs + share * (toMs - fromMs), events);
          },
          (engine) => {
            const stats = engine.stats();
            expect(stats.usedBlocks).toBeGreaterThanOrEqual(0);
            expect(stats.usedBlocks).toBeLessThanOrEqual(stats.totalBlocks);
            expect(stats.running).toBeLessThanOrEqual(config.dataParallel * config.maxNumSeqs);
            expect(stats.cachedPromptTokens).toBeLessThanOrEqual(stats.promptTokens);
            expect(stats.prefixHitsTokens).toBeLessThanOrEqual(stats.prefixQueriesTokens);
            if (stats.running === 0) expect(stats.usedBlocks).toBe(0);
            const ranks = engine.rankStats();
            expect(ranks).toHaveLength(config.dataParallel);
            for (const { usedBlocks, totalBlocks, running } of ranks) {
              expect(usedBlocks).toBeLessThanOrEqual(totalBlocks);
              expect(running).toBeLessThanOrEqual(config.maxNumSeqs);
            }
            expect(ranks.reduce((sum, { generatedTokens }) => sum + generatedTokens, 0)).toBe(stats.generatedTokens);
          },
        );
      }),
      { numRuns: 400 },
    );
  });

  it('does not care how its time is cut: many small advances give the events of one large one', () => {
    const cuts = fc.array(fc.double({ min: 0.01, max: 0.99, noNaN: true }), { maxLength: 12 });
    fc.assert(
      fc.property(configs, schedules, cuts, (config, schedule, shares) => {
        const whole = play(config, schedule, NOTHING, NOTHING);
        const sorted = [...shares].sort((a, b) => a - b);
        const cut = play(
          config,
          schedule,
          (engine, fromMs, toMs, events) => {
            for (const share of sorted) {
              engine.advance(fromMs + share * (toMs - fromMs), events);
              engine.stats();
            }
          },
          NOTHING,
        );
        expect(cut.events.length).toBe(whole.events.length);
        for (const [index, event] of whole.events.entries()) {
          const { atMs, ...rest } = cut.events[index]!;
          expect(atMs).toBeCloseTo(event.atMs, 6);
          expect({ ...rest, queueMs: 0 }).toEqual({ ...event, atMs: undefined, queueMs: 0 });
        }
        expect(cut.engine.stats()).toEqual(whole.engine.stats());
      }),
      { numRuns: 400 },
    );
  });
});
