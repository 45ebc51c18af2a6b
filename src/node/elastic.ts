import type { EngineRecord } from './engine-record.js';
import type { MemoryLedger } from './ledger.js';

/** What is inside an engine and cannot go on under its limit needs an unknown amount more: so much at a time, until it runs. */
const STARVED_GROWTH = 1.5;

/** KV memory that an engine should be given, per GPU: the least that lets its first held stage start, and what would do for all of them. */
export interface KvWish {
  readonly leastBytes: number;
  readonly wishedBytes: number;
}

/** Can its KV limit be moved while it runs? */
export function isElastic({ spec, kvMoves }: EngineRecord): boolean {
  return spec.kvLeastBytes !== undefined && kvMoves;
}

/** What an engine should get at its wake, or to grow to. A pool that cannot be moved is wanted as it is. */
export function kvWish(record: EngineRecord, ledger: MemoryLedger): KvWish {
  if (!isElastic(record)) {
    const bytes = ledger.kvBytes(record.spec.engineId);
    return { leastBytes: bytes, wishedBytes: bytes };
  }
  const { holds, reservations, kvFloorBytes, kvStarved } = record;
  const reserved = reservations.reservedTokens;
  const first = holds.first();
  // What is held for many together may rise by more than the bound of the one that joins them.
  const promisedBytes = kvBytesFor(record, first ? record.tokensWith(first.demand) : reserved);
  const heldBytes = ledger.kvBytes(record.spec.engineId);
  const leastBytes = Math.min(
    Math.ceil(record.spec.kvPoolBytes),
    Math.max(promisedBytes, kvStarved ? Math.ceil(STARVED_GROWTH * heldBytes) : kvFloorBytes),
  );
  return { leastBytes, wishedBytes: Math.max(leastBytes, kvBytesFor(record, reserved + holds.kvTokens)) };
}

/** Is its KV limit all that keeps its first held stage from starting, or those inside it from going on? One that has its whole pool waits for leases to end. */
export function wantsToGrow(record: EngineRecord): boolean {
  if (!isElastic(record) || record.kvShrinkingTo !== undefined) return false;
  if (record.kvStarved) return true;
  if (record.residency.state !== 'running' || record.kvLimitTokens >= record.spec.kvPoolTokens) return false;
  const first = record.holds.first();
  return first !== undefined && record.fits(first.demand) === 'kv-full';
}

/** KV memory per GPU that nobody has been promised: its prefix cache, and what was lent to it for good times. */
export function slackBytes(record: EngineRecord, ledger: MemoryLedger): number {
  if (!isElastic(record) || record.kvShrinkingTo !== undefined || record.kvStarved) return 0;
  if (record.residency.state !== 'running') return 0;
  const promisedBytes = Math.max(record.kvFloorBytes, kvBytesFor(record, record.reservations.reservedTokens));
  return Math.max(0, ledger.kvBytes(record.spec.engineId) - promisedBytes);
}

function kvBytesFor({ spec, kvMargin }: EngineRecord, tokens: number): number {
  const bytes = Math.max(spec.kvLeastBytes!, Math.ceil(tokens * spec.kvBytesPerToken * kvMargin));
  return Math.min(Math.ceil(spec.kvPoolBytes), bytes);
}

/** Tokens that a limit of so many bytes on each GPU holds. */
export function tokensOf({ spec }: EngineRecord, kvBytes: number): number {
  return kvBytes >= Math.ceil(spec.kvPoolBytes) ? spec.kvPoolTokens : Math.floor(kvBytes / spec.kvBytesPerToken);
}
