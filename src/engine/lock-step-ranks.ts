import { BatchCore } from './batch-core.js';
import { type BatchEngineConfig, type EngineEvent, type EngineStats, sumStats } from './batch-types.js';
import type { EngineScheduler } from './engine-scheduler.js';
import { LockStepRun } from './lock-step-run.js';
import { RankBalancer } from './rank-balancer.js';
import type { Sequence } from './sequence.js';
import { GRAPH_TOKENS, stepCostOf } from './step-time.js';

/**
 * The data-parallel ranks of a mixture of experts: each has seats, a queue and KV memory of its own, and all make their steps together, because the experts
 * of every layer work for all. A step is as long as that of the slowest rank; one that has nothing to do makes dummy passes.
 */
export class LockStepRanks implements EngineScheduler {
  readonly run: LockStepRun;
  private readonly ranks: readonly BatchCore[];
  private readonly balancer = new RankBalancer();
  /** Tokens of each rank in the step that is planned. */
  private readonly tokens: number[];

  constructor(config: BatchEngineConfig, onGone: (sequence: Sequence) => void) {
    const run = new LockStepRun(stepCostOf(config));
    this.run = run;
    this.ranks = Array.from(
      { length: config.dataParallel ?? 1 },
      (_, rank) => new BatchCore({ ...config, rank }, onGone, run),
    );
    this.tokens = this.ranks.map(() => 0);
  }

  get maxModelLen(): number {
    return this.ranks[0]!.maxModelLen;
  }

  get inFlight(): boolean {
    return this.ranks.some(({ inFlight }) => inFlight);
  }

  get runningSize(): number {
    return this.ranks.reduce((sum, { runningSize }) => sum + runningSize, 0);
  }

  get waitingSize(): number {
    return this.ranks.reduce((sum, { waitingSize }) => sum + waitingSize, 0);
  }

  enqueue(sequence: Sequence): void {
    sequence.rank =
      sequence.wantedRank ??
      this.balancer.choose(this.ranks, ({ runningSize: running, waitingSize: waiting, kvUsage }) => ({
        running,
        waiting,
        kvUsage,
      }));
    this.rankOf(sequence).enqueue(sequence);
  }

  mayJoin(sequence: Sequence): boolean {
    return this.rankOf(sequence).mayJoin(sequence);
  }

  plan(nowMs: number, admitting: boolean, events: EngineEvent[]): boolean {
    for (const rank of this.ranks) rank.fill(nowMs, admitting, events);
    return this.start(nowMs, admitting);
  }

  extend(nowMs: number): void {
    for (const rank of this.ranks) rank.fillUp(nowMs);
    this.start(nowMs, true);
  }

  complete(events: EngineEvent[]): void {
    for (const rank of this.ranks) if (rank.inFlight) rank.complete(events);
  }

  settle(nowMs: number): void {
    const { run } = this;
    if (!this.inFlight || !run.leaping) return;
    const done = run.stepsDoneBy(nowMs);
    for (const rank of this.ranks) if (rank.inFlight) rank.account(done, true);
    run.single(run.endOf(done), run.endOf(done + 1));
  }

  drop(nowMs: number): void {
    this.settle(nowMs);
    for (const rank of this.ranks) rank.drop(nowMs);
  }

  remove(sequence: Sequence): void {
    this.rankOf(sequence).remove(sequence);
  }

  takeAll(): Sequence[] {
    return this.ranks.flatMap((rank) => rank.takeAll());
  }

  clear(nowMs: number, events: EngineEvent[]): void {
    for (const rank of this.ranks) rank.clear(nowMs, events);
  }

  limitBlocks(blocks: number): void {
    for (const rank of this.ranks) rank.limitBlocks(blocks);
  }

  generatedBy(sequence: Sequence, nowMs: number): number {
    return this.rankOf(sequence).generatedBy(sequence, nowMs);
  }

  stats(nowMs: number): EngineStats {
    return sumStats(this.rankStats(nowMs));
  }

  rankStats(nowMs: number): readonly EngineStats[] {
    return this.ranks.map((rank) => rank.stats(nowMs));
  }

  private rankOf({ rank }: Sequence): BatchCore {
    return this.ranks[rank]!;
  }

  /** Starts the run that the plans of the ranks amount to. */
  private start(nowMs: number, admitting: boolean): boolean {
    const busy = this.ranks.filter(({ inFlight }) => inFlight);
    if (busy.length === 0) return false;
    const routedTokens = this.routedTokens();
    if (busy.some(({ prefilling }) => prefilling.size > 0)) {
      this.run.single(nowMs, nowMs + Math.max(...busy.map((rank) => rank.stepMs(routedTokens))));
      return true;
    }
    const steps = Math.min(...this.ranks.map((rank) => rank.stepsAhead(admitting)));
    this.run.leapTogether(nowMs, busy, routedTokens, steps);
    return true;
  }

  /** Tokens that the experts get of all ranks together: padded in a graph, else as many as there are. */
  private routedTokens(): number {
    const { ranks, tokens } = this;
    for (const [index, { decode, prefilling }] of ranks.entries()) {
      tokens[index] = Math.max(1, decode.size + prefilling.tokens);
    }
    const most = Math.max(...tokens);
    return most <= GRAPH_TOKENS ? tokens.length * most : tokens.reduce((sum, count) => sum + count, 0);
  }
}
