import { styleText } from 'node:util';
import { CommanderError } from 'commander';
import { MaestroError, messageOf } from '../model/error.js';

/** What this module needs of `process.stdout` and `process.stderr`. */
export interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

type Style = Parameters<typeof styleText>[0];

/** Whether to colour: on a terminal, unless NO_COLOR is set; anywhere when FORCE_COLOR is. */
export function usesColour(terminal: Terminal, environment: NodeJS.ProcessEnv = process.env): boolean {
  if (environment['FORCE_COLOR'] && environment['FORCE_COLOR'] !== '0') return true;
  return terminal.isTTY === true && !environment['NO_COLOR'];
}

/** The text in a style where the terminal shows styles, else as it is. */
export function paint(style: Style, text: string, terminal: Terminal = process.stdout): string {
  return usesColour(terminal) ? styleText(style, text) : text;
}

/** One JSON document on stdout; the only thing that a command with `--json` may print there. */
export function printJson(value: unknown, terminal: Terminal = process.stdout): void {
  terminal.write(`${JSON.stringify(value, null, 2)}\n`);
}

export interface Column {
  readonly title: string;
  /** Numbers read best to the right. Default: left. */
  readonly align?: 'left' | 'right';
}

/** Rows under titles, columns as wide as they need, two spaces between them, no trailing spaces. */
export function renderTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map(({ title }) => title), ...rows];
  const widths = columns.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      columns
        .map(({ align }, column) => {
          const cell = line[column] ?? '';
          const width = widths[column]!;
          return align === 'right' ? cell.padStart(width) : cell.padEnd(width);
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** A line that tells how far something is. */
export interface Progress {
  /** Shows `text` as the state of things. */
  update(text: string): void;
  /** Leaves `text` (default: the last state) as the final line. */
  done(text?: string): void;
}

/** Wall milliseconds between two lines where the line cannot be redrawn. */
const SPARSE_INTERVAL_MS = 10_000;

/**
 * A progress line: redrawn in place on a terminal; in a log, a line of its own, at most one every ten seconds.
 *
 * @param nowMs Wall clock, for the tests.
 */
export function progressLine(terminal: Terminal = process.stderr, nowMs = () => performance.now()): Progress {
  let state = '';
  let printed = '';
  let printedMs = Number.NEGATIVE_INFINITY;
  const clip = (text: string) => text.slice(0, Math.max(20, (terminal.columns ?? 80) - 1));
  return {
    update(text) {
      state = text;
      if (terminal.isTTY) {
        terminal.write(`\r\u001b[2K${clip(text)}`);
      } else if (nowMs() - printedMs >= SPARSE_INTERVAL_MS) {
        printedMs = nowMs();
        printed = text;
        terminal.write(`${text}\n`);
      }
    },
    done(text = state) {
      if (terminal.isTTY && state !== '') terminal.write('\r\u001b[2K');
      if (text !== '' && (terminal.isTTY || text !== printed)) terminal.write(`${text}\n`);
    },
  };
}

/** Exit codes: 0 done, 1 failed, 2 asked for in the wrong way. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  return 1;
}

/** A failure as one block of text for stderr; undefined where commander has already printed it. */
export function renderFailure(error: unknown, environment: NodeJS.ProcessEnv = process.env): string | undefined {
  if (error instanceof CommanderError) return undefined;
  const debug = environment['MAESTRO_DEBUG'] === '1';
  const fileProblem = describeFileProblem(error);
  const message = fileProblem ?? messageOf(error);
  const lines = [`error: ${message}`];
  if (debug && error instanceof Error) {
    lines.push(error.stack ?? '');
    if (error.cause instanceof Error) lines.push(`caused by: ${error.cause.stack ?? error.cause.message}`);
  } else if (!(error instanceof MaestroError) && fileProblem === undefined) {
    lines.push('This is a bug or a condition nobody foresaw; MAESTRO_DEBUG=1 shows where it came from.');
  }
  return lines.join('\n');
}

const FILE_PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EACCES: 'not permitted',
  EEXIST: 'is a file, and a folder is needed',
  EPERM: 'not permitted',
  EISDIR: 'is a folder',
  ENOTDIR: 'part of the path is no folder',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota of the disk is used up',
  EROFS: 'the disk is read-only',
};

const NAMELESS: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** What is wrong with a file that a command was given to read or write; undefined for every other failure. */
function describeFileProblem(error: unknown): string | undefined {
  if (!(error instanceof Error) || error instanceof MaestroError) return undefined;
  const { code, path } = error as NodeJS.ErrnoException;
  const problem = FILE_PROBLEMS[code ?? ''];
  if (problem === undefined) return undefined;
  if (path !== undefined) return `${path}: ${problem}`;
  // A write to a file that is open already names none.
  return NAMELESS.has(code!) ? `A file could not be written: ${problem}.` : undefined;
}
