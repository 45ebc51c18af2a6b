import type { BatchEngineConfig, EngineEvent } from './batch-types.js';
import { DecodeSet } from './decode-set.js';
import { BlockPool } from './kv-blocks.js';
import { NO_BLOCKS, RunningList, type Sequence, WaitingQueue } from './sequence.js';
import { StepRun } from './step-run.js';
import { type StepCost, stepCostOf } from './step-time.js';

/**
 * The scheduler of one engine, with the run of steps under way. Its caller owns time and decides what is allowed to run.
 *
 * A *run* is one step with prefill in it, or as many decode steps as pass before anything changes: until a sequence ends or blocks
 * run short. The blocks of the step under way are taken when it begins; those of the later steps of a run when they are accounted.
 */
export class BatchCore {
  readonly blockTokens: number;
  readonly maxNumSeqs: number;
  readonly maxModelLen: number;
  readonly pool: BlockPool;
  readonly decode: DecodeSet;
  readonly running = new RunningList();
  readonly waiting: WaitingQueue;
  readonly cost: StepCost;
  readonly run: StepRun;
  /** The run is under way. */
  inFlight = false;

  preemptions = 0;
  promptTokens = 0;
  cachedPromptTokens = 0;
  generatedTokens = 0;
  finished = 0;
  prefixQueriesTokens = 0;
  prefixHitsTokens = 0;
  steps = 0;

  private readonly tokenBudget: number;
  private readonly byPriority: boolean;
  private readonly reserveFullPrompt: boolean;
  private prefilling: Sequence[] = [];
  /** State of the step being planned. */
  private budgetLeft = 0;
  private preemptedNow = false;
  private headBlocked = false;
  /** Blocks of the step being planned are given out one by one. */
  private granting = false;

  constructor(
    config: BatchEngineConfig,
    private readonly onGone: (sequence: Sequence) => void,
  ) {
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
    this.run = new StepRun(this.cost);
  }

  /** Plans the step that begins at `nowMs` and starts a run; false when there is nothing to run. */
  plan(nowMs: number, admitting: boolean, events: EngineEvent[]): boolean {
    this.preemptedNow = false;
    this.serveRunning(nowMs, events);
    // vLLM admits nothing in a step that had to preempt; when nobody is left to run, its next (empty) step does.
    if (admitting && (!this.preemptedNow || this.running.size === 0)) this.admit(nowMs);
    else this.headBlocked = false;
    return this.start(nowMs, admitting);
  }

  /** Lets what has come in at the very start of the run join it. */
  extend(nowMs: number, admitting: boolean): void {
    if (!admitting) return;
    if (!this.preemptedNow) this.admit(nowMs);
    this.start(nowMs, admitting);
  }

  /** Ends the run: tokens are out, ended sequences leave. */
  complete(events: EngineEvent[]): void {
    const atMs = this.run.endMs;
    this.account(this.run.steps, false);
    this.inFlight = false;
    for (let sequence = this.decode.popFinished(); sequence; sequence = this.decode.popFinished()) {
      this.finish(sequence, atMs, events);
    }
    if (this.prefilling.length > 0) this.completePrefills(atMs, events);
  }

  /** Whole steps of the run that are done at `nowMs` (before its end). */
  stepsDoneBy(nowMs: number): number {
    return this.inFlight ? this.run.stepsDoneBy(nowMs) : 0;
  }

  /** Accounts the whole steps that are done at `nowMs`; the one under way becomes a run of its own. */
  settle(nowMs: number): void {
    const { run } = this;
    if (!this.inFlight || !run.leaping) return;
    const done = run.stepsDoneBy(nowMs);
    this.account(done, true);
    run.single(run.endOf(done), run.endOf(done + 1));
  }

  /** Forgets the step under way; whole steps before it count. */
  drop(nowMs: number): void {
    if (!this.inFlight) return;
    this.settle(nowMs);
    this.pool.give(this.decode.blocksNeeded(0, 1));
    for (const sequence of this.prefilling) sequence.chunkTokens = 0;
    this.inFlight = false;
  }

