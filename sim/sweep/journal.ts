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
      `${path} is not the journal of a sweep; name another folder, or remove it.`,
      {
        cause,
      },
    );
  }
  if (head.format !== JOURNAL_FORMAT) {
    throw new MaestroError(
      'invalid_request',
      `${path} was written by another version of maestro, whose runs lack what reports now show; remove it, or name another folder, and run the sweep again.`,
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
  const found = readJournal(directory);
  if (found && found.plan.key !== plan.key && !replace) {
    throw new MaestroError(
      'invalid_request',
      `${directory} holds the runs of another sweep (${found.plan.command}); name another folder with --out, or replace them with --force.`,
    );
  }
  const rows = found?.plan.key === plan.key ? found.rows : new Map<number, RunRow>();
  if (found?.plan.key === plan.key) dropCutLine(path);
  else writeFileSync(path, `${JSON.stringify({ format: JOURNAL_FORMAT, plan })}\n`);
  return { rows, add: (index, row) => appendFileSync(path, `${JSON.stringify({ index, row })}\n`) };
}

function dropCutLine(path: string): void {
  const bytes = readFileSync(path);
  truncateSync(path, bytes.lastIndexOf(0x0a) + 1);
}
