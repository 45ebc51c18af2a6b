import type { BatchEngineConfig, EngineEvent, EngineStats } from './batch-types.js';
import { CoreCounters } from './core-counters.js';
import { DecodeSet } from './decode-set.js';
import type { EngineScheduler } from './engine-scheduler.js';
import { BlockPool } from './kv-blocks.js';
import { PrefillSet } from './prefill-set.js';
import { NO_BLOCKS, RunningList, type Sequence, WaitingQueue } from './sequence.js';
import { nameBlocks, releaseBlocks } from './sequence-blocks.js';
import { StepRun } from './step-run.js';
import { type StepCost, stepCostOf } from './step-time.js';

/**
 * The scheduler of one engine, with the run of steps under way. Its caller owns time and decides what is allowed to run.
 *
 * A *run* is one step with prefill in it, or as many decode steps as pass before anything changes: until a sequence ends or blocks
 * run short. The blocks of the step under way are taken when it begins; those of the later steps of a run when they are accounted.
 */
export class BatchCore implements EngineScheduler {
  readonly maxModelLen: number;
  readonly decode: DecodeSet;
  readonly prefilling = new PrefillSet();
  readonly run: StepRun;
  inFlight = false;
  private readonly cost: StepCost;
  private readonly blockTokens: number;
  private readonly maxNumSeqs: number;
  private readonly pool: BlockPool;
  private readonly running = new RunningList();
  private readonly waiting: WaitingQueue;
  private readonly rank: number | undefined;
  private readonly counters = new CoreCounters();
  private readonly tokenBudget: number;
  private readonly byPriority: boolean;
  private readonly reserveFullPrompt: boolean;
  /** State of the step being planned. */
  private budgetLeft = 0;
  private preemptedNow = false;
  private headBlocked = false;
  /** Blocks of the step being planned are given out one by one. */
  private granting = false;

  constructor(
    config: BatchEngineConfig,
    private readonly onGone: (sequence: Sequence) => void,
    run?: StepRun,
  ) {
    this.rank = config.rank;
    this.blockTokens = config.blockSize ?? 16;
    this.tokenBudget = config.maxNumBatchedTokens ?? 8192;
    this.maxNumSeqs = Math.min(config.maxNumSeqs ?? 256, this.tokenBudget);
    this.maxModelLen = Math.min(config.maxModelLen, config.numGpuBlocks * this.blockTokens);
    this.byPriority = config.schedulingPolicy === 'priority';
    this.reserveFullPrompt = config.reserveFullPrompt ?? true;
    this.pool = new BlockPool(config.numGpuBlocks, config.prefixCaching ?? true, config.onBlockChange);
    this.decode = new DecodeSet(this.blockTokens);
    this.waiting = new WaitingQueue(this.byPriority);
    this.cost = stepCostOf(config);
    this.run = run ?? new StepRun(this.cost);
  }

  get runningSize(): number {
    return this.running.size;
  }

  get waitingSize(): number {
    return this.waiting.size;
  }

  get kvUsage(): number {
    return this.pool.used / this.pool.totalBlocks;
  }

  enqueue(sequence: Sequence): void {
    this.waiting.push(sequence);
  }

  mayJoin(sequence: Sequence): boolean {
    return this.running.size < this.maxNumSeqs && this.waiting.peek() === sequence;
  }

  /** Plans the step that begins at `nowMs` and starts a run; false when there is nothing to run. */
  plan(nowMs: number, admitting: boolean, events: EngineEvent[]): boolean {
    this.fill(nowMs, admitting, events);
    return this.start(nowMs, admitting);
  }

  /** Plans the step that begins at `nowMs`: who is in it, and whose blocks are taken. */
  fill(nowMs: number, admitting: boolean, events: EngineEvent[]): void {
    this.preemptedNow = false;
    this.serveRunning(nowMs, events);
    // vLLM admits nothing in a step that had to preempt; when nobody is left to run, its next (empty) step does.
    if (admitting && (!this.preemptedNow || this.running.size === 0)) this.admit(nowMs);
    else this.headBlocked = false;
    this.prefilling.measure();
    this.inFlight = this.running.size > 0;
  }

