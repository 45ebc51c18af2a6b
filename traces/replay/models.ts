import { request } from 'undici';
import { MaestroError } from '../../src/model/error.js';
import type { TraceRow } from '../schema.js';

/** Names of the models that an OpenAI-compatible endpoint serves. */
export async function fetchServedModels(target: string, headers: Readonly<Record<string, string>>): Promise<string[]> {
  const base = target.replace(/\/+$/, '').replace(/\/v1$/, '');
  try {
    const answer = await request(`${base}/v1/models`, { headers, headersTimeout: 10_000, bodyTimeout: 10_000 });
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`${answer.statusCode}: ${text.slice(0, 200)}`);
    return (JSON.parse(text) as { data: { id: string }[] }).data.map(({ id }) => id);
  } catch (error) {
    throw new MaestroError('no_engine', `${base}/v1/models cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Parses `recorded=served,…`; `*` stands for every model that is not named, and for rows without one. */
export function parseModelMap(text: string): Map<string, string> {
  const map = new Map<string, string>();
  for (const pair of text.split(',')) {
    const [from = '', to = '', ...rest] = pair.split('=').map((part) => part.trim());
    if (from === '' || to === '' || rest.length > 0) {
      throw new MaestroError('invalid_request', `model map: "${pair}" is not RECORDED=SERVED`);
    }
    map.set(from, to);
  }
  return map;
}

/**
 * Which served model each row asks for: by the map, else the recorded name. Refuses a trace with models that nobody serves, before
 * anything is sent. Rows without a model ask for the only served one.
 */
export function chooseModels(
  rows: readonly TraceRow[],
  map: ReadonlyMap<string, string>,
  served: readonly string[],
): (row: TraceRow) => string {
  const choose = ({ model }: TraceRow) =>
    (model === undefined ? undefined : map.get(model)) ??
    map.get('*') ??
    model ??
    (served.length === 1 ? served[0] : undefined);
  const missing = new Set<string>();
  for (const row of rows) {
    const model = choose(row);
    if (model === undefined || !served.includes(model)) missing.add(model ?? '(none named)');
  }
  if (missing.size > 0) {
    throw new MaestroError(
      'model_not_found',
      `The trace asks for ${[...missing].sort().join(', ')}; the target serves ${served.join(', ') || 'nothing'}. ` +
        `Map them, for example --model-map "*=${served[0] ?? 'MODEL'}".`,
    );
  }
  return (row) => choose(row)!;
}
