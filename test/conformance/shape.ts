import type { RawAnswer } from './wire.js';

/** What of an answer must agree with the capture: everything but values that differ from run to run. */
export interface AnswerShape {
  readonly status: number;
  readonly headers: readonly string[];
  readonly 'content-type': string;
  /** JSON: keys and types, with the values of words that programs read. */
  readonly json?: unknown;
  /** Event stream: the distinct frames in the order in which each first comes. */
  readonly frames?: readonly unknown[];
  /** Names of the `vllm:` families. */
  readonly metrics?: readonly string[];
  readonly text?: string;
}

/** Families that a server may or may not show yet: 0.32 has those of sleep from the first sleep on. */
const LATE_FAMILIES = /_created$|^vllm:sleep_mode_/;

/** Fields whose values are compared. */
const WORDS = new Set(['finish_reason', 'object', 'type', 'code', 'param', 'detail', 'role']);

function shapeOf(value: unknown, key = ''): unknown {
  // A random model ends when and how it likes.
  if (key === 'incomplete_details' || key === 'stop_reason') return '*';
  if (Array.isArray(value)) return value.length > 0 ? [shapeOf(value[0])] : [];
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, entry]) => [name, shapeOf(entry, name)]),
    );
  }
  if (key === 'finish_reason' && (value === 'stop' || value === 'length')) return 'stop|length';
  if (WORDS.has(key)) return value;
  if (key === 'message' && typeof value === 'string') return value.replace(/\d+/g, '#');
  if (value === null) return 'null';
  if (typeof value === 'boolean') return 'bool';
  return typeof value === 'number' ? 'number' : 'string';
}

export function answerShape({ status, headers, body }: RawAnswer): AnswerShape {
  const type = headers['content-type'] ?? '';
  const names = Object.keys(headers)
    .filter((name) => name !== 'connection')
    .sort();
  const shape = { status, headers: names, 'content-type': type };
  if (type.includes('event-stream')) return { ...shape, frames: framesOf(body) };
  if (type.includes('json') && body !== '') return { ...shape, json: shapeOf(JSON.parse(body)) };
  if (body.startsWith('# HELP')) {
    const families = [...body.matchAll(/^# TYPE (vllm:\S+)/gm)].map(([, name]) => name!);
    return { ...shape, metrics: families.filter((name) => !LATE_FAMILIES.test(name)).sort() };
  }
  return { ...shape, text: body.slice(0, 200) };
}

function framesOf(body: string): unknown[] {
  const distinct = new Map<string, unknown>();
  for (const frame of body.split('\n\n')) {
    const lines = frame.split('\n').filter((line) => line !== '');
    if (lines.length === 0) continue;
    const shape = lines.map((line) => (line.startsWith('data: {') ? shapeOf(JSON.parse(line.slice(6))) : line));
    distinct.set(JSON.stringify(shape), shape);
  }
  return [...distinct.values()];
}
