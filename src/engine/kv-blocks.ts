import { BlockTable, NO_SLOT } from './block-table.js';

/** What has changed in what a pool knows. `parent` is the block before it in its prompt. */
export type BlockChange =
  | { readonly kind: 'stored'; readonly key: string | number; readonly parent: string | number | undefined }
  | { readonly kind: 'removed'; readonly key: string | number }
  | { readonly kind: 'cleared' };

/**
 * The KV pool of an engine, in blocks. Blocks in use are only counted, unless their content has a hash: those are shared between
 * sequences and, once free, stay cached until their room is needed, least recently freed first. A free cached block counts as free.
 * A cached block goes by the number of its slot.
 */
export class BlockPool {
  /** Blocks that some sequence holds; a shared block counts once. */
  used = 0;
  private limitBlocks: number;
  private readonly cached = new BlockTable();
  /** Of each cached block: who refers to it, and its neighbours in the order of release while nobody does. */
  private refs = new Int32Array(0);
  private older = new Int32Array(0);
  private newer = new Int32Array(0);
  private oldest = NO_SLOT;
  private newest = NO_SLOT;
  private freeCached = 0;

  constructor(
    readonly totalBlocks: number,
    private readonly caching: boolean,
    private readonly onChange?: (change: BlockChange) => void,
  ) {
    this.limitBlocks = totalBlocks;
  }

  /** Blocks that can be taken now; negative after a shrink below use. */
  get free(): number {
    return this.limitBlocks - this.used;
  }

  /** Elastic KV: at most the pool itself. A shrink below use waits for releases; cached blocks go at once. */
  setLimit(blocks: number): void {
    this.limitBlocks = Math.max(0, Math.min(Math.floor(blocks), this.totalBlocks));
    this.evict();
  }

  take(blocks: number): void {
    this.used += blocks;
    if (this.freeCached > 0) this.evict();
  }

  give(blocks: number): void {
    this.used -= blocks;
  }

  /** The cached blocks of the longest known prefix of `keys`, at most `maxBlocks`. Nothing is held yet. */
  match(keys: readonly (string | number)[], maxBlocks: number): number[] {
    const found: number[] = [];
    if (!this.caching) return found;
    const end = Math.min(keys.length, maxBlocks);
    for (let index = 0; index < end; index++) {
      const block = this.cached.find(keys[index]!);
      if (block === NO_SLOT) break;
      found.push(block);
    }
    return found;
  }

  /** How many of the cached blocks nobody holds: so much less is free once they are held. */
  unheld(blocks: readonly number[]): number {
    let count = 0;
    for (const block of blocks) if (this.refs[block] === 0) count += 1;
    return count;
  }

  /** Adds a holder to each of `blocks`. */
  hold(blocks: readonly number[]): void {
    const { refs } = this;
    for (const block of blocks) {
      refs[block]! += 1;
      if (refs[block]! > 1) continue;
      this.unlink(block);
      this.used += 1;
    }
  }

  /**
   * Names a block that the caller holds. Undefined when caching is off or when the content is cached already: the caller's block
   * then stays an anonymous copy.
   */
  name(key: string | number, parent?: string | number): number | undefined {
    if (!this.caching) return undefined;
    const block = this.cached.add(key);
    if (block === NO_SLOT) return undefined;
    if (block >= this.refs.length) this.grow();
    this.refs[block] = 1;
    this.onChange?.({ kind: 'stored', key, parent });
    return block;
  }

  /** Gives up named blocks, first of the prefix first in `blocks`. The end of a prefix is evicted before its beginning. */
  release(blocks: readonly number[]): void {
    const { refs, older, newer } = this;
    for (let index = blocks.length - 1; index >= 0; index--) {
      const block = blocks[index]!;
      refs[block]! -= 1;
      if (refs[block]! > 0) continue;
      this.used -= 1;
      older[block] = this.newest;
      newer[block] = NO_SLOT;
      if (this.newest === NO_SLOT) this.oldest = block;
      else newer[this.newest] = block;
      this.newest = block;
      this.freeCached += 1;
    }
    this.evict();
  }

  /** Forgets all content. Nothing may be held. */
  reset(): void {
    this.cached.clear();
    this.oldest = NO_SLOT;
    this.newest = NO_SLOT;
    this.freeCached = 0;
    this.onChange?.({ kind: 'cleared' });
  }

  private evict(): void {
    while (this.oldest !== NO_SLOT && this.freeCached > this.free) {
      const block = this.oldest;
      this.unlink(block);
      if (this.onChange) this.onChange({ kind: 'removed', key: this.cached.keyOf(block) });
      this.cached.remove(block);
    }
  }

  private unlink(block: number): void {
    const older = this.older[block]!;
    const newer = this.newer[block]!;
    if (older === NO_SLOT) this.oldest = newer;
    else this.newer[older] = newer;
    if (newer === NO_SLOT) this.newest = older;
    else this.older[newer] = older;
    this.freeCached -= 1;
  }

  private grow(): void {
    const { room } = this.cached;
    this.refs = enlarged(this.refs, room);
    this.older = enlarged(this.older, room);
    this.newer = enlarged(this.newer, room);
  }
}

function enlarged(numbers: Int32Array, room: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(room);
  larger.set(numbers);
  return larger;
}
