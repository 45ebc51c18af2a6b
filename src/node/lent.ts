import { slackBytes } from './elastic.js';
import type { EngineRecord } from './engine-record.js';
import type { GpuNeed, MemoryLedger } from './ledger.js';

/** KV memory per GPU that engines have been lent and that is promised to nobody; those that have none are left out. */
export type LentBytes = ReadonlyMap<EngineRecord, number>;

export const NOTHING_LENT: LentBytes = new Map();

/** An engine that gives back so much KV memory on each of its GPUs. */
export interface GivenBack {
  readonly record: EngineRecord;
  readonly bytes: number;
}

export function lentBytes(ledger: MemoryLedger, lenders: readonly EngineRecord[]): LentBytes {
  const lent = new Map<EngineRecord, number>();
  for (const record of lenders) {
    const bytes = slackBytes(record, ledger);
    if (bytes > 0) lent.set(record, bytes);
  }
  return lent;
}

/** What of the need is left when all that is lent has been given back: somebody has to sleep for it. */
export function beyondLent(need: readonly GpuNeed[], lent: LentBytes): GpuNeed[] {
  return without(need, lent);
}

/** Who gives back how much, so that together with the sleep of the victims it covers the need; the largest first. */
export function givenBack(
  ledger: MemoryLedger,
  need: readonly GpuNeed[],
  lent: LentBytes,
  victims: readonly EngineRecord[],
): GivenBack[] {
  const slept = victims.map((record): [EngineRecord, number] => [record, ledger.sleepFreesBytes(record.spec.engineId)]);
  let open = without(need, slept);
  const shrinks: GivenBack[] = [];
  for (const [record, most] of [...lent].sort(([, a], [, b]) => b - a)) {
    if (victims.includes(record)) continue;
    const { gpuIndices } = record.spec;
    const missing = Math.max(0, ...open.map(({ gpu, bytes }) => (gpuIndices.includes(gpu) ? bytes : 0)));
    if (missing === 0) continue;
    const bytes = Math.min(most, missing);
    shrinks.push({ record, bytes });
    open = without(open, [[record, bytes]]);
  }
  return shrinks;
}

function without(need: readonly GpuNeed[], given: Iterable<readonly [EngineRecord, number]>): GpuNeed[] {
  const rest: GpuNeed[] = [];
  for (const { gpu, bytes } of need) {
    let left = bytes;
    for (const [{ spec }, back] of given) if (spec.gpuIndices.includes(gpu)) left -= back;
    if (left > 0) rest.push({ gpu, bytes: left });
  }
  return rest;
}
