import { mkdir, mkdtemp, readdir, readFile, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WeightStore } from './weight-store.js';

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'weights-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** A checkpoint of one MiB of weights, a config and weights in another format. */
async function checkpoint(name: string, bytes = MIB): Promise<string> {
  const folder = join(root, name);
  await mkdir(folder);
  await writeFile(join(folder, 'model.safetensors'), Buffer.alloc(bytes, name));
  await writeFile(join(folder, 'config.json'), '{}');
  await writeFile(join(folder, 'pytorch_model.bin'), Buffer.alloc(bytes));
  return folder;
}

function store(options: { memoryBytes?: number; availableBytes?: () => number } = {}) {
  return new WeightStore({
    folder: join(root, 'ram'),
    memoryBytes: 3 * MIB,
    availableBytes: () => 100 * GIB,
    ...options,
  });
}
const inRam = () => readdir(join(root, 'ram'));

describe('WeightStore', () => {
  it('copies what a reload reads, and nothing else, and has each source once', async () => {
    const source = await checkpoint('a');
    const subject = store();
    await subject.open([source]);
    expect(await subject.stage(source)).toEqual({ ok: true, bytes: MIB + 2 });
    expect(await subject.stage(source)).toEqual({ ok: true, bytes: MIB + 2 });
    expect(await inRam()).toHaveLength(1);
    const copy = subject.pathOf(source);
    expect((await readdir(copy)).sort()).toEqual(['config.json', 'maestro-copy.json', 'model.safetensors']);
    // Compared at once: `toEqual` looks at a million bytes one by one, for seconds.
    expect((await readFile(join(copy, 'model.safetensors'))).equals(Buffer.alloc(MIB, 'a'))).toBe(true);
  });

  it('leaves nothing behind where it is given up, not even a copy that is under way', async () => {
    const [done, underWay] = [await checkpoint('a'), await checkpoint('b')];
    const subject = store();
    await subject.open([done, underWay]);
    await subject.stage(done);
    const staging = subject.stage(underWay);
    await subject.clear();
    expect((await staging).ok).toBe(false);
    await expect(inRam()).rejects.toThrow(/ENOENT/);
  });

  it('follows links, as the cache of Hugging Face has them', async () => {
    const blobs = await checkpoint('blobs');
    const snapshot = join(root, 'snapshot');
    await mkdir(snapshot);
    await symlink(join(blobs, 'model.safetensors'), join(snapshot, 'model.safetensors'));
    const subject = store();
    await subject.open([snapshot]);
    expect(await subject.stage(snapshot)).toEqual({ ok: true, bytes: MIB });
    expect((await readFile(join(subject.pathOf(snapshot), 'model.safetensors'))).length).toBe(MIB);
  });

  it('keeps within its memory, and says what it would take', async () => {
    const [a, big] = [await checkpoint('a'), await checkpoint('big', 3 * MIB)];
    const subject = store();
    await subject.open([a, big]);
    await subject.stage(a);
    expect(await subject.stage(big)).toMatchObject({
      ok: false,
      bytes: 3 * MIB + 2,
      message: expect.stringContaining('of the memory set aside 2 MiB are left'),
    });
    await subject.drop(a);
    expect(await inRam()).toEqual([]);
  });

  it('leaves the host the RAM that it needs', async () => {
    const source = await checkpoint('a');
    const subject = store({ availableBytes: () => 2 * GIB });
    await subject.open([source]);
    expect(await subject.stage(source)).toMatchObject({
      ok: false,
      message: expect.stringContaining('can spare 0 MiB'),
    });
    expect(await inRam()).toEqual([]);
  });

  it('fails and leaves nothing where the source cannot be read or has no weights', async () => {
    const subject = store();
    const empty = join(root, 'empty');
    await mkdir(empty);
    await subject.open([empty]);
    expect(await subject.stage(empty)).toMatchObject({ ok: false, message: expect.stringContaining('no safetensors') });
    expect(await subject.stage(join(root, 'gone'))).toMatchObject({ ok: false, bytes: undefined });
    expect(await inRam()).toEqual([]);
  });

  it('knows a copy that is not sound any more', async () => {
    const [a, b] = [await checkpoint('a'), await checkpoint('b')];
    const subject = store();
    await subject.open([a, b]);
    await subject.stage(a);
    expect([await subject.isSound(a), await subject.isSound(b)]).toEqual([true, false]);
    const weights = join(subject.pathOf(a), 'model.safetensors');
    await truncate(weights, 100);
    expect(await subject.isSound(a)).toBe(false);
    await writeFile(weights, Buffer.alloc(MIB, 'z'));
    expect(await subject.isSound(a)).toBe(false);
    await rm(subject.pathOf(a), { recursive: true });
    expect(await subject.isSound(a)).toBe(false);
  });

  it('takes over whole copies after a restart, and deletes half ones, changed ones and those of nobody', async () => {
    const [a, b, c, d] = [await checkpoint('a'), await checkpoint('b'), await checkpoint('c'), await checkpoint('d')];
    const before = store({ memoryBytes: GIB });
    await before.open([a, b, c, d]);
    for (const source of [a, b, c, d]) await before.stage(source);
    await mkdir(`${before.pathOf(a)}.part`);
    await mkdir(join(root, 'ram', 'of-somebody-else'));
    // b has been written anew, the copy of c was cut short, and nobody wants d.
    await utimes(join(b, 'model.safetensors'), new Date(), new Date(Date.now() + 5_000));
    await truncate(join(before.pathOf(c), 'model.safetensors'), 100);
    const after = store({ memoryBytes: GIB });
    expect([...(await after.open([a, b, c]))]).toEqual([[a, MIB + 2]]);
    const names = (await inRam()).map((name) => join(root, 'ram', name)).sort();
    expect(names).toEqual([join(root, 'ram', 'of-somebody-else'), after.pathOf(a)].sort());
  });
});
