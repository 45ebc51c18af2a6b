import { z } from 'zod';
import { type TraceRow, tokens } from '../schema.js';
import { parseRecord, readRecords, type TraceImporter } from './importer.js';
import { fromZero } from './rows.js';

const mooncakeRow = z.object({
  // Milliseconds, also since 1970.
  timestamp: z.number().min(0).max(1e13),
  input_length: tokens,
  output_length: tokens,
  hash_ids: z.array(z.int().min(0).max(1e12)).nullish(),
});

/** Mooncake's FAST'25 traces (JSONL: timestamp, input_length, output_length, hash_ids). Every request is a workflow of one stage. */
export const mooncakeFast25: TraceImporter = {
  format: 'mooncake-fast25',
  summary: "Mooncake FAST'25 traces: JSONL of arrivals, token counts and 512-token prefix blocks",
  async read(files, { limitWorkflows }) {
    const rows: TraceRow[] = [];
    // Block ids are local to a file, so each file gets a range of its own.
    let offset = 0;
    for (const [fileIndex, file] of files.entries()) {
      let next = offset;
      let number = 0;
      for await (const { record, line } of readRecords(file)) {
        const parsed = parseRecord(mooncakeRow, record, file, line);
        if (!parsed) continue;
        number += 1;
        const { timestamp, input_length, output_length } = parsed;
        const hash_ids = parsed.hash_ids ?? [];
        for (const id of hash_ids) next = Math.max(next, offset + id + 1);
        rows.push({
          request_id: `mooncake-${files.length > 1 ? `${fileIndex + 1}-` : ''}${number}`,
          timestamp,
          input_length,
          output_length,
          hash_ids: hash_ids.map((id) => offset + id),
          block_tokens: 512,
          template: 'mooncake',
        });
      }
      offset = next;
    }
    rows.sort((a, b) => a.timestamp! - b.timestamp!);
    return {
      header: {
        maestro_trace: 1,
        source: 'kvcache-ai/Mooncake, FAST25-release/traces',
        licence: 'Apache-2.0',
        notes: [
          'Recorded: arrival times, prompt and output tokens, prefix blocks of 512 tokens.',
          'Derived: one workflow of one stage for each request.',
        ],
      },
      rows: fromZero(rows.slice(0, limitWorkflows)),
    };
  },
};
