import { createHash } from 'node:crypto';
import { copyFile, open, readdir, readFile, rename, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../../model/error.js';
import { makeFolder } from '../../observe/make-folder.js';
import { availableMemory, SPARE_BYTES } from '../telemetry/memory-limit.js';
import { type CheckpointFile, checkpointFiles, sumBytes } from './checkpoint-files.js';

const MANIFEST = 'maestro-copy.json';
/** Names of our folders; nothing else in the place is touched. */
const OURS = /^weights-[0-9a-f]{16}(\.part)?$/;

const manifestSchema = z.object({
  source: z.string(),
  files: z.array(z.object({ name: z.string(), bytes: z.number(), changedMs: z.number() })),
});

export interface WeightStoreOptions {
  /** Folder of a RAM disk; made where it is missing. */
  readonly folder: string;
  /** What all copies together may take. */
  readonly memoryBytes: number;
  /** RAM that is available now; default: as the system says, container limits included. */
  readonly availableBytes?: () => number;
}

export type StageReply =
  | { readonly ok: true; readonly bytes: number }
  /** `bytes`: what the copy would take, where that is known. */
  | { readonly ok: false; readonly message: string; readonly bytes: number | undefined };

/**
 * Copies of checkpoints in a RAM disk. A copy is made beside its place and put there in one step when all its files have their sizes and the source has not changed
 * meanwhile, so what is there is whole; a half one that a crash has left is deleted at the next start.
 */
export class WeightStore {
  private readonly copies = new Map<string, number>();
  private closed = false;

  constructor(private readonly options: WeightStoreOptions) {}

  /** Takes over the whole copies of these sources that an earlier run has left, and deletes what else it has left. */
  async open(sources: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const { folder } = this.options;
    makeFolder(folder);
    const wanted = new Map(sources.map((source) => [nameOf(source), source]));
    for (const name of await readdir(folder)) {
      if (!OURS.test(name)) continue;
      const source = wanted.get(name);
      const files = source === undefined ? undefined : await wholeCopy(source, join(folder, name));
      if (source !== undefined && files) this.copies.set(source, sumBytes(files));
      else await rm(join(folder, name), { recursive: true, force: true });
    }
    return this.copies;
  }

  /** Where the copy of a source is, or would be. */
  pathOf(source: string): string {
    return join(this.options.folder, nameOf(source));
  }

  /** Is the copy there, whole, and of the source as it is now? vLLM 0.29 does not survive to be told to read one that is not. */
  async isSound(source: string): Promise<boolean> {
    return this.copies.has(source) && (await wholeCopy(source, this.pathOf(source))) !== undefined;
  }

  /** Copies a checkpoint. Whatever goes wrong leaves nothing behind. */
  async stage(source: string): Promise<StageReply> {
    const known = this.copies.get(source);
    if (known !== undefined) return { ok: true, bytes: known };
    const part = `${this.pathOf(source)}.part`;
    let bytes: number | undefined;
    try {
      const files = await checkpointFiles(source);
      bytes = sumBytes(files);
      await this.checkRoom(bytes);
      await rm(part, { recursive: true, force: true });
      makeFolder(part, 0o750);
      for (const { name } of files) {
        if (this.closed) throw new Error('the copy was broken off');
        await copyFile(join(source, name), join(part, name));
      }
      await checkCopy(source, part, files);
      await writeFile(join(part, MANIFEST), JSON.stringify({ source, files }));
      if (this.closed) throw new Error('the copy was broken off');
      await rename(part, this.pathOf(source));
      this.copies.set(source, bytes);
      return { ok: true, bytes };
    } catch (error) {
      await rm(part, { recursive: true, force: true }).catch(() => undefined);
      return { ok: false, message: messageOf(error), bytes };
    }
  }

  /** Deletes a copy. Nobody may be reading it. */
  async drop(source: string): Promise<void> {
    this.copies.delete(source);
    await rm(this.pathOf(source), { recursive: true, force: true });
  }

  /** A copy under way ends after its present file. */
  close(): void {
    this.closed = true;
  }

  /** Deletes all copies for good. Nobody may be reading them. */
  async clear(): Promise<void> {
    this.close();
    this.copies.clear();
    // A file that is just being copied may come in between.
    await rm(this.options.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  private async checkRoom(bytes: number): Promise<void> {
    const { folder, memoryBytes, availableBytes = availableMemory } = this.options;
    let usedBytes = 0;
    for (const copy of this.copies.values()) usedBytes += copy;
    const budget = memoryBytes - usedBytes;
    if (bytes > budget)
      throw new Error(`the files take ${mib(bytes)}; of the memory set aside ${mib(budget)} are left`);
    const available = availableBytes() - SPARE_BYTES;
    if (bytes > available) throw new Error(`the files take ${mib(bytes)}; the host can spare ${mib(available)} of RAM`);
    const { bavail, bsize } = await statfs(folder);
    if (bytes > bavail * bsize)
      throw new Error(`the files take ${mib(bytes)}; ${folder} has ${mib(bavail * bsize)} left`);
  }
}

/** One folder for one source, whatever characters it has. */
function nameOf(source: string): string {
  return `weights-${createHash('sha256').update(source).digest('hex').slice(0, 16)}`;
}

/** Throws unless every file has been copied whole and the source is as it was before. */
async function checkCopy(source: string, copy: string, before: readonly CheckpointFile[]): Promise<void> {
  const after = await checkpointFiles(source);
  if (JSON.stringify(after) !== JSON.stringify(before)) throw new Error(`${source} was changed while it was copied`);
  for (const { name, bytes } of before) {
    const copied = await stat(join(copy, name));
    if (copied.size !== bytes) throw new Error(`${name} has ${copied.size} bytes in its copy in place of ${bytes}`);
    if (!(await sameEnds(join(source, name), join(copy, name), bytes))) {
      throw new Error(`${name} differs from its copy`);
    }
  }
}

/** Bytes that are compared at both ends of a file: the header of safetensors and the last tensor, where a broken copy shows. */
const END_BYTES = 64 * 1024;

async function sameEnds(a: string, b: string, bytes: number): Promise<boolean> {
  const [first, second] = [await open(a), await open(b)];
  try {
    for (const at of [0, Math.max(0, bytes - END_BYTES)]) {
      const [one, two] = [Buffer.alloc(END_BYTES), Buffer.alloc(END_BYTES)];
      await Promise.all([first.read(one, 0, END_BYTES, at), second.read(two, 0, END_BYTES, at)]);
      if (!one.equals(two)) return false;
    }
    return true;
  } finally {
    await Promise.all([first.close(), second.close()]);
  }
}

/** The files of a copy that is whole and of the source as it is now; undefined for any other. */
async function wholeCopy(source: string, copy: string): Promise<readonly CheckpointFile[] | undefined> {
  try {
    const manifest = manifestSchema.parse(JSON.parse(await readFile(join(copy, MANIFEST), 'utf8')));
    if (manifest.source !== source) return undefined;
    await checkCopy(source, copy, manifest.files);
    return manifest.files;
  } catch {
    return undefined;
  }
}

function mib(bytes: number): string {
  return `${Math.max(0, bytes / 1024 ** 2).toFixed(0)} MiB`;
}
