import { describe, expect, it } from 'vitest';
import { findGpu } from '../model/gpu-catalogue.js';
import { findLlm } from '../model/llm-catalogue.js';
import { BatchEngine, type BatchEngineConfig, type EngineEvent, type EngineRequest } from './batch-engine.js';
import { NO_FRONT_END } from './front-end.js';
import { StepCost } from './step-time.js';

const SHAPE = {
  llm: findLlm('llama-3.1-8b')!,
  gpu: findGpu('h100-sxm')!,
  tp: 1,
  weightDtype: 'bf16',
  kvDtype: 'bf16',
} as const;

function engineOf(config: Partial<BatchEngineConfig> = {}): BatchEngine {
  return new BatchEngine({ ...SHAPE, maxModelLen: 8192, numGpuBlocks: 1000, frontEnd: NO_FRONT_END, ...config });
}

function request(id: string, promptTokens: number, outputTokens: number, more: Partial<EngineRequest> = {}) {
  return { id, promptTokens, outputTokens, priority: 0, arrivalMs: 0, ...more };
}

/** Runs until nothing happens any more (or `untilMs`); all events. */
function drain(engine: BatchEngine, untilMs = Number.POSITIVE_INFINITY): EngineEvent[] {
  const events: EngineEvent[] = [];
  for (
    let next = engine.nextEventMs();
    next <= untilMs && next < Number.POSITIVE_INFINITY;
    next = engine.nextEventMs()
  ) {
    engine.advance(next, events);
  }
  if (untilMs < Number.POSITIVE_INFINITY) engine.advance(untilMs, events);
  return events;
}

const idsOf = (events: readonly EngineEvent[], kind: EngineEvent['kind']) =>
  events.filter((event) => event.kind === kind).map((event) => event.id);
const find = <K extends EngineEvent['kind']>(events: readonly EngineEvent[], kind: K, id: string) =>
  events.find((event) => event.kind === kind && event.id === id) as Extract<EngineEvent, { kind: K }>;

/** Advances by single steps until `done`. */
function stepUntil(engine: BatchEngine, done: () => boolean, events: EngineEvent[] = []): number {
  for (;;) {
    const next = engine.nextStepMs();
    if (next === Number.POSITIVE_INFINITY) throw new Error('the engine ran dry');
    engine.advance(next, events);
    if (done()) return next;
  }
}

