import type { z } from 'zod';
import { withoutPassword } from '../model/engine-address.js';
import { nearest } from './nearest.js';
import { bareKeyAt } from './positions.js';
import type { ConfigPath, Finding } from './problem.js';

type Issue = z.core.$ZodIssue;

/** A JSON Schema, as far as this file looks into it. */
export interface JsonSchemaNode {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, JsonSchemaNode>>;
  readonly required?: readonly string[];
  readonly items?: JsonSchemaNode;
  readonly additionalProperties?: JsonSchemaNode | boolean;
  readonly anyOf?: readonly JsonSchemaNode[];
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly description?: string;
  readonly unit?: string;
}

/** Values of this field are never repeated in a message. */
const SECRET_FIELD = 'key';
/** So many names are listed where none is near: all orders, and all fields of an engine. */
const MOST_LISTED = 32;
const HIDDEN = Symbol('hidden');

/** Turns what zod found into findings that say what is wrong and what would be right. */
export function findingsOf(issues: readonly Issue[], written: unknown, schema: JsonSchemaNode): Finding[] {
  return issues.flatMap((issue) => findingOf(issue, [], written, schema));
}

function findingOf(issue: Issue, base: ConfigPath, written: unknown, schema: JsonSchemaNode): Finding[] {
  const path = [...base, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
  const error = (message: string, fix?: string): Finding[] => [{ path, at: 'value', severity: 'error', message, fix }];
  const found = valueAt(written, path);
  const isSecret = path.at(-1) === SECRET_FIELD || (bareKeyAt(path) && isText(found));
  const value = isSecret && found !== undefined && found !== null ? HIDDEN : found;
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = Object.keys(schemaAt(schema, path)?.properties ?? {});
      return issue.keys.map((key) => ({ ...unknownName('field', key, known), path: [...path, key], at: 'key' }));
    }
    case 'invalid_union': {
      const branch = closestBranch(issue.errors);
      if (branch) return branch.flatMap((inner) => findingOf(inner, path, written, schema));
      const kinds = issue.errors.flatMap(([first]) => (first?.code === 'invalid_type' ? article(first.expected) : []));
      return error(`must be ${kinds.join(' or ')}, not ${show(value)}`, descriptionAt(schema, path));
    }
    case 'invalid_key':
      return [
        { path, at: 'key', severity: 'error', message: `the name ${issue.issues[0]?.message ?? 'is not valid'}` },
      ];
    case 'custom':
      return error(`${show(value)} ${issue.message}`, issue.params?.['fix'] as string | undefined);
    case 'invalid_value':
      if (value === undefined) return error('is missing', `One of: ${issue.values.join(', ')}.`);
      return [{ ...unknownName('value', String(value), issue.values.map(String)), path, at: 'value' }];
    case 'invalid_type': {
      if (value === undefined) return error('is missing', `It must be ${article(issue.expected)}.`);
      if (value === null)
        return error('is empty', `Give it a value (${article(issue.expected)}) or leave the line out.`);
      return error(`must be ${article(issue.expected)}, not ${show(value)}`, otherShape(issue.expected, value));
    }
    case 'too_small':
      return error(
        `${describeSize(issue.origin, value)} must be ${issue.inclusive ? 'at least' : 'above'} ${issue.minimum}`,
      );
    case 'too_big':
      return error(
        `${describeSize(issue.origin, value)} must be ${issue.inclusive ? 'at most' : 'below'} ${issue.maximum}`,
      );
    default:
      return error(`${show(value)} ${issue.message}`);
  }
}

/** How to write a value of the wrong type as one of the right type, where the writer has most likely meant the same. */
function otherShape(expected: string, value: unknown): string | undefined {
  if (expected === 'string' && isPlain(value)) return `Put it in quotes: "${String(value)}".`;
  if (expected === 'number' || expected === 'int') {
    if (typeof value === 'object') return 'Write the number alone.';
    const isNumber = typeof value === 'string' && /^\d+(\.\d+)?$/.test(value);
    return isNumber ? `Write it without quotes: ${value}.` : undefined;
  }
  if (expected === 'object' || expected === 'record') {
    return typeof value === 'string' && /^[\w-]+:\S/.test(value) ? 'Put a space behind the colon.' : undefined;
  }
  if (expected !== 'array') return undefined;
  if (typeof value === 'object') return 'Begin each entry with "- ".';
  return value === HIDDEN ? undefined : `Write it as a list: [${String(value)}].`;
}

/** What to say of a name that does not exist, with the nearest that does. */
export function unknownName(
  what: string,
  name: string,
  known: readonly string[],
): Pick<Finding, 'severity' | 'message' | 'fix'> {
  const suggestion = nearest(name, known);
  const list = known.length > 0 && known.length <= MOST_LISTED ? `Known: ${known.join(', ')}.` : undefined;
  return {
    severity: 'error',
    message: `unknown ${what} "${name}"`,
    fix: suggestion ? `Did you mean "${suggestion}"?` : list,
  };
}

/** Where a value may have two shapes, the shape that the writer most likely meant: not one whose outermost type is wrong. */
function closestBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  return branches.find((issues) => !issues.some(({ code, path }) => code === 'invalid_type' && path.length === 0));
}

function descriptionAt(schema: JsonSchemaNode, path: ConfigPath): string | undefined {
  const [parent, name] = [schemaAt(schema, path.slice(0, -1)), path.at(-1)];
  return typeof name === 'string' ? parent?.properties?.[name]?.description : undefined;
}

function schemaAt(schema: JsonSchemaNode, path: ConfigPath): JsonSchemaNode | undefined {
  let node: JsonSchemaNode | undefined = schema;
  for (const step of path) {
    const wrapped: readonly JsonSchemaNode[] = node?.anyOf ?? (node ? [node] : []);
    node = undefined;
    for (const option of wrapped) {
      if (typeof step === 'number') node ??= option.items;
      else node ??= option.properties?.[step] ?? asSchema(option.additionalProperties);
    }
  }
  return node?.anyOf?.find((option) => option.properties) ?? node;
}

function asSchema(schema: JsonSchemaNode | boolean | undefined): JsonSchemaNode | undefined {
  return typeof schema === 'object' ? schema : undefined;
}

function valueAt(root: unknown, path: ConfigPath): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}

function show(value: unknown): string {
  if (value === HIDDEN) return 'what is written';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a mapping';
  const text = typeof value === 'string' ? `"${withoutPassword(value)}"` : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function describeSize(origin: string, value: unknown): string {
  if (origin === 'array') return 'the number of entries';
  if (origin === 'string') return 'the number of characters';
  return show(value);
}

function isText(value: unknown): boolean {
  return typeof value === 'string' || isPlain(value);
}

function isPlain(value: unknown): boolean {
  return typeof value === 'number' || typeof value === 'boolean';
}

function article(type: string): string {
  const words: Readonly<Record<string, string>> = {
    object: 'a mapping',
    record: 'a mapping',
    array: 'a list',
    string: 'text',
    number: 'a number',
    int: 'a whole number',
    boolean: 'true or false',
  };
  return words[type] ?? type;
}
