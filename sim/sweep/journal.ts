import { appendFileSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MaestroError } from '../../src/model/error.js';
import type { SweepPlan } from './plan.js';
import type { RunRow } from './types.js';

/** The file of a sweep's folder that holds its plan and every run that has ended: a line each. */
export const JOURNAL_FILE = 'runs.jsonl';

/** Changes whenever runs are written in another form or mean something else. */
const JOURNAL_FORMAT = 3;

/** What a folder holds of a sweep. */
export interface Journal {
  readonly plan: SweepPlan;
  readonly rows: Map<number, RunRow>;
}

/** The journal of a folder; undefined where there is none. A last line that was cut off by a crash does not count. */
export function readJournal(directory: string): Journal | undefined {
  const path = join(directory, JOURNAL_FILE);
  if (!existsSync(path)) return undefined;
  const text = readFileSync(path, 'utf8');
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  const lines = whole.split('\n').filter((line) => line !== '');
  const rows = new Map<number, RunRow>();
  let head: { readonly format?: number; readonly plan: SweepPlan };
  try {
    const [first, ...rest] = lines.map((line) => JSON.parse(line) as unknown);
    if (first === undefined) return undefined;
    for (const { index, row } of rest as { index: number; row: RunRow }[]) rows.set(index, row);
    head = first as typeof head;
  } catch (cause) {
    throw new MaestroError(
      'invalid_request',
      `${path} is not the journal of a sweep; name another folder, or replace it with --force.`,
      {
        cause,
      },
    );
  }
  if (head.format !== JOURNAL_FORMAT) {
    throw new MaestroError(
      'invalid_request',
      `${path} was written by another version of maestro, whose runs lack what reports now show; run the sweep again, in another folder or with --force.`,
    );
  }
  return { plan: head.plan, rows };
}

/** Goes on with the journal of a folder if it is of the same plan, else begins a new one; what is there of another is lost only with `replace`. Returns what it holds and how to add to it. */
export function openJournal(
  directory: string,
  plan: SweepPlan,
  replace = false,
): { readonly rows: Map<number, RunRow>; add(index: number, row: RunRow): void } {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, JOURNAL_FILE);
  const found = replace ? soundJournal(directory) : readJournal(directory);
  if (found && found.plan.key !== plan.key && !replace) {
    const what =
      found.plan.command === plan.command
        ? 'runs of the same sweep on other traces or fleets, or by other code'
        : `the runs of another sweep (${found.plan.command})`;
    throw new MaestroError(
      'invalid_request',
      `${directory} holds ${what}; name another folder with --out, or replace them with --force.`,
    );
  }
  const rows = found?.plan.key === plan.key ? found.rows : new Map<number, RunRow>();
  if (found?.plan.key === plan.key) dropCutLine(path);
  else writeFileSync(path, `${JSON.stringify({ format: JOURNAL_FORMAT, plan })}\n`);
  return { rows, add: (index, row) => append(path, `${JSON.stringify({ index, row })}\n`) };
}

function append(path: string, line: string): void {
  try {
    appendFileSync(path, line);
  } catch (error) {
    // A write that fails for lack of room does not say where.
    throw Object.assign(error as Error, { path });
  }
}

/** Whatever else stands there is to be replaced. */
function soundJournal(directory: string): Journal | undefined {
  try {
    return readJournal(directory);
  } catch (error) {
    if (error instanceof MaestroError) return undefined;
    throw error;
  }
}

function dropCutLine(path: string): void {
  const bytes = readFileSync(path);
  truncateSync(path, bytes.lastIndexOf(0x0a) + 1);
}
