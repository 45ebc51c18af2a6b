import { closeSync, existsSync, fstatSync, openSync, readSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeFolder } from '../../observe/make-folder.js';

/** Logs of earlier runs that are kept. */
const KEPT = 3;

/**
 * Opens the log of a new run for appending, and moves those of earlier runs one further (`NAME.1` is the last). Engines write into the file themselves: a
 * pipe would break when this process restarts, and the engine must go on.
 */
export function openLog(path: string): number {
  makeFolder(dirname(path));
  for (let index = KEPT - 1; index >= 1; index--) {
    if (existsSync(`${path}.${index}`)) renameSync(`${path}.${index}`, `${path}.${index + 1}`);
  }
  if (existsSync(path)) renameSync(path, `${path}.1`);
  return openSync(path, 'a', 0o640);
}

/** The end of a log, at most so many bytes; empty when there is none. */
export function logTail(path: string, bytes = 16 * 1024): string {
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return '';
  }
  try {
    const { size } = fstatSync(file);
    const buffer = Buffer.alloc(Math.min(size, bytes));
    readSync(file, buffer, 0, buffer.length, Math.max(0, size - bytes));
    return buffer.toString('utf8');
  } finally {
    closeSync(file);
  }
}
