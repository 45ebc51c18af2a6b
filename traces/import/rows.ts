import type { TraceRow } from '../schema.js';

/** As late as the format has a time. */
const LATEST_MS = 1e12;

/**
 * Recorded times count from the first of the trace; sources give them since 1970 or since a machine was started. Where clocks were wrong and they lie further apart than
 * the format has times, later ones are left out.
 */
export function rebaseRecordedTimes(rows: readonly TraceRow[]): TraceRow[] {
  const startMs = earliestMs(rows, 'recorded_at_ms');
  return rows.map((row) => {
    const { recorded_at_ms, ...rest } = row;
    if (recorded_at_ms === undefined) return row;
    const sinceStartMs = roundMs(recorded_at_ms - startMs);
    return sinceStartMs > LATEST_MS ? rest : { ...row, recorded_at_ms: sinceStartMs };
  });
}

/** Arrivals counted from the first of them: a part of a trace, or one with times since 1970, would begin with a long silence. */
export function fromZero(rows: readonly TraceRow[]): TraceRow[] {
  const startMs = earliestMs(rows, 'timestamp');
  if (startMs === 0) return [...rows];
  return rows.map((row) =>
    row.timestamp === undefined ? row : { ...row, timestamp: roundMs(row.timestamp - startMs) },
  );
}

function earliestMs(rows: readonly TraceRow[], field: 'recorded_at_ms' | 'timestamp'): number {
  let earliest = Number.POSITIVE_INFINITY;
  for (const row of rows) earliest = Math.min(earliest, row[field] ?? earliest);
  return earliest;
}

/** Microseconds are as fine as any source measures. */
export function roundMs(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** Block size of derived prefix blocks: that of vLLM's KV pages. */
export const BLOCK_TOKENS = 16;

/** Block ids of one leading text: room for a prompt of a million tokens. */
const BLOCKS_PER_TEXT = 65_536;

/** Prefix blocks of prompts that are known to begin with the same texts, or to grow. */
export class PrefixBlocks {
  private readonly texts = new Map<string, number>();

  /**
   * Blocks of a prompt made of these parts, in order. Parts of one name are the same text, the longer ones continue the shorter ones.
   * A block that lies across two parts belongs to the later one.
   */
  runs(parts: readonly (readonly [name: string, tokens: number])[]): [firstId: number, count: number][] {
    const runs: [number, number][] = [];
    let tokens = 0;
    let blocks = 0;
    for (const [name, partTokens] of parts) {
      tokens += partTokens;
      const count = Math.min(Math.floor(tokens / BLOCK_TOKENS) - blocks, BLOCKS_PER_TEXT);
      if (count > 0) runs.push([this.firstId(name), count]);
      blocks += count;
    }
    return runs;
  }

  private firstId(name: string): number {
    const known = this.texts.get(name);
    if (known !== undefined) return known;
    const id = this.texts.size * BLOCKS_PER_TEXT;
    this.texts.set(name, id);
    return id;
  }
}
