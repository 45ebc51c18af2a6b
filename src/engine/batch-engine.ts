import { ChurnMap } from '../model/churn-map.js';
import { clear } from '../model/clear.js';
import { BatchCore } from './batch-core.js';
import type { BatchEngineConfig, EngineEvent, EngineRequest, EngineStats } from './batch-types.js';
import { FrontDoor, VLLM_FRONT_END } from './front-end.js';
import { NO_BLOCKS, type Sequence } from './sequence.js';

export type { BatchEngineConfig, EngineEvent, EngineRequest, EngineStats } from './batch-types.js';

const NO_KEYS: readonly (string | number)[] = [];

/**
 * vLLM's V1 engine as a model: continuous batching with chunked prefill, paged KV with prefix sharing, preemption by recompute,
 * priorities, pause and sleep. Pure and synchronous; time only moves forward and only in {@link advance} (other calls that carry a
 * time bring the engine there first, and what happens on the way comes out of the next `advance`).
 *
 * It leaps: between two events the batch does not change, so a whole run of decode steps costs one closed form, whatever its length.
 *
 * What arrives while a step is under way joins the next one; what arrives at the very start of a step joins it. Order, seats and
 * blocks are vLLM's:
 * - running sequences are served first, then the queue while seats, token budget and blocks last;
 * - a head of the queue that does not fit stops all behind it;
 * - nobody loses a seat or blocks to one who waits; when a running sequence needs a block and none is free, the one last in the
 *   queue's order (under `fcfs`: the last admitted) is preempted, and waits again with its old arrival.
 */
export class BatchEngine {
  private readonly core: BatchCore;
  private readonly door: FrontDoor;
  private readonly sequences = new ChurnMap<Sequence>();
  private readonly pending: EngineEvent[] = [];
  private pauseState: 'no' | 'new' | 'all' = 'no';
  private nowMs = Number.NEGATIVE_INFINITY;
  /** Where the next run can begin when none is under way. */
  private boundaryMs = Number.NEGATIVE_INFINITY;
  /** Planning found nothing to run; only a call from outside can change that. */
  private stalled = true;
  private clearWhenIdle = false;
  private order = 0;
  private aborted = 0;

  constructor(config: BatchEngineConfig) {
    this.core = new BatchCore(config, (sequence) => this.sequences.delete(sequence.id));
    this.door = new FrontDoor(config.frontEnd ?? VLLM_FRONT_END);
  }

  /** `all`: frozen. `new`: what runs goes on, nothing is admitted. */
  get paused(): 'no' | 'new' | 'all' {
    return this.pauseState;
  }

  /** Longest prompt and output together. A prompt must leave room for one token. */
  get maxModelLen(): number {
    return this.core.maxModelLen;
  }

  /** Adds a request. Refusing one that cannot fit is the caller's business: a prompt of `maxModelLen` tokens or more throws. */
  add(request: EngineRequest, nowMs: number): void {
    const { core } = this;
    if (this.sequences.has(request.id)) throw new Error(`BatchEngine: request ${request.id} is already here`);
    const room = core.maxModelLen - request.promptTokens;
    if (room < 1 || request.promptTokens < 1) {
      throw new Error(`BatchEngine: a prompt of ${request.promptTokens} tokens does not fit ${core.maxModelLen}`);
    }
    this.moveTo(nowMs);
    const sequence = newSequence(request, Math.max(1, Math.min(request.outputTokens, room)), this.nowMs, this.order++);
    this.sequences.set(request.id, sequence);
    if (this.door.open) this.enter(sequence);
    else this.door.push(sequence, this.nowMs);
  }

  /** Removes a request without an event; false when it is not (or no longer) here. */
  abort(id: string, nowMs: number): boolean {
    this.moveTo(nowMs);
    const sequence = this.sequences.get(id);
    if (!sequence) return false;
    this.aborted += 1;
    if (this.door.remove(id)) {
      this.sequences.delete(id);
      return true;
    }
    const { core } = this;
    core.settle(this.nowMs);
    core.remove(sequence);
    this.afterRelease();
    return true;
  }

  /** Brings the engine to `nowMs`; what happened comes out in `events`, in order of time. */
  advance(nowMs: number, events: EngineEvent[]): void {
    if (this.pending.length > 0) {
      for (const event of this.pending) events.push(event);
      clear(this.pending);
    }
    while (this.door.size > 0 && this.door.nextMs() <= nowMs) {
      const readyMs = this.door.nextMs();
      this.schedule(readyMs, events);
      const sequence = this.door.shift();
      events.push({ kind: 'queued', id: sequence.id, atMs: readyMs });
      this.enter(sequence);
    }
    this.schedule(nowMs, events);
  }

