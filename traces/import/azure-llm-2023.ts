import type { TraceRow } from '../schema.js';
import { badSource, type SourceFile, type TraceImporter } from './importer.js';
import { UniqueNames } from './names.js';

/**
 * The Azure LLM inference trace of November 2023 (CSV: TIMESTAMP, ContextTokens, GeneratedTokens). One request a row, no identity:
 * every request becomes a workflow of one stage. The two files have the same columns; the coding service is known by its short
 * answers (median about 13 tokens against about 130 of the conversation service).
 */
export const azureLlm2023: TraceImporter = {
  format: 'azure-llm-2023',
  summary: 'Azure LLM inference trace 2023: CSV of arrivals and token counts (code and conversation)',
  async read(files, { limitWorkflows }) {
    const services = await Promise.all(files.map(readService));
    const startMs = Math.min(...services.flatMap(({ requests }) => requests.slice(0, 1).map(({ atMs }) => atMs)));
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
        source: 'Azure/AzurePublicDataset, AzureLLMInferenceTrace_{code,conv}.csv (2023-11-16)',
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

async function readService(
  file: SourceFile,
): Promise<{ readonly name: string; readonly requests: readonly Request[] }> {
  const requests: Request[] = [];
  let number = 0;
  for await (const line of file.lines()) {
    number += 1;
    if (number === 1) {
      if (!/^\uFEFF?TIMESTAMP,ContextTokens,GeneratedTokens$/.test(line.trim())) {
        throw badSource(file, 1, 'the header must be TIMESTAMP,ContextTokens,GeneratedTokens');
      }
    } else if (line.trim() !== '') requests.push(parseRequest(file, number, line));
  }
  const outputs = requests.map(({ outputTokens }) => outputTokens).sort((a, b) => a - b);
  const median = outputs[outputs.length >> 1] ?? 0;
  return { name: median <= LONGEST_CODE_MEDIAN_TOKENS ? 'code' : 'conversation', requests };
}

/** Times since 1970 would leave a double too few digits for 100 ns. */
const NEAR_ORIGIN_MS = Date.UTC(2023, 0, 1);

const LINE = /^(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d{1,9})?(?:\+00:00)?,(\d+),(\d+)\s*$/;

function parseRequest(file: SourceFile, number: number, line: string): Request {
  const match = LINE.exec(line);
  if (!match) throw badSource(file, number, `not a row of time, context and generated tokens: ${line.slice(0, 80)}`);
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number);
  return {
    atMs: Date.UTC(year!, month! - 1, day, hour, minute, second) - NEAR_ORIGIN_MS + Number(match[7] ?? 0) * 1000,
    inputTokens: Number(match[8]),
    outputTokens: Number(match[9]),
  };
}
