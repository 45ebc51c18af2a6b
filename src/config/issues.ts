import type { z } from 'zod';
import { nearest } from './nearest.js';
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
const HIDDEN = Symbol('hidden');

/** Turns what zod found into findings that say what is wrong and what would be right. */
export function findingsOf(issues: readonly Issue[], written: unknown, schema: JsonSchemaNode): Finding[] {
  return issues.flatMap((issue) => findingOf(issue, [], written, schema));
}

function findingOf(issue: Issue, base: ConfigPath, written: unknown, schema: JsonSchemaNode): Finding[] {
  const path = [...base, ...issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))];
  const error = (message: string, fix?: string): Finding[] => [{ path, at: 'value', severity: 'error', message, fix }];
  const value = path.at(-1) === SECRET_FIELD ? HIDDEN : valueAt(written, path);
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = Object.keys(schemaAt(schema, path)?.properties ?? {});
      return issue.keys.map((key) => ({ ...unknownName('field', key, known), path: [...path, key], at: 'key' }));
    }
    case 'invalid_union': {
      const branch = closestBranch(issue.errors);
      return branch ? branch.flatMap((inner) => findingOf(inner, path, written, schema)) : error('is not valid');
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
      return error(
        `must be ${article(issue.expected)}, not ${show(value)}`,
        issue.expected === 'string' && isPlain(value) ? `Put it in quotes: "${String(value)}".` : undefined,
      );
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

/** What to say of a name that does not exist, with the nearest that does. */
export function unknownName(
  what: string,
  name: string,
  known: readonly string[],
): Pick<Finding, 'severity' | 'message' | 'fix'> {
  const suggestion = nearest(name, known);
  const list = known.length > 0 && known.length <= 12 ? `Known: ${known.join(', ')}.` : undefined;
  return {
    severity: 'error',
    message: `unknown ${what} "${name}"`,
    fix: suggestion ? `Did you mean "${suggestion}"?` : list,
  };
}

/** Where a value may have two shapes, the shape that the writer most likely meant: not the one whose outermost type is wrong. */
function closestBranch(branches: readonly (readonly Issue[])[]): readonly Issue[] | undefined {
  return (
    branches.find((issues) => !issues.some(({ code, path }) => code === 'invalid_type' && path.length === 0)) ??
    branches[0]
  );
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
  const text = typeof value === 'string' ? `"${value}"` : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function describeSize(origin: string, value: unknown): string {
  if (origin === 'array') return 'the number of entries';
  if (origin === 'string') return 'the number of characters';
  return show(value);
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
