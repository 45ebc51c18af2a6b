import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readLines } from './lines.js';
import { checkTrace, readTrace } from './reader.js';
import { traceJsonSchema } from './schema.js';
import { describeIssue } from './validator.js';

const row = (fields: object) => JSON.stringify({ request_id: 'a', input_length: 10, output_length: 2, ...fields });

async function collect(lines: AsyncIterable<string>): Promise<string[]> {
  const all: string[] = [];
  for await (const line of lines) all.push(line);
  return all;
}

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maestro-trace-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('readTrace', () => {
  it('reads a header and rows, passes over blank lines', async () => {
    const trace = await readTrace([
      '{"maestro_trace":1,"source":"here"}',
      row({}),
      '',
      row({ request_id: 'b', wait_for: ['a'], workflow_id: 'a' }),
    ]);
    expect(trace.header?.source).toBe('here');
    expect(trace.rows.map(({ request_id }) => request_id)).toEqual(['a', 'b']);
  });

  it('takes an Agentic Mooncake row as it is', async () => {
    const upstream = {
      session_id: 's',
      hash_ids: [1, 2],
      timestamp: 0.5,
      delay: 3,
      wait_for: [],
      branches: ['b'],
      prefix_reset: true,
      tool_wait_ms: 7.5,
      tool_events: [{ tool: 'grep', duration_ms: 3 }],
    };
    const { rows } = await readTrace([row(upstream)]);
    expect(rows[0]).toMatchObject(upstream);
  });

  it('says what to do with a decision log', async () => {
    const decision = JSON.stringify({ stage: { stageId: 's' }, prediction: {} });
    await expect(readTrace([decision])).rejects.toThrow(/^trace: row 1: is of a decision log.*maestro trace import/);
  });

  it('refuses the first bad row with file, row and field', async () => {
    await expect(readTrace([row({}), row({ request_id: 'b', output_length: -1 })])).rejects.toThrow(
      /^trace: row 2, output_length: /,
    );
  });

  it.each<[string, string[], string]>([
    ['text that is not JSON', ['{'], 'row 1: not JSON'],
    ['a missing field', ['{"request_id":"a","input_length":1}'], 'row 1, output_length'],
    ['a fraction of a token', [row({ input_length: 1.5 })], 'row 1, input_length'],
    [
      'an unknown field',
      [row({ prompt_tokens: 3 })],
      'no field of the format: "prompt_tokens" ("maestro trace schema" prints',
    ],
    ['an unfit id', [row({ request_id: 'a b' })], 'row 1, request_id: letters'],
    ['a used id', [row({}), row({})], 'row 2, request_id: a was used before, in row 1'],
    ['an unknown predecessor', [row({ wait_for: ['nobody'] })], 'row 1, wait_for[0]: no row is called nobody'],
    [
      'a predecessor in another workflow',
      [row({}), row({ request_id: 'b', wait_for: ['a'] })],
      'row 2, wait_for[0]: row a belongs to workflow a, this one to b',
    ],
    [
      'a circle',
      [row({ workflow_id: 'w', wait_for: ['b'] }), row({ request_id: 'b', workflow_id: 'w', wait_for: ['a'] })],
      'waits, through others, for itself',
    ],
    [
      'two ways of blocks',
      [row({ hash_ids: [1], hash_runs: [[1, 1]] })],
      'row 1, hash_runs: give hash_ids or hash_runs',
    ],
    [
      'roots with and without arrival',
      [row({ workflow_id: 'w', timestamp: 0 }), row({ request_id: 'b', workflow_id: 'w' })],
      'row 2, timestamp: roots of workflow w',
    ],
    [
      'a late header',
      [row({}), '{"maestro_trace":1,"source":"x"}'],
      'row 2, maestro_trace: a header may only be the first',
    ],
    ['another version', ['{"maestro_trace":2,"source":"x"}'], 'row 1, maestro_trace'],
    ['a mark of no meaning', [row({ derived: ['input_length'] })], 'row 1, derived[0]: field:rule'],
  ])('finds %s', async (_name, lines, message) => {
    const { issues } = await checkTrace(lines);
    expect(issues.map(describeIssue).join('\n')).toContain(message);
  });

  it('lets a row wait for a later one', async () => {
    const lines = [row({ workflow_id: 'w', wait_for: ['b'] }), row({ request_id: 'b', workflow_id: 'w' })];
    expect((await checkTrace(lines)).issues).toEqual([]);
  });

  it('collects issues up to a limit', async () => {
    const { issues } = await checkTrace(
      Array.from({ length: 30 }, () => '{}'),
      7,
    );
    expect(issues).toHaveLength(7);
  });
});