  /** Takes a sequence out of wherever it is, with its blocks. */
  remove(sequence: Sequence): void {
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

  /** A running sequence loses its KV and waits again. */
  preempt(sequence: Sequence, nowMs: number, events: EngineEvent[]): void {
    this.vacate(sequence);
    sequence.state = 'waiting';
    sequence.computed = 0;
    sequence.preemptions += 1;
    this.preemptions += 1;
    this.preemptedNow = true;
    this.waiting.push(sequence);
    events.push({ kind: 'preempted', id: sequence.id, atMs: nowMs });
  }

  generatedBy(sequence: Sequence, nowMs: number): number {
    if (sequence.state !== 'decode') return sequence.generated;
    return sequence.generated + this.decode.step - sequence.joinStep + this.stepsDoneBy(nowMs);
  }

  /** Blocks in use at `nowMs`, those of the step under way included. */
  usedBlocksAt(nowMs: number): number {
    const done = this.stepsDoneBy(nowMs);
    return this.pool.used + (done > 0 ? this.decode.blocksNeeded(1, done + 1) : 0);
  }

  /** Moves the counters on by `done` steps. `underWay` says that the step after them has begun and holds its blocks. */
  private account(done: number, underWay: boolean): void {
    const begun = done + (underWay ? 1 : 0);
    if (begun > 1) this.pool.take(this.decode.blocksNeeded(1, begun));
    this.generatedTokens += done * this.decode.size;
    this.steps += done;
    this.decode.advance(done);
  }

  /** Gives every running sequence its blocks for the next step, preempting where they run short. */
  private serveRunning(nowMs: number, events: EngineEvent[]): void {
    this.budgetLeft = this.tokenBudget - this.decode.size;
    let needed = this.decode.blocksNeeded(0, 1);
    for (const sequence of this.prefilling) {
      sequence.chunkTokens = Math.min(sequence.targetTokens - sequence.computed, this.budgetLeft);
      this.budgetLeft -= sequence.chunkTokens;
      needed += this.blocksForChunk(sequence);
    }
    if (needed > this.pool.free) {
      this.serveOneByOne(nowMs, events);
      return;
    }
    if (needed > 0) this.pool.take(needed);
    for (const sequence of this.prefilling) this.enterChunk(sequence);
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
    this.nameBlocks(sequence, sequence.computed + sequence.chunkTokens);
  }

  private nameBlocks(sequence: Sequence, tokens: number): void {
    const { keys } = sequence;
    const end = Math.min(keys.length, Math.floor(tokens / this.blockTokens));
    while (sequence.keysSeen < end) {
      const block = this.pool.name(keys[sequence.keysSeen]!, keys[sequence.keysSeen - 1]);
      if (block !== undefined) sequence.named.push(block);
      sequence.keysSeen += 1;
    }
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
      this.nameBlocks(sequence, hitTokens + chunk);
    }
  }

  private seat(sequence: Sequence, nowMs: number, total: number, chunk: number, hits: number[]): void {
    const hitTokens = hits.length * this.blockTokens;
    if (sequence.scheduledMs < 0) {
      sequence.scheduledMs = nowMs;
      sequence.cachedTokens = hitTokens;
      this.prefixQueriesTokens += total;
      this.prefixHitsTokens += hitTokens;
    }
    sequence.state = 'prefill';
    sequence.targetTokens = total;
    sequence.computed = hitTokens;
    sequence.chunkTokens = chunk;
    sequence.named = hits;
    sequence.keysSeen = hits.length;
    this.running.append(sequence);
    this.prefilling.push(sequence);
  }

  /** Starts the run that the plan amounts to. */
  private start(nowMs: number, admitting: boolean): boolean {
    const { decode, run } = this;
    this.inFlight = this.running.size > 0;
    if (!this.inFlight) return false;
    if (this.prefilling.length === 0) {
      // Somebody could be admitted in the next step already, unless the head of the queue waits for blocks.
      const mayAdmit = admitting && this.waiting.size > 0 && this.running.size < this.maxNumSeqs && !this.headBlocked;
      const limit = mayAdmit ? 1 : decode.stepsToNextEnd();
      const steps = limit === 1 ? 1 : 1 + decode.stepsWithin(Math.max(0, this.pool.free), limit - 1);
      run.leap(nowMs, decode.size, decode.contextTokens, steps);
      return true;
    }
    let prefillTokens = 0;
    let prefillPairs = 0;
    let prefillSeqs = 0;
    for (const { chunkTokens, computed, targetTokens } of this.prefilling) {
      prefillTokens += chunkTokens;
      prefillPairs += chunkTokens * (chunkTokens + 2 * computed);
      if (computed + chunkTokens === targetTokens) prefillSeqs += 1;
    }
    const { size: decodeSeqs, contextTokens } = decode;
    const stepMs = this.cost.mixedMs(decodeSeqs, contextTokens, prefillTokens, prefillPairs, prefillSeqs);
    run.single(nowMs, nowMs + stepMs);
    return true;
  }

  private completePrefills(atMs: number, events: EngineEvent[]): void {
    const { prefilling } = this;
    let kept = 0;
    for (const sequence of prefilling) {
      sequence.computed += sequence.chunkTokens;
      sequence.chunkTokens = 0;
      if (sequence.computed < sequence.targetTokens) {
        prefilling[kept++] = sequence;
        continue;
      }
      sequence.generated += 1;
      this.generatedTokens += 1;
      if (sequence.generated === 1) {
        this.promptTokens += sequence.promptTokens;
        this.cachedPromptTokens += sequence.cachedTokens;
        const queueMs = sequence.scheduledMs - sequence.addedMs;
        events.push({ kind: 'first-token', id: sequence.id, atMs, cachedTokens: sequence.cachedTokens, queueMs });
      }
      if (sequence.generated >= sequence.outputTokens) this.finish(sequence, atMs, events);
      else this.decode.join(sequence);
    }
    while (prefilling.length > kept) prefilling.pop();
  }

  private finish(sequence: Sequence, atMs: number, events: EngineEvent[]): void {
    if (sequence.state === 'decode') sequence.blocks = Math.ceil(sequence.computed / this.blockTokens);
    this.nameBlocks(sequence, sequence.computed);
    this.running.remove(sequence);
    this.releaseBlocks(sequence);
    sequence.state = 'gone';
    this.finished += 1;
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
      this.prefilling.splice(this.prefilling.indexOf(sequence), 1);
    }
    sequence.chunkTokens = 0;
    this.releaseBlocks(sequence);
  }

  private releaseBlocks(sequence: Sequence): void {
    this.pool.give(sequence.blocks - sequence.named.length);
    if (sequence.named.length > 0) this.pool.release(sequence.named);
    sequence.named = NO_BLOCKS;
    sequence.keysSeen = 0;
    sequence.blocks = 0;
  }
}
