import type { JsonSchemaNode } from './issues.js';
import { configJsonSchema } from './schema.js';

/** The table of every field of the config, in Markdown, section by section: name, type, default, meaning. */
export function configReference(): string {
  const root = configJsonSchema() as JsonSchemaNode;
  const sections: string[] = [];
  const plain: string[] = [];
  for (const [name, schema] of Object.entries(root.properties ?? {})) {
    const rows = rowsOf(name, schema, root.required?.includes(name) ?? false);
    if (rows.length === 1) plain.push(...rows);
    else sections.push(`## \`${name}\`\n\n${schema.description ?? ''}\n\n${table(rows.slice(1))}`);
  }
  if (plain.length > 0) sections.push(`## Other fields\n\n${table(plain)}`);
  return `${sections.join('\n\n')}\n`;
}

function table(rows: readonly string[]): string {
  return ['| field | type | default | meaning |', '|---|---|---|---|', ...rows].join('\n');
}

/** The row of a field, then the rows of everything inside it. */
function rowsOf(path: string, schema: JsonSchemaNode, required: boolean): string[] {
  const cells = [`\`${path}\``, typeOf(schema), defaultOf(schema, required), escapeCell(schema.description ?? '')];
  return [`| ${cells.join(' | ')} |`, ...childrenOf(path, schema)];
}

function childrenOf(path: string, schema: JsonSchemaNode): string[] {
  const { properties, required, items, additionalProperties } = schema;
  const rows = Object.entries(properties ?? {}).flatMap(([name, property]) =>
    rowsOf(`${path}.${name}`, property, required?.includes(name) ?? false),
  );
  if (items) rows.push(...childrenOf(`${path}[]`, items));
  if (typeof additionalProperties === 'object') rows.push(...childrenOf(`${path}.<name>`, additionalProperties));
  return rows;
}

function typeOf(schema: JsonSchemaNode): string {
  const units: Readonly<Record<string, string>> = {
    bytes: 'size',
    duration: 'duration',
    rate: 'rate',
    flops: 'FLOP rate',
    secret: 'secret',
  };
  if (schema.unit) return units[schema.unit] ?? schema.unit;
  if (schema.enum) return schema.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (schema.anyOf) return [...new Set(schema.anyOf.map(typeOf))].join(' or ');
  if (schema.type === 'array') return schema.items ? `list of ${plural(typeOf(schema.items))}` : 'list';
  if (typeof schema.additionalProperties === 'object')
    return `mapping of names to ${plural(typeOf(schema.additionalProperties))}`;
  const words: Readonly<Record<string, string>> = {
    object: 'mapping',
    string: 'text',
    integer: 'integer',
    boolean: 'boolean',
  };
  return words[String(schema.type)] ?? String(schema.type);
}

function plural(type: string): string {
  return type === 'text' || type.startsWith('`') ? type : `${type}s`;
}

function defaultOf(schema: JsonSchemaNode, required: boolean): string {
  if (required) return '**required**';
  const value = schema.default;
  if (value === undefined) return '–';
  if (typeof value !== 'object' || value === null) return `\`${String(value)}\``;
  if (Object.keys(value).length === 0) return schema.type === 'object' && schema.properties ? 'see below' : 'empty';
  return 'see above';
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
