import type { RollingHash } from './rolling-hash.js';
import type { ByteRange } from './system-prompt.js';

/** First block boundary in bytes; about 128 tokens. */
export const FIRST_BLOCK_BYTES = 512;
/** Steps per doubling of the length: the shared prefix of two prompts is known to an eighth of its length or better. */
const STEPS_PER_DOUBLING = 8;

/**
 * Hashes of the growing prompt, oldest first, one at each block boundary. Boundaries depend only on the distance from the start,
 * and blocks grow with it (512 bytes up to 8 KiB, then an eighth of the length), so a prompt of 1 MB has some 70 of them. `parts` are the
 * stretches of the body that make up the prompt, in the order in which the engine reads them. What comes before them (tools) and whatever must
 * keep prompts apart (tenant, model) goes into `seed`.
 */
export function prefixHashes(body: Buffer, parts: readonly ByteRange[], seed: RollingHash): string[] {
  const hashes: string[] = [];
  let step = FIRST_BLOCK_BYTES;
  let offset = 0;
  let missing = step;
  let left = bytesOf(parts);
  for (let { start, end } of parts) {
    while (start + missing <= end) {
      seed.update(body, start, start + missing);
      start += missing;
      left -= missing;
      offset += step;
      hashes.push(seed.text());
      if (offset >= 2 * STEPS_PER_DOUBLING * step) step *= 2;
      missing = step;
    }
    // What comes after the last boundary is in no hash.
    if (left < missing) break;
    if (start === end) continue;
    seed.update(body, start, end);
    missing -= end - start;
    left -= end - start;
  }
  return hashes;
}

export function bytesOf(parts: readonly ByteRange[]): number {
  let bytes = 0;
  for (const { start, end } of parts) bytes += end - start;
  return bytes;
}