  extend(nowMs: number): void {
    this.fillUp(nowMs);
    this.start(nowMs, true);
  }

  /** Lets what has come in at the very start of the step into it. */
  fillUp(nowMs: number): void {
    if (!this.preemptedNow) this.admit(nowMs);
    this.prefilling.measure();
    this.inFlight = this.running.size > 0;
  }

  complete(events: EngineEvent[]): void {
    const atMs = this.run.endMs;
    this.account(this.run.steps, false);
    this.inFlight = false;
    for (let sequence = this.decode.popFinished(); sequence; sequence = this.decode.popFinished()) {
      this.finish(sequence, atMs, events);
    }
    if (this.prefilling.size > 0) this.completePrefills(atMs, events);
  }

  private stepsDoneBy(nowMs: number): number {
    return this.inFlight ? this.run.stepsDoneBy(nowMs) : 0;
  }

  settle(nowMs: number): void {
    const { run } = this;
    if (!this.inFlight || !run.leaping) return;
    const done = run.stepsDoneBy(nowMs);
    this.account(done, true);
    run.single(run.endOf(done), run.endOf(done + 1));
  }

  drop(nowMs: number): void {
    if (!this.inFlight) return;
    this.settle(nowMs);
    this.pool.give(this.decode.blocksNeeded(0, 1));
    for (const sequence of this.prefilling.list) sequence.chunkTokens = 0;
    this.inFlight = false;
  }

  remove(sequence: Sequence): void {
    this.counters.aborted += 1;
    if (sequence.state === 'waiting') {
      sequence.state = 'gone';
      this.waiting.dropped();
    } else {
      this.vacate(sequence);
      sequence.state = 'gone';
      if (this.running.size === 0) this.inFlight = false;
    }
    this.onGone(sequence);
  }

  takeAll(): Sequence[] {
    const all = this.running.toArray();
    for (const sequence of all) this.remove(sequence);
    for (const sequence of this.waiting.drain()) {
      all.push(sequence);
      sequence.state = 'gone';
      this.counters.aborted += 1;
      this.onGone(sequence);
    }
    return all;
  }

  clear(nowMs: number, events: EngineEvent[]): void {
    for (const sequence of this.running.toArray().reverse()) this.preempt(sequence, nowMs, events);
    this.pool.reset();
  }

  limitBlocks(blocks: number): void {
    this.pool.setLimit(blocks);
  }

  /** A running sequence loses its KV and waits again. */
  private preempt(sequence: Sequence, nowMs: number, events: EngineEvent[]): void {
    this.vacate(sequence);
    sequence.state = 'waiting';
    sequence.computed = 0;
    sequence.preemptions += 1;
    this.counters.preemptions += 1;
    this.preemptedNow = true;
    this.waiting.push(sequence);
    events.push({ kind: 'preempted', id: sequence.id, atMs: nowMs });
  }

  generatedBy(sequence: Sequence, nowMs: number): number {
    if (sequence.state !== 'decode') return sequence.generated;
    return sequence.generated + this.decode.step - sequence.joinStep + this.stepsDoneBy(nowMs);
  }

  stats(nowMs: number): EngineStats {
    const { pool, decode, running, waiting } = this;
    const done = this.stepsDoneBy(nowMs);
    // Those of the step under way included.
    const usedBlocks = pool.used + (done > 0 ? decode.blocksNeeded(1, done + 1) : 0);
    const gauges = { running: running.size, waiting: waiting.size, usedBlocks, totalBlocks: pool.totalBlocks };
    return this.counters.stats(gauges, done, decode.size);
  }

  rankStats(nowMs: number): readonly EngineStats[] {
    return [this.stats(nowMs)];
  }

  /** Moves the counters on by `done` steps. `underWay` says that the step after them has begun and holds its blocks. */
  account(done: number, underWay: boolean): void {
    const begun = done + (underWay ? 1 : 0);
    if (begun > 1) this.pool.take(this.decode.blocksNeeded(1, begun));
    this.counters.generatedTokens += done * this.decode.size;
    this.counters.steps += done;
    this.decode.advance(done);
  }