describe('BatchEngine: time', () => {
  const cost = new StepCost(SHAPE);

  it('one request: prefill, then a decode step for every further token', () => {
    const engine = engineOf();
    engine.add(request('a', 1000, 101), 50);
    const events = drain(engine);
    const firstMs = 50 + cost.prefillMs(1000);
    expect(events.map((event) => event.kind)).toEqual(['first-token', 'finished']);
    expect(events[0]).toEqual({ kind: 'first-token', id: 'a', atMs: firstMs, cachedTokens: 0, queueMs: 0 });
    expect(events[1]!.atMs).toBeCloseTo(firstMs + cost.decodeRunMs(1, 1000, 100), 6);
    expect(engine.stats()).toMatchObject({ running: 0, usedBlocks: 0, finished: 1, generatedTokens: 101, steps: 101 });
    expect(engine.nextEventMs()).toBe(Number.POSITIVE_INFINITY);
  });

  it('a long prompt takes chunks of the token budget, and decodes go on meanwhile', () => {
    const engine = engineOf({ maxNumBatchedTokens: 512 });
    engine.add(request('short', 100, 50), 0);
    const events: EngineEvent[] = [];
    stepUntil(engine, () => engine.generatedTokens('short') === 3, events);
    engine.add(request('long', 1600, 2), engine.nextStepMs() - 0.001);
    stepUntil(engine, () => engine.generatedTokens('long') === 1, events);
    // The step under way, then 511 + 511 + 511 + 67 tokens beside one decode each.
    expect(engine.generatedTokens('short')).toBe(3 + 1 + 4);
  });

  it('what comes during a step joins the next; what comes at the start of a step joins it', () => {
    const engine = engineOf();
    engine.add(request('a', 64, 10), 0);
    engine.nextEventMs();
    engine.add(request('b', 64, 10), 0);
    engine.add(request('c', 64, 10), 1);
    const events = drain(engine);
    expect(find(events, 'first-token', 'b').atMs).toBe(find(events, 'first-token', 'a').atMs);
    expect(find(events, 'first-token', 'c').atMs).toBeGreaterThan(find(events, 'first-token', 'a').atMs);
    expect(find(events, 'first-token', 'c').queueMs).toBeCloseTo(find(events, 'first-token', 'a').atMs - 1, 9);
  });

  it('asking does not move it: the same with and without looks in between', () => {
    const looked = engineOf();
    const left = engineOf();
    for (const engine of [looked, left]) {
      engine.add(request('a', 300, 200), 0);
      engine.add(request('b', 500, 100), 3);
    }
    for (let ms = 3; ms < 900; ms += 7) {
      looked.advance(ms, []);
      looked.stats();
      looked.generatedTokens('a');
      looked.nextEventMs();
      looked.nextStepMs();
    }
    looked.advance(900, []);
    left.advance(900, []);
    expect(looked.stats()).toEqual(left.stats());
    expect(looked.generatedTokens('a')).toBe(left.generatedTokens('a'));
  });

  it('counts the tokens that a stream has seen, step by step', () => {
    const engine = engineOf();
    engine.add(request('a', 10, 5), 0);
    const seen = [engine.generatedTokens('a')];
    for (let step = 0; step < 4; step++) {
      engine.advance(engine.nextStepMs(), []);
      seen.push(engine.generatedTokens('a'));
    }
    expect(seen).toEqual([0, 1, 2, 3, 4]);
    expect(engine.generatedTokens('nobody')).toBe(0);
  });

  it('cuts the output at the model length and refuses a prompt that leaves no room', () => {
    const engine = engineOf({ maxModelLen: 100 });
    engine.add(request('a', 90, 50), 0);
    expect(find(drain(engine), 'finished', 'a').outputTokens).toBe(10);
    expect(() => engine.add(request('b', 100, 1), 0)).toThrow(/does not fit/);
    expect(engineOf({ numGpuBlocks: 4 }).maxModelLen).toBe(64);
  });
});

