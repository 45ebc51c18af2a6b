import type { BlockPool } from './kv-blocks.js';
import { NO_BLOCKS, type Sequence } from './sequence.js';

/** Gives the first `blocks` blocks of a sequence their names, so that others can share them; those that the pool knows already are shared. */
export function nameBlocks(pool: BlockPool, sequence: Sequence, blocks: number): void {
  const { keys } = sequence;
  const end = Math.min(keys.length, blocks);
  while (sequence.keysSeen < end) {
    const block = pool.name(keys[sequence.keysSeen]!, keys[sequence.keysSeen - 1]);
    if (block !== undefined) sequence.named.push(block);
    sequence.keysSeen += 1;
  }
}

/** Gives all blocks of a sequence back. */
export function releaseBlocks(pool: BlockPool, sequence: Sequence): void {
  pool.give(sequence.blocks - sequence.named.length);
  if (sequence.named.length > 0) pool.release(sequence.named);
  sequence.named = NO_BLOCKS;
  sequence.keysSeen = 0;
  sequence.blocks = 0;
}
