import { MaestroError } from '../model/error.js';

/** A step into the config: a key of a mapping or an index of a list. */
export type ConfigPath = readonly (string | number)[];

/** What is wrong with one field, before its place in the file is known. */
export interface Finding {
  readonly path: ConfigPath;
  /** Whether the key itself is at fault, or its value. */
  readonly at: 'key' | 'value';
  /** Warnings do not stop a start. */
  readonly severity: 'error' | 'warning';
  /** What is wrong, as a sentence without a full stop. */
  readonly message: string;
  /** What would be right, as a sentence. */
  readonly fix?: string | undefined;
}

/** A {@link Finding} with its place in the file. Lines and columns count from 1. */
export interface ConfigProblem extends Omit<Finding, 'path' | 'at'> {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The field, for example `fleet.nodes[0].engines[1].model`; empty for the whole file. */
  readonly path: string;
  /** The line of the file at fault. */
  readonly source: string;
}

/** `fleet.nodes[0].id` */
export function formatPath(path: ConfigPath): string {
  return path.reduce<string>(
    (text, step) => (typeof step === 'number' ? `${text}[${step}]` : text === '' ? step : `${text}.${step}`),
    '',
  );
}

/** One problem as people read it: place, field, what is wrong, what would be right, and the line with a mark under it. */
export function formatProblem(problem: ConfigProblem): string {
  const { file, line, column, path, severity, message, fix, source } = problem;
  const label = severity === 'warning' ? 'warning: ' : '';
  const head = `${file}:${line}:${column}: ${label}${path === '' ? '' : `${path}: `}${message}.${fix ? ` ${fix}` : ''}`;
  if (source.trim() === '') return head;
  const gutter = String(line);
  return `${head}\n  ${gutter} | ${source}\n  ${' '.repeat(gutter.length)} | ${' '.repeat(column - 1)}^`;
}

/** A config that cannot be used; the message lists every problem. */
export class ConfigError extends MaestroError {
  constructor(
    readonly file: string,
    readonly problems: readonly ConfigProblem[],
  ) {
    super('invalid_request', ['the config cannot be used', ...problems.map(formatProblem)].join('\n'), {
      reason: 'invalid-config',
    });
  }
}