  /** The scheduler gets a request. */
  private enter(sequence: Sequence): void {
    const { core } = this;
    sequence.addedMs = this.nowMs;
    core.waiting.push(sequence);
    if (!core.inFlight) this.wake();
    else if (this.admitting && core.running.size < core.maxNumSeqs && core.waiting.peek() === sequence) this.cutIn();
  }

  /** Brings the scheduler to `nowMs`; nobody comes through the front end until then. */
  private schedule(nowMs: number, events: EngineEvent[]): void {
    const { core } = this;
    for (;;) {
      if (!core.inFlight) {
        // A run that could begin at this very moment waits for who else comes at it.
        if (this.stalled || this.boundaryMs >= nowMs) break;
        if (!this.begin(events)) break;
      }
      if (core.run.endMs > nowMs) break;
      core.complete(events);
      this.boundaryMs = core.run.endMs;
      this.stalled = this.idle;
      if (this.clearWhenIdle) this.clearIfIdle();
    }
    if (nowMs > this.nowMs) this.nowMs = nowMs;
  }

  /** When the next event can happen if nothing else comes; Infinity when idle, paused or stalled. Never later than the event. */
  nextEventMs(): number {
    if (!this.core.inFlight && !this.stalled) this.begin(this.pending);
    if (this.pending.length > 0) return this.pending[0]!.atMs;
    const doorMs = this.door.nextMs();
    return this.core.inFlight ? Math.min(doorMs, this.core.run.endMs) : doorMs;
  }

  /** When the step under way ends and its tokens are out; Infinity when nothing runs. For those who stream token by token. */
  nextStepMs(): number {
    const next = this.nextEventMs();
    const { inFlight, run } = this.core;
    return inFlight && run.leaping ? run.endOf(run.stepsDoneBy(this.nowMs) + 1) : next;
  }

  /** Output tokens of a request as of the last advance; 0 before the first and for unknown ids. */
  generatedTokens(id: string): number {
    const sequence = this.sequences.get(id);
    return sequence ? this.core.generatedBy(sequence, this.nowMs) : 0;
  }

  /**
   * Stops admission. `abort` ends every request, `wait` lets the running ones finish (idle when `running` is 0), `keep` freezes them.
   * With `clearCache` the prefix cache is reset too, which preempts what is frozen; under `wait` it happens when nothing runs any more.
   */
  pause(mode: 'abort' | 'wait' | 'keep', clearCache: boolean, nowMs: number, events: EngineEvent[]): void {
    this.advance(nowMs, events);
    const { core } = this;
    if (mode === 'wait') {
      const frozen = this.pauseState === 'all';
      this.pauseState = 'new';
      if (frozen) this.wake();
      this.clearWhenIdle = clearCache;
      this.clearIfIdle();
      return;
    }
    core.drop(this.nowMs);
    this.stalled = true;
    this.pauseState = mode === 'keep' ? 'all' : 'new';
    if (mode === 'abort') this.abortAll(events);
    if (clearCache) this.clear(events);
  }

  /** Lifts every pause; frozen requests go on. */
  resume(nowMs: number): void {
    this.moveTo(nowMs);
    this.pauseState = 'no';
    this.clearWhenIdle = false;
    if (this.core.inFlight) this.cutIn();
    else this.wake();
  }

  /**
   * Sleep of level 1 or more: the KV is gone. The caller has paused the engine and resumes it after the wake; what still runs is
   * preempted and will be computed again.
   */
  sleepKv(nowMs: number, events: EngineEvent[]): void {
    this.advance(nowMs, events);
    if (this.pauseState === 'no') this.pauseState = 'all';
    this.core.drop(this.nowMs);
    this.stalled = true;
    this.clear(events);
  }

  /** Elastic KV: sequences may hold at most `blocks`. A shrink below use waits for releases (and starves who needs more meanwhile). */
  setKvLimitBlocks(blocks: number): void {
    const { core } = this;
    core.settle(this.nowMs);
    core.pool.setLimit(blocks);
    this.afterRelease();
  }

  /** Empties the prefix cache. False while blocks are held, unless `resetRunning` preempts those who hold them. */
  resetPrefixCache(resetRunning: boolean): boolean {
    const { core } = this;
    if (core.running.size > 0) {
      if (!resetRunning) return false;
      core.drop(this.nowMs);
    }
    this.clear(this.pending);
    this.afterRelease();
    return true;
  }

