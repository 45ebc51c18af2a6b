import type { TraceRow } from '../schema.js';

/** Recorded times count from the first of the trace; sources give them since 1970 or since a machine was started. */
export function rebaseRecordedTimes(rows: readonly TraceRow[]): TraceRow[] {
  let startMs = Number.POSITIVE_INFINITY;
  for (const { recorded_at_ms } of rows) startMs = Math.min(startMs, recorded_at_ms ?? startMs);
  return rows.map((row) =>
    row.recorded_at_ms === undefined ? row : { ...row, recorded_at_ms: roundMs(row.recorded_at_ms - startMs) },
  );
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