describe('BatchEngine: order and seats, as vLLM does it', () => {
  it('serves priorities in order, ties by arrival, and displaces nobody for a seat', () => {
    const engine = engineOf({ maxNumSeqs: 2, schedulingPolicy: 'priority' });
    engine.add(request('r1', 16, 400, { priority: 50 }), 0);
    engine.add(request('r2', 16, 400, { priority: 50 }), 0);
    engine.advance(50, []);
    const queue = [10, 10, 5, -5, -9];
    for (const [index, priority] of queue.entries()) {
      engine.add(request(`p${priority}#${index}`, 16, 20, { priority, arrivalMs: 50 + index }), 50 + index);
    }
    const events = drain(engine);
    expect(idsOf(events, 'preempted')).toEqual([]);
    expect(idsOf(events, 'first-token')).toEqual(['p-9#4', 'p-5#3', 'p5#2', 'p10#0', 'p10#1']);
  });

  it('is first come, first served under fcfs, whatever the priority', () => {
    const engine = engineOf({ maxNumSeqs: 1 });
    for (const [index, priority] of [5, -5, 0].entries()) engine.add(request(`${index}`, 16, 5, { priority }), 0);
    expect(idsOf(drain(engine), 'first-token')).toEqual(['0', '1', '2']);
  });

  it('an urgent prompt that needs more blocks than are free waits for the runner, which is not preempted', () => {
    const engine = engineOf({ numGpuBlocks: 14, schedulingPolicy: 'priority', prefixCaching: false });
    engine.add(request('runner', 100, 20, { priority: 5 }), 0);
    engine.advance(20, []);
    engine.add(request('urgent', 128, 5, { priority: -5 }), 20);
    const events = drain(engine);
    expect(engine.stats().preemptions).toBe(0);
    const startMs = find(events, 'first-token', 'urgent').queueMs + 20;
    expect(startMs).toBeCloseTo(find(events, 'finished', 'runner').atMs, 9);
  });

  it.each([
    ['the less urgent came last', 0, 5, 'second'],
    ['the less urgent came first', 5, 0, 'first'],
    ['equal, so the later one', 0, 0, 'second'],
  ])('two runners outgrow the pool: exactly one preemption, %s', (_name, first, second, victim) => {
    const engine = engineOf({ numGpuBlocks: 20, schedulingPolicy: 'priority', prefixCaching: false });
    engine.add(request('first', 100, 100, { priority: first }), 0);
    engine.add(request('second', 100, 100, { priority: second, arrivalMs: 1 }), 0);
    const events = drain(engine);
    expect(idsOf(events, 'preempted')).toEqual([victim]);
    expect(idsOf(events, 'first-token')).toHaveLength(2);
    expect(idsOf(events, 'finished').at(-1)).toBe(victim);
    expect(find(events, 'finished', victim)).toMatchObject({ outputTokens: 100, preemptions: 1 });
    expect(engine.stats()).toMatchObject({ generatedTokens: 200, preemptions: 1, usedBlocks: 0 });
  });

  it('a victim keeps its tokens: the stream stalls and goes on without repeating', () => {
    const engine = engineOf({ numGpuBlocks: 20 });
    engine.add(request('first', 100, 100), 0);
    engine.add(request('second', 100, 100), 0);
    let last = 0;
    const events: EngineEvent[] = [];
    stepUntil(
      engine,
      () => {
        if (engine.stats().finished === 2) return true;
        const tokens = engine.generatedTokens('second');
        expect(tokens === 0 && last > 0 ? last : tokens).toBeGreaterThanOrEqual(last);
        expect(tokens - last).toBeLessThanOrEqual(1);
        last = tokens;
        return false;
      },
      events,
    );
    expect(idsOf(events, 'preempted')).toEqual(['second']);
    expect(last).toBe(99);
  });

  it('a head of the queue that does not fit blocks a smaller one behind it; a more urgent small one passes', () => {
    const engine = engineOf({ numGpuBlocks: 20, schedulingPolicy: 'priority' });
    engine.add(request('runner', 150, 60), 0);
    engine.advance(20, []);
    engine.add(request('big', 200, 5, { priority: 1 }), 20);
    engine.add(request('small', 16, 5, { priority: 2 }), 21);
    engine.advance(60, []);
    expect(engine.stats()).toMatchObject({ running: 1, waiting: 2 });
    // It waits for the runner's end, so there is nothing to look at before.
    expect(engine.nextEventMs()).toBeGreaterThan(engine.nextStepMs() + 20);
    engine.add(request('urgent', 16, 5, { priority: 0 }), 60);
    expect(idsOf(drain(engine), 'finished')).toEqual(['urgent', 'runner', 'big', 'small']);
  });

  it('a preempted request precedes later ones of its priority, and more urgent ones pass it', () => {
    const engine = engineOf({ numGpuBlocks: 20, schedulingPolicy: 'priority', prefixCaching: false });
    engine.add(request('first', 100, 100, { arrivalMs: 0 }), 0);
    engine.add(request('victim', 100, 100, { arrivalMs: 1 }), 1);
    const events: EngineEvent[] = [];
    const atMs = stepUntil(engine, () => engine.stats().preemptions === 1, events);
    engine.add(request('later', 160, 5, { arrivalMs: atMs }), atMs);
    engine.add(request('urgent', 160, 5, { priority: -1, arrivalMs: atMs + 1 }), atMs + 1);
    events.push(...drain(engine));
    expect(idsOf(events, 'finished')).toEqual(['first', 'urgent', 'victim', 'later']);
  });

  it('admits a prompt in part only when told to', () => {
    const running = (reserveFullPrompt: boolean) => {
      const engine = engineOf({ numGpuBlocks: 20, maxNumBatchedTokens: 64, reserveFullPrompt });
      engine.add(request('runner', 60, 200), 0);
      engine.advance(10, []);
      engine.add(request('big', 300, 5), 10);
      engine.advance(25, []);
      return engine.stats().running;
    };
    expect([running(true), running(false)]).toEqual([1, 2]);
  });
});
