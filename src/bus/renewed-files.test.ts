import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ManualClock } from '../model/clock.js';
import { RenewedFiles } from './renewed-files.js';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'renewed-'));
  file = join(folder, 'a.pem');
  writeFileSync(file, 'old');
});
afterEach(() => rmSync(folder, { recursive: true }));

function build() {
  const clock = new ManualClock();
  const stale: string[] = [];
  let reads = 0;
  let error: Error | undefined;
  const read = () => {
    reads += 1;
    if (error) throw error;
    return { reads };
  };
  const files = new RenewedFiles([file, undefined], read, clock, ({ message }) => stale.push(message));
  const fails = (how: Error | undefined) => {
    error = how;
  };
  return { clock, files, stale, fails };
}

it('reads files that have changed again, within ten seconds of a question', () => {
  const { clock, files } = build();
  const first = files.current();
  clock.advance(10_000);
  expect(files.current()).toBe(first);
  writeFileSync(file, 'newer');
  clock.advance(9_999);
  expect(files.current()).toBe(first);
  clock.advance(1);
  expect(files.current()).toEqual({ reads: 2 });
  writeFileSync(file, 'the newest');
  expect(files.current()).toEqual({ reads: 2 });
  expect(files.look()).toEqual({ reads: 3 });
});

it('goes on with what there was while the new files cannot be used, and tries them again though they stay as they are', () => {
  const { files, stale, fails } = build();
  const first = files.current();
  fails(new Error('may not be read'));
  writeFileSync(file, 'newer');
  expect([files.look(), files.look()]).toEqual([first, first]);
  expect(stale).toHaveLength(2);
  fails(undefined);
  expect(files.look()).toEqual({ reads: 4 });
  rmSync(file);
  fails(new Error('is not there'));
  expect(files.look()).toEqual({ reads: 4 });
  expect(stale).toHaveLength(3);
});
