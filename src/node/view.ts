import { clear } from '../model/clear.js';
import type { EngineState, EngineView, RankView } from '../model/fleet.js';
import { isElastic, slackBytes, tokensOf } from './elastic.js';
import type { EngineRecord } from './engine-record.js';
import { estimateReadiness } from './estimate.js';
import type { ReclaimContext } from './reclaim-step.js';
import { Room } from './room.js';

/** The pool; or what the limit of an elastic one allows and could allow into HBM that is free or that its neighbours would give back. */
function promisableTokens(context: ReclaimContext, record: EngineRecord): number {
  const { engines, ledger } = context;
  const { spec } = record;
  if (!isElastic(record)) return spec.kvPoolTokens;
  if (record.residency.state !== 'running') return spec.kvPoolTokens;
  const { free } = new Room(context);
  const roomOn = (gpu: number): number => {
    let bytes = free[gpu]!;
    for (const other of engines) {
      if (other !== record && other.spec.gpuIndices.includes(gpu)) bytes += slackBytes(other, ledger);
    }
    return bytes;
  };
  const moreBytes = Math.max(0, Math.min(...spec.gpuIndices.map(roomOn)));
  return Math.max(record.kvLimitTokens, tokensOf(record, ledger.kvBytes(spec.engineId) + moreBytes));
}

/** What routers may know of the engines: each view is made when it is asked for, and kept until the engine changes. */
export class EngineViews {
  /** Engines whose view has changed since they were told last; each stands here once. */
  private readonly untold: EngineRecord[] = [];

  constructor(private readonly context: ReclaimContext) {}

  /** Something that its view tells has changed. */
  changed(record: EngineRecord): void {
    record.version += 1;
    record.cachedView = undefined;
    if (record.changeNoted) return;
    record.changeNoted = true;
    this.untold.push(record);
  }

  get hasChanged(): boolean {
    return this.untold.length > 0;
  }

  /** Ids of the engines whose view has changed since the last call. */
  takeChanged(): string[] {
    const engineIds: string[] = [];
    for (const record of this.untold) {
      record.changeNoted = false;
      engineIds.push(record.spec.engineId);
    }
    clear(this.untold);
    return engineIds;
  }

  /** The engine is gone: nothing is told of it any more. */
  forget(record: EngineRecord): void {
    if (record.changeNoted) this.untold.splice(this.untold.indexOf(record), 1);
  }

  of(record: EngineRecord, nowMs: number): EngineView {
    record.cachedView ??= buildView(this.context, record, nowMs);
    return record.cachedView;
  }
}

/** What a router may know of an engine, as of `nowMs`. */
function buildView(context: ReclaimContext, record: EngineRecord, nowMs: number): EngineView {
  const { reservations, residency, spec } = record;
  const { readyInMs, disturbanceMs, victims } = estimateReadiness(context, record, nowMs);
  const down = residency.state === 'down';
  return {
    spec,
    state: shownState(record),
    weightFiles: record.weightFiles,
    version: record.version,
    observedAtMs: record.observedAtMs,
    seats: record.seatLimit.seats,
    leases: reservations.seats + record.holds.seats,
    // The margin may grow under leases that are out; what the pool has not cannot be held.
    reservedKvTokens: shownTokens(record),
    keptKvTokens: record.kept.tokens,
    kvPoolTokens: promisableTokens(context, record),
    readyInMs: record.takesNothing && !down ? Number.POSITIVE_INFINITY : readyInMs,
    disturbanceMs,
    victims,
    pendingPrefillTokens: reservations.pendingPrefillTokens,
    engineWaiting: record.engineWaiting ?? 0,
    enginePreemptions: record.preemptionsPerMinute(nowMs),
    pace: record.pace.shortest,
    ...(reservations.ranks.length > 1 ? { ranks: rankViews(record) } : {}),
  };
}

function rankViews(record: EngineRecord): RankView[] {
  const { ranks } = record.reservations;
  return ranks.map((reservations, rank) => ({
    leases: reservations.seats + record.holds.seatsOn(rank),
    reservedKvTokens: Math.min(reservations.shownTokens, record.spec.kvPoolTokens / ranks.length),
    keptKvTokens: record.kept.tokensOn(rank),
    pendingPrefillTokens: reservations.pendingPrefillTokens,
  }));
}

/** Of each rank at most its part of the pool. */
function shownTokens({ reservations: { ranks }, spec }: EngineRecord): number {
  let tokens = 0;
  for (const rank of ranks) tokens += Math.min(rank.shownTokens, spec.kvPoolTokens / ranks.length);
  return tokens;
}

function shownState({ residency: { state }, leaving, cordoned }: EngineRecord): EngineState {
  if (leaving && leaving !== 'to-return') return 'leaving';
  if (state === 'down') return state;
  return leaving ? 'draining' : cordoned ? 'failed' : state;
}
