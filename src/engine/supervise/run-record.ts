import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { makeFolder } from '../../observe/make-folder.js';
import { processEntry } from './process-table.js';

const runRecordSchema = z.object({
  engineId: z.string(),
  pid: z.int().positive(),
  startTicks: z.number(),
  bootId: z.string(),
  /** What was run, to notice that the configuration has changed meanwhile. */
  command: z.array(z.string()),
});

/** What is remembered on disk of a process, so that it can be found again after this one has restarted. */
export type RunRecord = z.infer<typeof runRecordSchema>;

/** Replaces the record in one step: a crash leaves the old one or the new one, never half of one. */
export function writeRunRecord(path: string, record: RunRecord): void {
  makeFolder(dirname(path));
  writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o640 });
  renameSync(`${path}.new`, path);
}

/** The record, if it can be read and the very process that it names still runs. */
export function readLiveRunRecord(path: string): RunRecord | undefined {
  let record: RunRecord;
  try {
    record = runRecordSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined;
  }
  return isSameProcess(record) ? record : undefined;
}

/** Records in the folder whose processes still run. */
export function liveRunRecords(folder: string): RunRecord[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names.filter((name) => name.endsWith('.json')).flatMap((name) => readLiveRunRecord(join(folder, name)) ?? []);
}

/** Does the very process still run that had this pid then? */
export function isSameProcess(then: Pick<RunRecord, 'pid' | 'startTicks' | 'bootId'>): boolean {
  const entry = processEntry(then.pid);
  return entry?.startTicks === then.startTicks && entry.state !== 'Z' && then.bootId === bootId();
}

/** A record that cannot be removed (a file system that has become read-only) does no harm: the process that it names is gone. */
export function forgetRunRecord(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // As above; whoever keeps engines running must not end for it.
  }
}

/** Changes with every boot, so that a pid of an earlier one is never taken for ours. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
