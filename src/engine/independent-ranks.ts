import { clear } from '../model/clear.js';
import { BatchEngine } from './batch-engine.js';
import {
  type BatchEngineConfig,
  type Engine,
  type EngineEvent,
  type EngineRequest,
  type EngineStats,
  sumStats,
} from './batch-types.js';
import { RankBalancer } from './rank-balancer.js';

/** The data-parallel ranks of a dense model: replicas behind one address that know nothing of each other. */
export class IndependentRanks implements Engine {
  private readonly ranks: readonly BatchEngine[];
  private readonly balancer = new RankBalancer();
  /** The rank of every request that is here. */
  private readonly places = new Map<string, number>();
  private readonly pending: EngineEvent[] = [];

  constructor(config: BatchEngineConfig) {
    const { dataParallel = 1 } = config;
    this.ranks = Array.from({ length: dataParallel }, (_, rank) => new BatchEngine({ ...config, rank }));
  }

  get paused(): 'no' | 'new' | 'all' {
    return this.ranks[0]!.paused;
  }

  get maxModelLen(): number {
    return this.ranks[0]!.maxModelLen;
  }

  add(request: EngineRequest, nowMs: number): void {
    if (this.places.has(request.id)) throw new Error(`IndependentRanks: request ${request.id} is already here`);
    this.gather(nowMs);
    // Who is still on the way to a rank counts as waiting there.
    const place =
      request.rank ??
      this.balancer.choose(this.ranks, (rank) => {
        const { running, kvUsage } = rank.stats();
        return { running, waiting: rank.unstarted, kvUsage };
      });
    this.ranks[place]!.add(request, nowMs);
    this.places.set(request.id, place);
  }

  abort(id: string, nowMs: number): boolean {
    this.gather(nowMs);
    const place = this.places.get(id);
    this.places.delete(id);
    return place !== undefined && this.ranks[place]!.abort(id, nowMs);
  }

  advance(nowMs: number, events: EngineEvent[]): void {
    this.gather(nowMs);
    this.tell(events);
  }

  nextEventMs(): number {
    return this.pending[0]?.atMs ?? Math.min(...this.ranks.map((rank) => rank.nextEventMs()));
  }

  nextStepMs(): number {
    return this.pending[0]?.atMs ?? Math.min(...this.ranks.map((rank) => rank.nextStepMs()));
  }

  generatedTokens(id: string): number {
    const place = this.places.get(id);
    return place === undefined ? 0 : this.ranks[place]!.generatedTokens(id);
  }

  pause(mode: 'abort' | 'wait' | 'keep', clearCache: boolean, nowMs: number, events: EngineEvent[]): void {
    this.gather(nowMs);
    for (const rank of this.ranks) rank.pause(mode, clearCache, nowMs, this.pending);
    this.tell(events);
  }

  resume(nowMs: number): void {
    this.gather(nowMs);
    for (const rank of this.ranks) rank.resume(nowMs);
  }

  sleepKv(nowMs: number, events: EngineEvent[]): void {
    this.gather(nowMs);
    for (const rank of this.ranks) rank.sleepKv(nowMs, this.pending);
    this.tell(events);
  }

  setKvLimitBlocks(blocks: number): void {
    for (const rank of this.ranks) rank.setKvLimitBlocks(blocks);
  }

  resetPrefixCache(resetRunning: boolean): boolean {
    if (!resetRunning && this.ranks.some((rank) => rank.stats().running > 0)) return false;
    for (const rank of this.ranks) rank.resetPrefixCache(resetRunning);
    return true;
  }

  stats(): EngineStats {
    return sumStats(this.rankStats());
  }

  rankStats(): readonly EngineStats[] {
    return this.ranks.map((rank) => rank.stats());
  }

  /** Brings all ranks to `nowMs`; what happened waits in order of time. */
  private gather(nowMs: number): void {
    const { pending } = this;
    for (const rank of this.ranks) rank.advance(nowMs, pending);
    pending.sort((a, b) => a.atMs - b.atMs);
  }

  private tell(events: EngineEvent[]): void {
    for (const event of this.pending) {
      if (event.kind === 'finished' || event.kind === 'aborted') this.places.delete(event.id);
      events.push(event);
    }
    clear(this.pending);
  }
}