describe('readLines', () => {
  const text = `${'x'.repeat(200_000)}\r\ntwo\n\nfour – ü`;
  it.each([
    ['plain', (data: string) => Buffer.from(data)],
    ['gzip under any name', (data: string) => gzipSync(data)],
  ])('%s', async (name, encode) => {
    const path = join(folder, name.replaceAll(' ', '-'));
    await writeFile(path, encode(text));
    expect(await collect(readLines(path))).toEqual(['x'.repeat(200_000), 'two', '', 'four – ü']);
  });

  it('finds a mistake in a trace without a call', async () => {
    for (const lines of [[], ['', ''], ['{"maestro_trace":1,"source":"here"}']]) {
      expect((await checkTrace(lines)).issues.map(describeIssue)).toEqual(['there is no call in this trace']);
    }
    await expect(readTrace([])).rejects.toThrow('there is no call in this trace');
  });

  it.each([false, true])('reads from a pipe, which has no beginning to go back to (gzip: %s)', async (zipped) => {
    const path = join(folder, `pipe-${zipped}`);
    execFileSync('mkfifo', [path]);
    const written = writeFile(path, zipped ? gzipSync(row({})) : row({}));
    expect((await readTrace(path)).rows).toHaveLength(1);
    await written;
  });

  it('passes over a byte order mark', async () => {
    const path = join(folder, 'marked.jsonl');
    await writeFile(path, `\uFEFF${row({})}\n`);
    expect((await readTrace(path)).rows).toHaveLength(1);
  });

  it('costs no more for a long line than for many short ones', { timeout: 20_000 }, async () => {
    const path = join(folder, 'long.json');
    await writeFile(path, Buffer.alloc(64 * 2 ** 20, 'x'));
    expect((await collect(readLines(path))).map(({ length }) => length)).toEqual([64 * 2 ** 20]);
  });

  it.each([
    ['zstd', '28b52ffd2413', 'is compressed by zstd; unpack it first (zstd -d), or compress it by gzip'],
    ['parquet', '504152311504', 'is a Parquet file; write it as CSV or as lines of JSON first'],
    ['utf16', 'fffe7b002200', 'is text in UTF-16; write it in UTF-8 first'],
  ])('says of %s that it is no text', async (name, bytes, message) => {
    const path = join(folder, name);
    await writeFile(path, Buffer.from(bytes, 'hex'));
    await expect(collect(readLines(path))).rejects.toThrow(`${path}: ${message}`);
  });

  it('fails on a missing file and on a cut gzip file', async () => {
    await expect(readTrace(join(folder, 'none'))).rejects.toThrow('none: no such file');
    await expect(readTrace(folder)).rejects.toThrow('is a folder');
    const path = join(folder, 'cut.gz');
    await writeFile(path, gzipSync(row({}).repeat(500)).subarray(0, 40));
    await expect(readTrace(path)).rejects.toThrow('cut.gz: the gzip data is broken or cut off');
  });
});

describe('traceJsonSchema', () => {
  it('knows every field of a row and forbids others', () => {
    const { anyOf } = traceJsonSchema() as {
      anyOf: { properties: object; required: string[]; additionalProperties: boolean }[];
    };
    expect(anyOf[1]?.required).toEqual(['request_id', 'input_length', 'output_length']);
    expect(anyOf[1]?.additionalProperties).toBe(false);
    expect(Object.keys(anyOf[1]?.properties ?? {})).toEqual(
      expect.arrayContaining(['wait_for', 'tool_wait_ms', 'derived', 'parents']),
    );
  });
});
