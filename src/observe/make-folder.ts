import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { MaestroError } from '../model/error.js';

/**
 * Makes a folder and those above it. What `mkdir` with `recursive` does, which never ends below a folder that takes no others (/proc): there this throws.
 *
 * @param mode Of folders that are made.
 */
export function makeFolder(path: string, mode?: number): void {
  const folder = resolve(path);
  if (existsSync(folder)) {
    // Throws where it is a file.
    mkdirSync(folder, { recursive: true });
    return;
  }
  makeFolder(dirname(folder), mode);
  try {
    mkdirSync(folder, mode === undefined ? {} : { mode });
  } catch (error) {
    // Another process was quicker.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Makes a folder that will be written to, and throws where it cannot be: before the work whose result goes there, and not after it. */
export function prepareFolder(path: string): void {
  makeFolder(path);
  accessSync(path, constants.W_OK);
}

/** The same for a file. One that is there is left as it is, a device and a pipe too. */
export function prepareFile(path: string): void {
  const there = statSync(path, { throwIfNoEntry: false });
  if (there?.isDirectory()) throw new MaestroError('invalid_request', `${path} is a folder, and a file is needed.`);
  if (there) accessSync(path, constants.W_OK);
  else prepareFolder(dirname(path));
}
