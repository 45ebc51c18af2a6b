import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** A file of a checkpoint as it is copied and as it is recognised again. */
export interface CheckpointFile {
  readonly name: string;
  readonly bytes: number;
  /** Last change, milliseconds since 1970. */
  readonly changedMs: number;
}

/** Weights in other formats, which vLLM passes over where there are safetensors. */
const OTHER_WEIGHTS = /\.(bin|pt|pth|gguf|h5|msgpack|onnx|ckpt)$/;
const SAFETENSORS = /\.safetensors$/;

/** What a level-2 reload reads of a checkpoint: the files of its folder, links followed, as in the cache of Hugging Face. Throws where there are no safetensors. */
export async function checkpointFiles(folder: string): Promise<CheckpointFile[]> {
  const files: CheckpointFile[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (name.startsWith('.') || OTHER_WEIGHTS.test(name)) continue;
    const entry = await stat(join(folder, name));
    if (entry.isFile()) files.push({ name, bytes: entry.size, changedMs: entry.mtimeMs });
  }
  if (!files.some(({ name }) => SAFETENSORS.test(name))) throw new Error(`${folder} holds no safetensors files`);
  return files;
}

export function sumBytes(files: readonly CheckpointFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
