import { ChurnMap } from '../model/churn-map.js';
import { clear } from '../model/clear.js';
import { BatchCore } from './batch-core.js';
import type { BatchEngineConfig, Engine, EngineEvent, EngineRequest, EngineStats } from './batch-types.js';
import type { EngineScheduler } from './engine-scheduler.js';
import { FrontDoor, VLLM_FRONT_END } from './front-end.js';
import { LockStepRanks } from './lock-step-ranks.js';
import { NO_BLOCKS, type Sequence } from './sequence.js';

export type { BatchEngineConfig, Engine, EngineEvent, EngineRequest, EngineStats } from './batch-types.js';

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
export class BatchEngine implements Engine {
  private readonly core: EngineScheduler;
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
  /** Before they reached the scheduler. */
  private abortedEarly = 0;

  constructor(config: BatchEngineConfig) {
    const { llm, dataParallel = 1, frontEnd = VLLM_FRONT_END } = config;
    const onGone = (sequence: Sequence) => this.sequences.delete(sequence.id);
    const lockStep = dataParallel > 1 && llm.moe !== undefined;
    this.core = lockStep ? new LockStepRanks(config, onGone) : new BatchCore(config, onGone);
    // vLLM starts as many API servers as ranks.
    this.door = new FrontDoor(frontEnd, lockStep ? dataParallel : 1);
  }

  get paused(): 'no' | 'new' | 'all' {
    return this.pauseState;
  }

  get maxModelLen(): number {
    return this.core.maxModelLen;
  }

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

  abort(id: string, nowMs: number): boolean {
    this.moveTo(nowMs);
    const sequence = this.sequences.get(id);
    if (!sequence) return false;
    if (this.door.remove(id)) {
      this.abortedEarly += 1;
      this.sequences.delete(id);
      return true;
    }
    const { core } = this;
    core.settle(this.nowMs);
    core.remove(sequence);
    this.afterRelease();
    return true;
  }

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

  /** Requests that are not running yet: on their way to the scheduler, or waiting there. */
  get unstarted(): number {
    return this.door.size + this.core.waitingSize;
  }

  /** The scheduler gets a request. */
  private enter(sequence: Sequence): void {
    const { core } = this;
    sequence.addedMs = this.nowMs;
    core.enqueue(sequence);
    if (!core.inFlight) this.wake();
    else if (this.admitting && core.mayJoin(sequence)) this.cutIn();
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

  nextEventMs(): number {
    if (!this.core.inFlight && !this.stalled) this.begin(this.pending);
    if (this.pending.length > 0) return this.pending[0]!.atMs;
    const doorMs = this.door.nextMs();
    return this.core.inFlight ? Math.min(doorMs, this.core.run.endMs) : doorMs;
  }

  nextStepMs(): number {
    const next = this.nextEventMs();
    const { inFlight, run } = this.core;
    return inFlight && run.leaping ? run.endOf(run.stepsDoneBy(this.nowMs) + 1) : next;
  }

  generatedTokens(id: string): number {
    const sequence = this.sequences.get(id);
    return sequence ? this.core.generatedBy(sequence, this.nowMs) : 0;
  }

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

  resume(nowMs: number): void {
    this.moveTo(nowMs);
    this.pauseState = 'no';
    this.clearWhenIdle = false;
    if (this.core.inFlight) this.cutIn();
    else this.wake();
  }

  sleepKv(nowMs: number, events: EngineEvent[]): void {
    this.advance(nowMs, events);
    if (this.pauseState === 'no') this.pauseState = 'all';
    this.core.drop(this.nowMs);
    this.stalled = true;
    this.clear(events);
  }

  setKvLimitBlocks(blocks: number): void {
    const { core } = this;
    core.settle(this.nowMs);
    core.limitBlocks(blocks);
    this.afterRelease();
  }

  resetPrefixCache(resetRunning: boolean): boolean {
    const { core } = this;
    if (core.runningSize > 0) {
      if (!resetRunning) return false;
      core.drop(this.nowMs);
    }
    this.clear(this.pending);
    this.afterRelease();
    return true;
  }

  stats(): EngineStats {
    const stats = this.core.stats(this.nowMs);
    return this.abortedEarly === 0 ? stats : { ...stats, aborted: stats.aborted + this.abortedEarly };
  }

  rankStats(): readonly EngineStats[] {
    return this.core.rankStats(this.nowMs);
  }

  private get admitting(): boolean {
    return this.pauseState === 'no';
  }

  private get idle(): boolean {
    return this.core.runningSize === 0 && (this.core.waitingSize === 0 || !this.admitting);
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
      if (this.admitting) core.extend(this.nowMs);
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
    const all = this.core.takeAll();
    for (const sequence of this.door.drain()) {
      all.push(sequence);
      this.sequences.delete(sequence.id);
      this.abortedEarly += 1;
    }
    for (const { id, generated } of all)
      events.push({ kind: 'aborted', id, atMs: this.nowMs, outputTokens: generated });
  }

  private clear(events: EngineEvent[]): void {
    this.core.clear(this.nowMs, events);
    this.clearWhenIdle = false;
  }

  private clearIfIdle(): void {
    if (this.clearWhenIdle && this.core.runningSize === 0) this.clear(this.pending);
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
    rank: 0,
    wantedRank: request.rank,
    previous: undefined,
    next: undefined,
  };
}
