import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeFolder, prepareFile, prepareFolder } from './make-folder.js';

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'maestro-folder-'));
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

describe('makeFolder', () => {
  it('makes a folder and those above it, and is content with one that is there', () => {
    for (const _twice of [1, 2]) makeFolder(join(root, 'a', 'b'), 0o700);
    expect(statSync(join(root, 'a', 'b')).mode & 0o777).toBe(0o700);
  });

  it.runIf(process.platform === 'linux')('ends where no folder can be, below /proc', () => {
    for (const path of ['/proc/maestro', '/proc/maestro/logs'])
      expect(() => makeFolder(path)).toThrow(/ENOENT.*'\/proc\/maestro'/);
  });

  it('ends where a file is', () => {
    writeFileSync(join(root, 'file'), '');
    expect(() => makeFolder(join(root, 'file'))).toThrow(/EEXIST/);
    expect(() => makeFolder(join(root, 'file', 'a'))).toThrow(/EEXIST|ENOTDIR/);
  });
});

describe('prepareFolder', () => {
  it.skipIf(process.getuid?.() === 0)('tells of one that cannot be written', () => {
    chmodSync(root, 0o500);
    expect(() => prepareFolder(root)).toThrow(/EACCES/);
  });
});

describe('prepareFile', () => {
  it('makes the folder of a file, and leaves a file as it is', () => {
    const path = join(root, 'a', 'out.yaml');
    prepareFile(path);
    expect([existsSync(join(root, 'a')), existsSync(path)]).toEqual([true, false]);
    writeFileSync(path, 'x');
    prepareFile(path);
    prepareFile('/dev/null');
    expect(readFileSync(path, 'utf8')).toBe('x');
  });

  it('tells of what takes no file', () => {
    expect(() => prepareFile(root)).toThrow(`${root} is a folder, and a file is needed.`);
    writeFileSync(join(root, 'file'), '');
    expect(() => prepareFile(join(root, 'file', 'a'))).toThrow(/EEXIST|ENOTDIR/);
  });
});
