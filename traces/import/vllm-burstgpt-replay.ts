import { z } from 'zod';
import { isObject, parseJson } from '../../src/model/json.js';
import { type TraceRow, tokens } from '../schema.js';
import { parseRecord, readTexts, refuse, type TraceImporter } from './importer.js';
import { stem, UniqueNames } from './names.js';
import { roundMs } from './rows.js';

/** On the clock of a machine or since 1970. */
const seconds = z.number().min(0).max(1e10);

const request = z.object({
  event_id: z.int().min(0),
  in_len: tokens,
  out_len: tokens,
  out_len_expected: tokens.min(1),
  first_chunk_time: seconds,
  total_chunk_time: seconds,
  record_time: seconds,
});

/**
 * Output lengths of the logs are characters. At this many a token, and cut at the requested length, their sums are within 4 % of the
 * tokens that the server's own log counts, at all twelve loads.
 */
const CHARACTERS_PER_TOKEN = 5.4;

/**
 * A load sweep against one vLLM server: the same 500 requests at twelve time compressions. `detail_log` files hold the requests; logs of
 * the GPU and the server beside them hold none. Every request is a workflow of one stage; a load is a template.
 */
export const vllmBurstgptReplay: TraceImporter = {
  format: 'vllm-burstgpt-replay',
  summary: 'vLLM logs of a BurstGPT-driven load sweep: JSON of requests with measured TTFT and latency',
  async read(files, { limitWorkflows }) {
    const rows: TraceRow[] = [];
    const names = new UniqueNames();
    for (const file of files) {
      let number = 0;
      for await (const { text, line, origin } of readTexts(file)) {
        number += 1;
        const entries = parseJson(text);
        if (entries === undefined && /^\s*\{/.test(text)) refuse(file, line, `${origin}: not JSON; is it cut off?`);
        const records = isObject(entries) ? Object.values(entries) : [];
        // Samples of GPU and server are objects of other fields, or CSV.
        if (!records.some((record) => isObject(record) && 'first_chunk_time' in record)) continue;
        const load = /scale(\d+)/.exec(stem(origin))?.[1] ?? String(number);
        for (const [index, record] of records.entries()) {
          const parsed = parseRecord(request, record, file, line, `request ${index + 1} of ${origin}: `);
          if (parsed) rows.push(requestRow(parsed, load, names));
        }
      }
    }
    // The logs say when an answer was complete; sent is that minus the time it took, and then the order is that of the events.
    rows.sort((a, b) => a.timestamp! - b.timestamp!);
    const startMs = rows[0]?.timestamp ?? 0;
    return {
      header: {
        maestro_trace: 1,
        source: 'liao4s/BurstGPT_test, example/logs',
        licence: 'MIT',
        notes: [
          'Recorded: prompt tokens, limit, time to the first token, latency, time of completion. One vLLM server, Llama-3.2-1B, an unnamed GPU of 24 GiB.',
          'Derived: arrival (completion minus latency), model (from the scripts), output tokens (characters of the answer; no count is stored).',
          'Loads ran one after the other; take one by its template. For shapes of queueing, not for speed.',
        ],
      },
      rows: rows.slice(0, limitWorkflows).map((row) => ({ ...row, timestamp: roundMs(row.timestamp! - startMs) })),
    };
  },
};

function requestRow(source: z.infer<typeof request>, load: string, names: UniqueNames): TraceRow {
  const tokens = Math.ceil(source.out_len / CHARACTERS_PER_TOKEN);
  const outputTokens = Math.min(tokens, source.out_len_expected);
  const cut = tokens >= source.out_len_expected;
  return {
    request_id: names.take(`burstgpt/${load}/${source.event_id}`),
    timestamp: (source.record_time - source.total_chunk_time) * 1000,
    input_length: source.in_len,
    output_length: outputTokens,
    template: `burstgpt-scale-${load}`,
    model: 'llama-3.2-1b',
    task: `burstgpt-${source.event_id}`,
    ...(cut && { finish_reason: 'length' }),
    max_tokens: source.out_len_expected,
    recorded_ttft_ms: roundMs(source.first_chunk_time * 1000),
    recorded_latency_ms: roundMs(source.total_chunk_time * 1000),
    derived: cut ? [...DERIVED, 'finish_reason:rule'] : DERIVED,
  };
}

const DERIVED = ['timestamp:rule', 'output_length:rule', 'model:rule'];
