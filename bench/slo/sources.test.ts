import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { traceFolder } from './sources.js';

const CALLS = Array.from({ length: 400 }, (_, index) => ({
  ...{ timestamp: index, input_length: 600 + index, output_length: 3, hash_ids: [index] },
}))
  .map((row) => JSON.stringify(row))
  .join('\n');

describe('traceFolder', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'maestro-slo-'));
    for (const name of ['mooncake-fast25', 'somebody-else']) await mkdir(join(folder, name));
    await symlink(join(folder, 'somebody-else'), join(folder, 'tau-bench'));
    await writeFile(join(folder, 'mooncake-fast25', 'sound.jsonl.gz'), gzipSync(CALLS));
    await writeFile(join(folder, 'mooncake-fast25', 'cut-off.jsonl.gz'), gzipSync(CALLS).subarray(0, 2000));
    await writeFile(join(folder, 'mooncake-fast25', 'cut-line.jsonl'), CALLS.slice(0, -20));
    await mkdir(join(folder, 'mooncake-fast25', 'more'));
    await writeFile(
      join(folder, 'mooncake-fast25', 'more', 'two.jsonl'),
      `{"timestamp":"now"}\r\n\r\n${CALLS}\n{"half":`,
    );
    await writeFile(join(folder, 'tau-bench', 'cut-off.jsonl.gz'), gzipSync(CALLS).subarray(0, 2000));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('leaves out files and records that are damaged, and folders that nobody knows, and says so', async () => {
    const { open, skipped } = await traceFolder(folder);
    // All of `sound` and `two`, and of `cut-line` all but its last line.
    expect((await open('traces/data/mooncake-fast25.jsonl.gz')).rows).toHaveLength(400 + 400 + 399);
    await open('traces/data/mooncake-fast25.jsonl.gz');
    expect(skipped).toEqual([
      expect.stringContaining('folder somebody-else: no importer of that name; there are agentic-mooncake,'),
      'file mooncake-fast25/cut-off.jsonl.gz: the gzip data is broken or cut off',
      'file mooncake-fast25/cut-line.jsonl: line 400: not JSON (left out)',
      'file mooncake-fast25/more/two.jsonl: line 1: timestamp: Invalid input: expected number, received string (left out, with 1 more of this file)',
    ]);
  });

  it('says what is sound and makes no call', async () => {
    await mkdir(join(folder, 'dylan'));
    await writeFile(join(folder, 'dylan', 'a.jsonl'), '[["yes"],["no"]]\n[[null],[null]]\n');
    const { open, skipped } = await traceFolder(folder);
    expect((await open('dylan.jsonl')).rows).toHaveLength(2);
    expect(skipped.at(-1)).toBe('folder dylan: 1 of 2 questions, which nobody answered');
  });

  it('names what is not there', async () => {
    const { open } = await traceFolder(folder);
    await expect(open('traces/data/marble.jsonl.gz')).rejects.toThrow('no folder marble');
    await expect(open('traces/data/tau-bench.jsonl.gz')).rejects.toThrow(
      'folder tau-bench holds nothing that is sound',
    );
    await expect(traceFolder(join(folder, 'nowhere'))).rejects.toThrow(`${join(folder, 'nowhere')} cannot be read`);
  });
});
