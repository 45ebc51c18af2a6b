import type { EngineView } from '../model/fleet.js';
import { isElastic, slackBytes, tokensOf } from './elastic.js';
import type { EngineRecord } from './engine-record.js';
import { estimateReadiness } from './estimate.js';
import type { ReclaimContext } from './reclaim-step.js';

/** The pool; or what the limit of an elastic one allows and could allow into HBM that is free or that its neighbours would give back. */
function promisableTokens({ engines, ledger }: ReclaimContext, record: EngineRecord): number {
  const { spec } = record;
  if (!isElastic(record)) return spec.kvPoolTokens;
  if (record.residency.state !== 'running') return spec.kvPoolTokens;
  const roomOn = (gpu: number): number => {
    let bytes = ledger.gpuFreeBytes(gpu);
    for (const other of engines) {
      if (other !== record && other.spec.gpuIndices.includes(gpu)) bytes += slackBytes(other, ledger);
    }
    return bytes;
  };
  const moreBytes = Math.max(0, Math.min(...spec.gpuIndices.map(roomOn)));
  return Math.max(record.kvLimitTokens, tokensOf(record, ledger.kvBytes(spec.engineId) + moreBytes));
}

/** What a router may know of an engine, as of `nowMs`. */
export function buildView(context: ReclaimContext, record: EngineRecord, nowMs: number): EngineView {
  const { reservations, residency, spec } = record;
  const { readyInMs, disturbanceMs, victims } = estimateReadiness(context, record, nowMs);
  const cordoned = record.cordoned && residency.state !== 'down';
  return {
    spec,
    state: cordoned ? 'failed' : residency.state,
    weightFiles: record.weightFiles,
    version: record.version,
    observedAtMs: record.observedAtMs,
    seats: record.seatLimit.seats,
    leases: reservations.seats + record.holds.seats,
    // The margin may grow under leases that are out; what the pool has not cannot be held.
    reservedKvTokens: Math.min(reservations.shownTokens, spec.kvPoolTokens),
    keptKvTokens: record.kept.tokens,
    kvPoolTokens: promisableTokens(context, record),
    readyInMs: cordoned ? Number.POSITIVE_INFINITY : readyInMs,
    disturbanceMs,
    victims,
    pendingPrefillTokens: reservations.pendingPrefillTokens,
    engineWaiting: record.engineWaiting ?? 0,
    enginePreemptions: record.preemptionsPerMinute(nowMs),
    pace: record.pace.shortest,
  };
}
