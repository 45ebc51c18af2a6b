import { isObject, parseJson } from '../../src/model/json.js';
import type { TraceRow } from '../schema.js';
import { refuse, type SourceFile, type TraceImporter } from './importer.js';
import { leftOutField } from './left-out.js';
import { slug, stem } from './names.js';
import { roundMs } from './rows.js';
import { drawArrivals, Histogram, parseWindows, type RateWindow, windowLengthS } from './servegen-fits.js';

/** Histograms of a client for some hours, from `startS`. */
interface Lengths {
  readonly startS: number;
  readonly input: Histogram;
  readonly output: Histogram;
}

interface Client {
  readonly name: string;
  windows: readonly RateWindow[];
  lengths: readonly Lengths[];
}

/** Length of a window where no other tells. */
const WINDOW_S = 600;

/**
 * ServeGen's statistics of a production service: per client and window of ten minutes a rate and the fitted gaps, per six hours histograms
 * of lengths. Requests are drawn from them: counts per window are recorded, everything else is sampled. A client is a tenant.
 */
export const servegenDeepseekR1: TraceImporter = {
  format: 'servegen-deepseek-r1',
  summary: 'ServeGen client statistics (deepseek-r1): requests sampled from rates and histograms',
  async read(files, { limitWorkflows, rng }) {
    const clients = await readClients(files);
    const active = clients.filter(({ windows, lengths }) => windows.length > 0 && lengths.length > 0);
    const lengthS = new Map(active.map(({ name, windows }) => [name, windowLengthS(windows, WINDOW_S)]));
    const counts = new Map<string, number>();
    const rows: TraceRow[] = [];
    const starts = startsOf(active);
    for (const startS of starts) {
      if (rows.length >= limitWorkflows) break;
      const drawn: TraceRow[] = [];
      for (const client of active) {
        const window = client.windows.find((candidate) => candidate.startS === startS);
        if (!window) continue;
        const lengths = nearest(client.lengths, startS);
        for (const atS of drawArrivals(window, lengthS.get(client.name)!, rng)) {
          const number = (counts.get(client.name) ?? 0) + 1;
          counts.set(client.name, number);
          drawn.push({
            request_id: `servegen/${client.name}/${number}`,
            timestamp: roundMs((startS - starts[0]! + atS) * 1000),
            input_length: lengths.input.draw(rng),
            output_length: lengths.output.draw(rng),
            tenant: client.name,
            template: 'servegen',
            model: 'deepseek-r1',
            derived: DERIVED,
          });
        }
      }
      drawn.sort((a, b) => a.timestamp! - b.timestamp!);
      for (const row of drawn) rows.push(row);
    }
    return {
      header: {
        maestro_trace: 1,
        source: 'alibaba/ServeGen, data/reason/deepseek-r1',
        licence: 'Apache-2.0',
        notes: [
          'Recorded: clients (tenants), and how many requests each sent in each window of ten minutes.',
          'Sampled: times in a window (from the fitted gaps), prompt and output tokens (from histograms, each on its own: how they go together is lost).',
          'Not in the source: single requests, sessions, text. Output tokens hold the reasoning.',
        ],
        ...leftOutField([clients.length - active.length, clients.length, 'clients, which lack rates or lengths']),
      },
      rows: rows.slice(0, limitWorkflows),
    };
  },
};

const DERIVED = ['timestamp:sample:window-fit', 'input_length:sample:histogram', 'output_length:sample:histogram'];

/** Clients in the order of their names, so that the order of the files decides nothing. */
async function readClients(files: readonly SourceFile[]): Promise<Client[]> {
  const clients = new Map<string, Client>();
  const clientOf = (origin: string): Client => {
    const name = slug(stem(origin).replace(/-(trace|dataset)$/, ''));
    const known = clients.get(name) ?? { name, windows: [], lengths: [] };
    clients.set(name, known);
    return known;
  };
  for (const file of files) {
    for await (const { origin, line, content } of readDocuments(file)) {
      if (typeof content === 'string') {
        const windows = parseWindows(content);
        if (windows) clientOf(origin).windows = windows;
        else if (/^\s*[{[]/.test(content)) refuse(file, line, 'not JSON');
        else refuse(file, line, 'not rows of start, rate, variation, family and its parameters');
      } else clientOf(origin).lengths = parseLengths(content);
    }
  }
  return [...clients.values()].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
}

/** Wrapped documents line by line (`{_file, csv}` or `{_file, record}`), or the file itself: CSV, or one JSON object. */
async function* readDocuments(file: SourceFile): AsyncGenerator<{
  readonly origin: string;
  readonly line: number;
  readonly content: string | Record<string, unknown>;
}> {
  const whole: string[] = [];
  let number = 0;
  for await (const line of file.lines()) {
    number += 1;
    const value = whole.length === 0 && line.startsWith('{') ? parseJson(line) : undefined;
    if (!isObject(value) && line.startsWith('{"_file"')) refuse(file, number, 'not JSON');
    else if (!isObject(value)) whole.push(...(whole.length > 0 || line.trim() !== '' ? [line] : []));
    else {
      const origin = typeof value._file === 'string' ? value._file : file.name;
      if (typeof value.csv === 'string') yield { origin, line: number, content: value.csv };
      else yield { origin, line: number, content: isObject(value.record) ? value.record : value };
    }
  }
  const text = whole.join('\n').trim();
  if (text === '') return;
  const value = parseJson(text);
  yield { origin: file.name, line: 1, content: isObject(value) ? value : text };
}

/** Windows with traffic only: the others state empty histograms. */
function parseLengths(record: Record<string, unknown>): Lengths[] {
  return Object.entries(record).flatMap(([start, histograms]) => {
    if (!isObject(histograms)) return [];
    const input = Histogram.parse(String(histograms.input_tokens ?? ''));
    const output = Histogram.parse(String(histograms.output_tokens ?? ''));
    return input && output ? [{ startS: Number(start), input, output }] : [];
  });
}

/** The histograms that hold at a time: the last ones begun, else the first. */
function nearest(lengths: readonly Lengths[], atS: number): Lengths {
  return lengths.findLast(({ startS }) => startS <= atS) ?? lengths[0]!;
}

function startsOf(clients: readonly Client[]): number[] {
  return [...new Set(clients.flatMap(({ windows }) => windows.map(({ startS }) => startS)))].sort((a, b) => a - b);
}
