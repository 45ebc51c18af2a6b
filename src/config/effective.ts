import type { JsonSchemaNode } from './issues.js';
import { configJsonSchema } from './schema.js';

/** The config as written with every default filled in and secrets masked: what is in force, in the notation of the file. */
export function effectiveConfig(written: unknown): unknown {
  return fill(configJsonSchema() as JsonSchemaNode, written ?? {});
}

function fill(schema: JsonSchemaNode, written: unknown): unknown {
  const value = written === undefined ? schema.default : written;
  if (schema.unit === 'secret' && value !== undefined) return '********';
  if (schema.unit !== undefined) return value;
  if (Array.isArray(value)) {
    const list = schema.anyOf?.find(({ items }) => items) ?? schema;
    return value.map((item: unknown) => (list.items ? fill(list.items, item) : item));
  }
  if (typeof value !== 'object' || value === null) return value;
  const fields = value as Readonly<Record<string, unknown>>;
  const shape = schema.anyOf?.find(({ properties }) => properties) ?? schema;
  const filled: Record<string, unknown> = {};
  for (const [name, property] of Object.entries(shape.properties ?? {})) {
    const item = fill(property, fields[name]);
    if (item !== undefined) filled[name] = item;
  }
  if (typeof shape.additionalProperties === 'object') {
    for (const [name, item] of Object.entries(fields)) filled[name] = fill(shape.additionalProperties, item);
  }
  return filled;
}
