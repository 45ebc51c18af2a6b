import type { ReclaimContext, ReclaimStep } from './reclaim-step.js';

/**
 * A call that is still open on an engine that has been down for so long hangs with it: the connection to a process that has ended breaks at once, and takes its calls along. Long enough for
 * a process that was only stopped for a while (a debugger, a snapshot of the machine) to go on where it was.
 */
export const STUCK_MS = 120_000;

/** The calls that hang go to another engine, those of which the client has heard nothing yet; asked again after as long for what could not. */
export function planStuck(
  { engines, leasesOn }: ReclaimContext,
  nowMs: number,
): { steps: ReclaimStep[]; nextMs: number } {
  const steps: ReclaimStep[] = [];
  let nextMs = Number.POSITIVE_INFINITY;
  for (const record of engines) {
    const { state, sinceMs } = record.residency;
    if (state !== 'down' || record.idle) continue;
    if (Math.max(sinceMs, record.gaveUpAtMs) + STUCK_MS <= nowMs) {
      record.gaveUpAtMs = nowMs;
      const stageIds = leasesOn(record).map(({ lease }) => lease.stageId);
      steps.push({ kind: 'requeue', record, stageIds, reason: 'hung' });
    }
    nextMs = Math.min(nextMs, Math.max(sinceMs, record.gaveUpAtMs) + STUCK_MS);
  }
  return { steps, nextMs };
}