  /** Gives every running sequence its blocks for the next step, preempting where they run short. */
  private serveRunning(nowMs: number, events: EngineEvent[]): void {
    this.budgetLeft = this.tokenBudget - this.decode.size;
    let needed = this.decode.blocksNeeded(0, 1);
    for (const sequence of this.prefilling.list) {
      sequence.chunkTokens = Math.min(sequence.targetTokens - sequence.computed, this.budgetLeft);
      this.budgetLeft -= sequence.chunkTokens;
      needed += this.blocksForChunk(sequence);
    }
    if (needed > this.pool.free) {
      this.serveOneByOne(nowMs, events);
      return;
    }
    if (needed > 0) this.pool.take(needed);
    for (const sequence of this.prefilling.list) this.enterChunk(sequence);
  }

  private serveOneByOne(nowMs: number, events: EngineEvent[]): void {
    this.granting = true;
    for (const sequence of this.running.toArray()) {
      if (sequence.state === 'waiting') continue;
      const decoding = sequence.state === 'decode';
      const needed = decoding ? this.needsBlock(sequence) : this.blocksForChunk(sequence);
      while (needed > this.pool.free && sequence.state === (decoding ? 'decode' : 'prefill')) {
        const victim = this.victim();
        this.budgetLeft += victim.state === 'decode' ? 1 : victim.chunkTokens;
        this.preempt(victim, nowMs, events);
      }
      if (sequence.state !== (decoding ? 'decode' : 'prefill')) continue;
      this.pool.take(needed);
      if (!decoding) this.enterChunk(sequence);
      else if (needed > 0) sequence.grantStep = this.decode.step;
    }
    this.granting = false;
  }

  private needsBlock(sequence: Sequence): number {
    return this.decode.computedOf(sequence) % this.blockTokens === 0 ? 1 : 0;
  }

  private blocksForChunk(sequence: Sequence): number {
    const after = Math.ceil((sequence.computed + sequence.chunkTokens) / this.blockTokens);
    return Math.max(0, after - sequence.blocks);
  }

  /** Accounts the blocks of a chunk, already taken from the pool. Full blocks are visible to others at once, as in vLLM. */
  private enterChunk(sequence: Sequence): void {
    sequence.blocks += this.blocksForChunk(sequence);
    nameBlocks(this.pool, sequence, Math.floor((sequence.computed + sequence.chunkTokens) / this.blockTokens));
  }

  private victim(): Sequence {
    let worst = this.running.last!;
    if (!this.byPriority) return worst;
    for (let sequence = this.running.first; sequence; sequence = sequence.next) {
      if (this.waiting.before(worst, sequence)) worst = sequence;
    }
    return worst;
  }

  /** Admits from the head of the queue while seats, token budget and blocks last; a head that does not fit stops all behind it. */
  private admit(nowMs: number): void {
    this.headBlocked = false;
    while (this.budgetLeft > 0 && this.running.size < this.maxNumSeqs) {
      const sequence = this.waiting.peek();
      if (!sequence) return;
      const total = sequence.promptTokens + sequence.generated;
      const hits =
        sequence.keys.length === 0
          ? NO_BLOCKS
          : // The last token is always computed, to have something to sample from.
            this.pool.match(sequence.keys, Math.floor((total - 1) / this.blockTokens));
      const hitTokens = hits.length * this.blockTokens;
      const chunk = Math.min(total - hitTokens, this.budgetLeft);
      const newBlocks = Math.ceil((hitTokens + chunk) / this.blockTokens) - hits.length;
      const wanted = this.reserveFullPrompt ? Math.ceil(total / this.blockTokens) - hits.length : newBlocks;
      if (wanted + this.pool.unheld(hits) > this.pool.free) {
        this.headBlocked = true;
        return;
      }
      this.waiting.shift();
      this.pool.hold(hits);
      this.pool.take(newBlocks);
      this.budgetLeft -= chunk;
      this.seat(sequence, nowMs, total, chunk, hits);
      sequence.blocks = hits.length + newBlocks;
      nameBlocks(this.pool, sequence, Math.floor((hitTokens + chunk) / this.blockTokens));
    }
  }

