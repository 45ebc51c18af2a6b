import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
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
  mkdirSync(dirname(path), { recursive: true });
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
  const entry = processEntry(record.pid);
  const same = entry?.startTicks === record.startTicks && entry.state !== 'Z' && record.bootId === bootId();
  return same ? record : undefined;
}

export function forgetRunRecord(path: string): void {
  rmSync(path, { force: true });
}

/** Changes with every boot, so that a pid of an earlier one is never taken for ours. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return 'unknown';
  }
}
