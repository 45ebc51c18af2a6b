import type { StageStart } from '../bus/contract.js';
import { isObject } from '../model/json.js';
import type { Intake } from './intake.js';
import type { BodyScan, JsonRange } from './json-scan.js';
import { decodeField } from './request-fields.js';
import type { InferenceRoute } from './routes.js';
import { type Edit, splice } from './splice.js';
import type { WantedField } from './wanted-fields.js';

/** Where an engine fetches memory of other engines from: never a client's to say. */
const STEERING_FIELDS = ['kv_transfer_params', 'ec_transfer_params'] as const;

/**
 * The body that the engine gets, which may take the place of the client's in memory: the client's own bytes with a few values changed. The
 * model's name there replaces an alias, our order replaces any `priority`, what steers the engine's insides is emptied, the cache is told whose the
 * prompt is, and the usage frame of a stream is asked for.
 */
export function upstreamBody(
  { body, room, scan, fields, cacheSalt }: Intake,
  start: StageStart,
  route: InferenceRoute,
): Buffer {
  const edits: Edit[] = [];
  let added = '';
  const set = (field: WantedField, text: string) => {
    const range = scan.fields[field];
    if (range) edits.push(replace(range, text));
    else added += `,"${field}":${text}`;
  };
  if (fields.model !== start.upstreamModel) set('model', JSON.stringify(start.upstreamModel));
  if (!route.priorityHeader || scan.fields.priority) set('priority', priorityText(start.priority));
  if (cacheSalt !== undefined) set('cache_salt', `"${cacheSalt}"`);
  for (const field of STEERING_FIELDS) if (scan.fields[field]) set(field, 'null');
  if (fields.stream && !fields.wantsUsage) {
    const options = streamOptionsWithUsage(body, scan);
    if (options !== undefined) set('stream_options', options);
  }
  edits.sort((a, b) => a.start - b.start);
  if (added) edits.push({ start: scan.closeOffset, end: scan.closeOffset, text: added });
  return splice(body, room, edits);
}

/** vLLM takes 64-bit integers; anything else would be refused. */
export function priorityText(priority: number): string {
  const bound = Number.MAX_SAFE_INTEGER;
  return String(Math.trunc(Math.max(-bound, Math.min(bound, priority))) || 0);
}

function replace(range: JsonRange, text: string): Edit {
  return { start: range.start, end: range.end, text };
}

/** The client's stream options with the usage frame asked for; undefined when they are malformed, which the engine will say. */
function streamOptionsWithUsage(body: Buffer, scan: BodyScan): string | undefined {
  if (!scan.fields.stream_options) return '{"include_usage":true}';
  const options = decodeField(body, scan, 'stream_options') ?? {};
  if (!isObject(options)) return undefined;
  // Running usage comes only to those who asked for usage; asking for the last frame must not switch it on.
  const { continuous_usage_stats: _unasked, ...rest } = options;
  return JSON.stringify({ ...rest, include_usage: true });
}
