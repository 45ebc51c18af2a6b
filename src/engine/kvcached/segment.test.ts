import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KvSegment, segmentName } from './segment.js';

const CAPACITY = 8 * 1024 ** 3;
const BUNDLE = 2 * 1024 ** 2 * 32 * 2;

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-kvcached-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function words(limit: number, used = 0, prealloc = 0): Buffer {
  const bytes = Buffer.alloc(24);
  for (const [index, value] of [limit, used, prealloc].entries()) bytes.writeBigInt64LE(BigInt(value), 8 * index);
  return bytes;
}

function segment(content?: Buffer): KvSegment {
  if (content) writeFileSync(join(folder, 'e1'), content);
  return new KvSegment({ name: 'e1', capacityBytes: CAPACITY, bundleBytes: BUNDLE, folder });
}

describe('KvSegment', () => {
  it('reads the published layout', () => {
    expect(segment(words(CAPACITY, 123, 456)).read()).toEqual({
      limitBytes: CAPACITY,
      usedBytes: 123,
      preallocBytes: 456,
    });
  });

  it.each([
    ['there is none', undefined],
    ['it is of another size', Buffer.alloc(32, 1)],
    ['its limit is 0', words(0)],
    ['its use is negative', words(CAPACITY, -1)],
  ])('reads nothing when %s', (_, content) => {
    expect(segment(content).read()).toBeUndefined();
  });

  it('writes the first word and leaves the others', async () => {
    const made = segment(words(CAPACITY, 123, 456));
    expect(await made.setLimit(3 * 1024 ** 3)).toEqual({ ok: true });
    expect(readFileSync(made.path)).toEqual(words(3 * 1024 ** 3, 123, 456));
  });

  it.each([
    ['the whole pool', CAPACITY, CAPACITY - BUNDLE],
    ['more than the pool', 2 * CAPACITY, CAPACITY - BUNDLE],
    ['nothing', 0, BUNDLE],
    ['a fraction of a byte', BUNDLE + 0.5, BUNDLE],
  ])('never writes what the engine would misread: %s', (_, asked, written) => {
    expect(segment().writable(asked)).toBe(written);
  });

  it('reads back what it has written: an update that another writer undoes is written again, and told when it never stands', async () => {
    const made = segment(words(CAPACITY));
    const standing = (limitBytes: number) => ({ limitBytes, usedBytes: 0, preallocBytes: 0 });
    const read = vi.spyOn(made, 'read');
    read.mockReturnValueOnce(standing(CAPACITY)).mockReturnValueOnce(standing(CAPACITY));
    expect(await made.setLimit(BUNDLE)).toEqual({ ok: true });
    expect(read).toHaveBeenCalledTimes(3);
    read.mockReturnValue(standing(CAPACITY));
    expect(await made.setLimit(2 * BUNDLE)).toMatchObject({
      ok: false,
      message: expect.stringContaining('overwritten by somebody else'),
    });
  });

  it('does not create a segment that is not there', async () => {
    const made = segment();
    expect(await made.setLimit(BUNDLE)).toMatchObject({
      ok: false,
      message: expect.stringContaining('is the engine up'),
    });
    expect(existsSync(made.path)).toBe(false);
  });

  it('names files as kvcached does', () => {
    expect(segmentName('node a/e:1')).toBe('node-a-e-1');
    expect(segmentName('x'.repeat(99))).toHaveLength(64);
  });
});
