import { isObject } from '../../model/json.js';
import { mix } from './tokens.js';
import { word } from './words.js';

/** A JSON object with room for words: `head`, words if it is `open`, `tail`. */
export interface JsonFrame {
  readonly head: string;
  readonly tail: string;
  readonly open: boolean;
}

/** What an answer is where any JSON object will do. */
export const ANY_OBJECT: unknown = { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] };

/** Schemas may name themselves. */
const DEEPEST = 6;

type Schema = Readonly<Record<string, unknown>>;

/** An object that fits its JSON schema: every required property, the first text one left open to be filled with words. Patterns, formats and lengths of text are not followed. */
export function jsonFrame(schema: unknown, seed: number): JsonFrame {
  const root = isObject(schema) ? schema : {};
  const top = resolved(root, root);
  const properties = objectOf(top['properties']);
  const required = requiredOf(top);
  const open = required.find((name) => isFreeText(resolved(properties[name], root)));
  const rest = required
    .filter((name) => name !== open)
    .map((name) => `${JSON.stringify(name)}:${JSON.stringify(sample(properties[name], root, seed, 1))}`)
    .join(',');
  if (open === undefined) return { head: `{${rest}`, tail: '}', open: false };
  return { head: `{${JSON.stringify(open)}:"`, tail: `"${rest ? `,${rest}` : ''}}`, open: true };
}

function isFreeText(schema: Schema): boolean {
  return (typeOf(schema) ?? 'string') === 'string' && !Array.isArray(schema['enum']) && !('const' in schema);
}

function sample(given: unknown, root: Schema, seed: number, depth: number): unknown {
  const schema = resolved(given, root);
  if ('const' in schema) return schema['const'];
  const values = schema['enum'];
  if (Array.isArray(values) && values.length > 0) return values[mix(seed) % values.length];
  switch (typeOf(schema) ?? (schema['properties'] ? 'object' : 'string')) {
    case 'integer':
    case 'number':
      return Math.min(
        Math.max(mix(seed) % 10, bound(schema['minimum'], -Infinity)),
        bound(schema['maximum'], Infinity),
      );
    case 'boolean':
      return true;
    case 'array':
      return depth > DEEPEST
        ? []
        : Array.from({ length: bound(schema['minItems'], 0) }, () => sample(schema['items'], root, seed, depth + 1));
    case 'object': {
      const properties = objectOf(schema['properties']);
      const names = depth > DEEPEST ? [] : requiredOf(schema);
      return Object.fromEntries(names.map((name) => [name, sample(properties[name], root, seed, depth + 1)]));
    }
    case 'null':
      return null;
    default:
      return word(seed, 1);
  }
}

/** Follows references into the root, and takes the first of alternatives. */
function resolved(schema: unknown, root: Schema): Schema {
  let at = objectOf(schema);
  for (let step = 0; step < DEEPEST; step++) {
    const reference = at['$ref'];
    const alternatives = at['anyOf'] ?? at['oneOf'] ?? at['allOf'];
    if (typeof reference === 'string') {
      const path = reference.replace(/^#\/?/, '').split('/').filter(Boolean);
      at = objectOf(path.reduce<unknown>((inside, name) => objectOf(inside)[name], root));
    } else if (Array.isArray(alternatives)) at = objectOf(alternatives[0]);
    else break;
  }
  return at;
}

function typeOf(schema: Schema): unknown {
  const type = schema['type'];
  return Array.isArray(type) ? type[0] : type;
}

function requiredOf(schema: Schema): string[] {
  const required = schema['required'];
  return Array.isArray(required)
    ? required.filter((name) => typeof name === 'string')
    : Object.keys(objectOf(schema['properties']));
}

function bound(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}

function objectOf(value: unknown): Schema {
  return isObject(value) ? value : {};
}
