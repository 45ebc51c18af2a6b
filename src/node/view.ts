import type { EngineView } from '../model/fleet.js';
import type { EngineRecord } from './engine-record.js';
import { estimateReadiness } from './estimate.js';
import type { ReclaimContext } from './reclaim.js';

/** What a router may know of an engine, as of `nowMs`. */
export function buildView(context: ReclaimContext, record: EngineRecord, nowMs: number): EngineView {
  const { reservations, residency, spec } = record;
  const { readyInMs, disturbanceMs } = estimateReadiness(context, record, nowMs);
  return {
    spec,
    state: residency.state,
    version: record.version,
    observedAtMs: record.observedAtMs,
    seats: record.seatLimit.seats,
    leases: reservations.leases + record.holds.size,
    reservedKvTokens: reservations.reservedTokens,
    kvPoolTokens: spec.kvPoolTokens,
    readyInMs,
    disturbanceMs,
    pendingPrefillTokens: reservations.pendingPrefillTokens,
    engineWaiting: record.engineWaiting ?? 0,
    enginePreemptions: record.preemptionsPerMinute(nowMs),
  };
}
