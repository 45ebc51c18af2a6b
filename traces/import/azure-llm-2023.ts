import type { TraceRow } from '../schema.js';
import { refuse, type SourceFile, type TraceImporter } from './importer.js';
import { UniqueNames } from './names.js';

/**
 * The Azure LLM inference trace of November 2023, and others with its columns (CSV: TIMESTAMP, ContextTokens, GeneratedTokens). One request a row, no identity:
 * every request becomes a workflow of one stage. The two files have the same columns; the coding service is known by its short
 * answers (median about 13 tokens against about 130 of the conversation service).
 */
export const azureLlm2023: TraceImporter = {
  format: 'azure-llm-2023',
  summary: 'Azure LLM inference trace 2023: CSV of arrivals and token counts (code and conversation)',
  async read(files, { limitWorkflows }) {
    const services = await Promise.all(files.map(readService));
    let startMs = Number.POSITIVE_INFINITY;
    for (const { requests } of services) for (const { atMs } of requests) startMs = Math.min(startMs, atMs);
    const names = new UniqueNames();
    const rows = services.flatMap(({ name, requests }) => {
      const prefix = `azure-${names.take(name)}`;
      return requests.map(
        ({ atMs, inputTokens, outputTokens }, index): TraceRow => ({
          request_id: `${prefix}-${index + 1}`,
          // The source counts in units of 100 ns; four decimals of a millisecond keep them exactly.
          timestamp: Math.round((atMs - startMs) * 1e4) / 1e4,
          input_length: inputTokens,
          output_length: outputTokens,
          template: `azure-${name}`,
        }),
      );
    });
    rows.sort((a, b) => a.timestamp! - b.timestamp!);
    return {
      header: {
        maestro_trace: 1,
        source: `Azure/AzurePublicDataset, AzureLLMInferenceTrace_{code,conv}.csv${dayOf(startMs)}`,
        licence: 'CC-BY-4.0',
        notes: [
          'Recorded: arrival times, prompt and output tokens. Token counts are those of the recorded models.',
          'Derived: one workflow of one stage for each request; the service (template) from the lengths of its answers.',
        ],
      },
      rows: rows.slice(0, limitWorkflows),
    };
  },
};

interface Request {
  readonly atMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** Between the medians of the two services. */
const LONGEST_CODE_MEDIAN_TOKENS = 50;

/** " (2023-11-16)": the traces of other years have the same columns, and a header must not say that they are of this one. */
function dayOf(startMs: number): string {
  return Number.isFinite(startMs) ? ` (${new Date(NEAR_ORIGIN_MS + startMs).toISOString().slice(0, 10)})` : '';
}

async function readService(
  file: SourceFile,
): Promise<{ readonly name: string; readonly requests: readonly Request[] }> {
  const requests: Request[] = [];
  let columns: readonly number[] | undefined;
  let number = 0;
  for await (const line of file.lines()) {
    number += 1;
    if (line.trim() === '') continue;
    const cells = line.split(',').map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'));
    if (columns) {
      const request = parseRequest(columns.map((column) => cells[column] ?? ''));
      if (typeof request === 'object') requests.push(request);
      else refuse(file, number, request);
      continue;
    }
    columns = COLUMNS.map((name) => cells.indexOf(name));
    if (columns.includes(-1)) {
      refuse(file, number, `the header must name the columns ${COLUMNS.join(', ')}; it is ${line.slice(0, 80)}`);
      break;
    }
  }
  const outputs = requests.map(({ outputTokens }) => outputTokens).sort((a, b) => a - b);
  const median = outputs[outputs.length >> 1] ?? 0;
  return { name: median <= LONGEST_CODE_MEDIAN_TOKENS ? 'code' : 'conversation', requests };
}

const COLUMNS = ['TIMESTAMP', 'ContextTokens', 'GeneratedTokens'];

/** Times since 1970 would leave a double too few digits for 100 ns. */
const NEAR_ORIGIN_MS = Date.UTC(2023, 0, 1);

/** UTC where no zone is given. */
const TIME = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(\.\d{1,9})?(?:Z|([+-])(\d\d):(\d\d))?$/;

/** A request from the cells of {@link COLUMNS}, or what is wrong with them. */
function parseRequest([time = '', ...counts]: readonly string[]): Request | string {
  const match = TIME.exec(time);
  if (!match) return `TIMESTAMP: ${time.slice(0, 40)} is not a time like 2023-11-16 18:15:46.6805900`;
  const wrong = counts.findIndex((count) => !/^\d{1,8}$/.test(count));
  if (wrong >= 0) return `${COLUMNS[wrong + 1]}: “${counts[wrong]!.slice(0, 40)}” is not a number of tokens`;
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number);
  const zoneMinutes = Number(`${match[8] ?? '+'}1`) * (Number(match[9] ?? 0) * 60 + Number(match[10] ?? 0));
  return {
    atMs:
      Date.UTC(year!, month! - 1, day, hour, minute! - zoneMinutes, second) -
      NEAR_ORIGIN_MS +
      Number(match[7] ?? 0) * 1000,
    inputTokens: Number(counts[0]),
    outputTokens: Number(counts[1]),
  };
}