  private seat(sequence: Sequence, nowMs: number, total: number, chunk: number, hits: number[]): void {
    const hitTokens = hits.length * this.blockTokens;
    if (sequence.scheduledMs < 0) {
      sequence.scheduledMs = nowMs;
      sequence.cachedTokens = hitTokens;
      this.counters.prefixQueriesTokens += total;
      this.counters.prefixHitsTokens += hitTokens;
    }
    sequence.state = 'prefill';
    sequence.targetTokens = total;
    sequence.computed = hitTokens;
    sequence.chunkTokens = chunk;
    sequence.named = hits;
    sequence.keysSeen = hits.length;
    this.running.append(sequence);
    this.prefilling.add(sequence);
  }

  /** Starts the run that the plan amounts to. */
  private start(nowMs: number, admitting: boolean): boolean {
    const { decode, run } = this;
    if (!this.inFlight) return false;
    if (this.prefilling.size === 0) {
      run.leap(nowMs, decode.size, decode.contextTokens, this.stepsAhead(admitting));
      return true;
    }
    run.single(nowMs, nowMs + this.stepMs());
    return true;
  }

  /** Time of the step just planned. `routedTokens` as `StepCost.mixedMs` has it. */
  stepMs(routedTokens?: number): number {
    const { decode, prefilling } = this;
    const { tokens, pairs, seqs } = prefilling;
    return this.cost.mixedMs(decode.size, decode.contextTokens, tokens, pairs, seqs, routedTokens);
  }

  /** Steps that can pass from the one just planned before anything changes. */
  stepsAhead(admitting: boolean): number {
    const { decode } = this;
    if (this.prefilling.size > 0) return 1;
    // Somebody could be admitted in the next step already, unless the head of the queue waits for blocks.
    const mayAdmit = admitting && this.waiting.size > 0 && this.running.size < this.maxNumSeqs && !this.headBlocked;
    const limit = mayAdmit ? 1 : decode.stepsToNextEnd();
    return limit === 1 || decode.size === 0 ? limit : 1 + decode.stepsWithin(Math.max(0, this.pool.free), limit - 1);
  }

  private completePrefills(atMs: number, events: EngineEvent[]): void {
    const { counters } = this;
    for (const sequence of this.prefilling.takeComputed()) {
      sequence.generated += 1;
      counters.generatedTokens += 1;
      if (sequence.generated === 1) {
        counters.promptTokens += sequence.promptTokens;
        counters.cachedPromptTokens += sequence.cachedTokens;
        const { id, cachedTokens } = sequence;
        const queueMs = sequence.scheduledMs - sequence.addedMs;
        const told = { kind: 'first-token' as const, id, atMs, cachedTokens, queueMs };
        events.push(this.rank === undefined ? told : { ...told, rank: this.rank });
      }
      if (sequence.generated >= sequence.outputTokens) this.finish(sequence, atMs, events);
      else this.decode.join(sequence);
    }
  }

  private finish(sequence: Sequence, atMs: number, events: EngineEvent[]): void {
    if (sequence.state === 'decode') sequence.blocks = Math.ceil(sequence.computed / this.blockTokens);
    nameBlocks(this.pool, sequence, Math.floor(sequence.computed / this.blockTokens));
    this.running.remove(sequence);
    releaseBlocks(this.pool, sequence);
    sequence.state = 'gone';
    this.counters.finished += 1;
    events.push({
      kind: 'finished',
      id: sequence.id,
      atMs,
      outputTokens: sequence.generated,
      cachedTokens: sequence.cachedTokens,
      preemptions: sequence.preemptions,
    });
    this.onGone(sequence);
  }

  /** Takes a running sequence out of the batch and gives its blocks back. */
  private vacate(sequence: Sequence): void {
    this.running.remove(sequence);
    if (sequence.state === 'decode') {
      this.decode.leave(sequence);
      const granted = this.granting && sequence.grantStep === this.decode.step;
      const begun = this.inFlight || granted ? 1 : 0;
      sequence.blocks = Math.ceil((sequence.computed + begun) / this.blockTokens);
    } else {
      this.prefilling.remove(sequence);
    }
    sequence.chunkTokens = 0;
    releaseBlocks(this.pool, sequence);
  }
}
