import { open, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';

/** What holds weights: safetensors, and the formats that cannot be looked into. */
const WEIGHTS = /\.(safetensors|bin|pt|pth|gguf|ckpt)$/;
const SAFETENSORS = /\.safetensors$/;
/** Which file of a checkpoint in several pieces holds which tensor. */
const INDEX = 'model.safetensors.index.json';
/** No header is longer. Source: the limit of the safetensors library. */
const MOST_HEADER_BYTES = 100_000_000;

const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });
const headerSchema = z.record(
  z.string(),
  z.looseObject({ data_offsets: z.tuple([z.number(), z.number()]).optional() }),
);

/**
 * What a folder lacks to be a checkpoint that can be loaded, in words; undefined where nothing is seen to be missing: it holds weights, every file that its index names is there, and every
 * safetensors file is as long as its own header says. Files of other formats are taken as they are.
 */
export async function missingOf(folder: string): Promise<string | undefined> {
  let names: string[];
  try {
    names = await readdir(folder);
  } catch {
    return `${folder} is not a folder that can be read`;
  }
  const weights = names.filter((name) => WEIGHTS.test(name));
  if (weights.length === 0) return `${folder} holds no weights`;
  const named = names.includes(INDEX) ? await namedFiles(join(folder, INDEX)) : [];
  if (named === undefined) return `${INDEX} cannot be read`;
  const absent = named.find((name) => !names.includes(name));
  if (absent !== undefined) return `${absent}, which ${INDEX} names, is not there`;
  for (const name of weights.filter((name) => SAFETENSORS.test(name))) {
    const bytes = await statedBytes(join(folder, name));
    if (bytes === undefined) return `the header of ${name} cannot be read`;
    const there = (await stat(join(folder, name))).size;
    if (there !== bytes) return `${name} has ${there} of ${bytes} bytes`;
  }
  return undefined;
}

async function namedFiles(path: string): Promise<string[] | undefined> {
  try {
    return [...new Set(Object.values(indexSchema.parse(JSON.parse(await readFile(path, 'utf8'))).weight_map))];
  } catch {
    return undefined;
  }
}

/** How long a safetensors file is by its header: eight bytes with the length of a JSON, the JSON, and the tensors to the last offset in it. */
async function statedBytes(path: string): Promise<number | undefined> {
  const file = await open(path).catch(() => undefined);
  try {
    const length = Buffer.alloc(8);
    if (!file || (await file.read(length, 0, 8, 0)).bytesRead < 8) return undefined;
    const headerBytes = Number(length.readBigUInt64LE());
    if (headerBytes > MOST_HEADER_BYTES) return undefined;
    const header = Buffer.alloc(headerBytes);
    if ((await file.read(header, 0, headerBytes, 8)).bytesRead < headerBytes) return undefined;
    let end = 0;
    for (const { data_offsets: offsets } of Object.values(headerSchema.parse(JSON.parse(header.toString('utf8'))))) {
      if (offsets) end = Math.max(end, offsets[1]);
    }
    return 8 + headerBytes + end;
  } catch {
    return undefined;
  } finally {
    await file?.close();
  }
}
