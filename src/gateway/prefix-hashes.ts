import type { RollingHash } from './rolling-hash.js';

/** First block boundary in bytes; about 128 tokens. */
const FIRST_BLOCK_BYTES = 512;
/** Steps per doubling of the length: the shared prefix of two prompts is known to an eighth of its length or better. */
const STEPS_PER_DOUBLING = 8;

/**
 * Hashes of the growing prompt, oldest first, one at each block boundary. Boundaries depend only on the distance from the start,
 * and blocks grow with it (512 bytes up to 8 KiB, then an eighth of the length), so a prompt of 1 MB has some 70 of them. What comes
 * before the messages in the engine's own prompt (tools) and whatever must keep prompts apart (tenant, model) goes into `seed`.
 */
export function prefixHashes(body: Buffer, start: number, end: number, seed: RollingHash): string[] {
  const hashes: string[] = [];
  let step = FIRST_BLOCK_BYTES;
  let offset = 0;
  while (start + offset + step <= end) {
    seed.update(body, start + offset, start + offset + step);
    offset += step;
    hashes.push(seed.text());
    if (offset >= 2 * STEPS_PER_DOUBLING * step) step *= 2;
  }
  return hashes;
}