  stats(): EngineStats {
    const { core } = this;
    const done = core.stepsDoneBy(this.nowMs);
    const usedBlocks = core.usedBlocksAt(this.nowMs);
    return {
      running: core.running.size,
      waiting: core.waiting.size,
      usedBlocks,
      totalBlocks: core.pool.totalBlocks,
      kvUsage: core.pool.totalBlocks === 0 ? 0 : usedBlocks / core.pool.totalBlocks,
      preemptions: core.preemptions,
      promptTokens: core.promptTokens,
      cachedPromptTokens: core.cachedPromptTokens,
      generatedTokens: core.generatedTokens + done * core.decode.size,
      finished: core.finished,
      aborted: this.aborted,
      prefixQueriesTokens: core.prefixQueriesTokens,
      prefixHitsTokens: core.prefixHitsTokens,
      steps: core.steps + done,
    };
  }

  private get admitting(): boolean {
    return this.pauseState === 'no';
  }

  private get idle(): boolean {
    return this.core.running.size === 0 && (this.core.waiting.size === 0 || !this.admitting);
  }

  private begin(events: EngineEvent[]): boolean {
    this.stalled = !this.core.plan(this.boundaryMs, this.admitting, events);
    return !this.stalled;
  }

  /** Brings the engine to `nowMs` with the events kept for the next advance. */
  private moveTo(nowMs: number): void {
    if (this.pending.length === 0) {
      this.advance(nowMs, this.pending);
      return;
    }
    const events: EngineEvent[] = [];
    this.advance(nowMs, events);
    this.pending.push(...events);
  }

  /** Something may run from now on. */
  private wake(): void {
    if (this.boundaryMs < this.nowMs) this.boundaryMs = this.nowMs;
    this.stalled = this.pauseState === 'all' || this.idle;
  }

  /** Lets the queue have a look at the next step: the one that has just begun, or else the one after the step under way. */
  private cutIn(): void {
    const { core } = this;
    if (core.run.startMs === this.nowMs) {
      core.extend(this.nowMs, this.admitting);
      return;
    }
    core.run.truncate(this.nowMs);
    if (core.run.endMs === this.nowMs) {
      core.complete(this.pending);
      this.boundaryMs = this.nowMs;
      this.stalled = this.idle;
    }
  }

  /** Room has come free outside a step's end. */
  private afterRelease(): void {
    if (this.clearWhenIdle) this.clearIfIdle();
    if (!this.core.inFlight) this.wake();
  }

  private abortAll(events: EngineEvent[]): void {
    const { core } = this;
    for (const sequence of [...core.running.toArray(), ...core.waiting.drain(), ...this.door.drain()]) {
      if (sequence.state === 'waiting') {
        sequence.state = 'gone';
        this.sequences.delete(sequence.id);
      } else core.remove(sequence);
      this.aborted += 1;
      events.push({ kind: 'aborted', id: sequence.id, atMs: this.nowMs, outputTokens: sequence.generated });
    }
  }

  /** Preempts whatever holds blocks and forgets all content. */
  private clear(events: EngineEvent[]): void {
    const { core } = this;
    for (const sequence of core.running.toArray().reverse()) core.preempt(sequence, this.nowMs, events);
    core.pool.reset();
    this.clearWhenIdle = false;
  }

  private clearIfIdle(): void {
    if (!this.clearWhenIdle || this.core.running.size > 0) return;
    this.core.pool.reset();
    this.clearWhenIdle = false;
  }
}

function newSequence(request: EngineRequest, outputTokens: number, nowMs: number, order: number): Sequence {
  const { blockHashes, salt } = request;
  const keys =
    blockHashes === undefined
      ? NO_KEYS
      : salt === undefined
        ? blockHashes
        : blockHashes.map((hash) => `${salt}\u0000${hash}`);
  return {
    id: request.id,
    promptTokens: request.promptTokens,
    outputTokens,
    priority: request.priority,
    arrivalMs: request.arrivalMs,
    addedMs: nowMs,
    order,
    keys,
    state: 'waiting',
    generated: 0,
    computed: 0,
    joinStep: 0,
    targetTokens: 0,
    chunkTokens: 0,
    blocks: 0,
    named: NO_BLOCKS,
    keysSeen: 0,
    cachedTokens: 0,
    scheduledMs: -1,
    preemptions: 0,
    grantStep: -1,
    finishEntry: undefined,
    previous: undefined,
    next: undefined,
  };
}
