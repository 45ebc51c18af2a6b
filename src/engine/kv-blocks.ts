/** A full block whose content is known by its hash. Shared by every sequence that refers to it; kept while nobody needs its room. */
export interface CachedBlock {
  readonly key: string | number;
  refs: number;
  newer: CachedBlock | undefined;
  older: CachedBlock | undefined;
}

/** What has changed in what a pool knows. `parent` is the block before it in its prompt. */
export type BlockChange =
  | { readonly kind: 'stored'; readonly key: string | number; readonly parent: string | number | undefined }
  | { readonly kind: 'removed'; readonly key: string | number }
  | { readonly kind: 'cleared' };

/**
 * The KV pool of an engine, in blocks. Blocks in use are only counted, unless their content has a hash: those are shared between
 * sequences and, once free, stay cached until their room is needed, least recently freed first. A free cached block counts as free.
 */
export class BlockPool {
  /** Blocks that some sequence holds; a shared block counts once. */
  used = 0;
  private limitBlocks: number;
  private readonly cached = new Map<string | number, CachedBlock>();
  private oldest: CachedBlock | undefined;
  private newest: CachedBlock | undefined;
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

  get limit(): number {
    return this.limitBlocks;
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
  match(keys: readonly (string | number)[], maxBlocks: number): CachedBlock[] {
    const found: CachedBlock[] = [];
    if (!this.caching) return found;
    const end = Math.min(keys.length, maxBlocks);
    for (let index = 0; index < end; index++) {
      const block = this.cached.get(keys[index]!);
      if (!block) break;
      found.push(block);
    }
    return found;
  }

  /** Adds a holder to each of `blocks`. */
  hold(blocks: readonly CachedBlock[]): void {
    for (const block of blocks) {
      block.refs += 1;
      if (block.refs > 1) continue;
      this.unlink(block);
      this.used += 1;
    }
  }

  /**
   * Names a block that the caller holds. Undefined when caching is off or when the content is cached already: the caller's block
   * then stays an anonymous copy.
   */
  name(key: string | number, parent?: string | number): CachedBlock | undefined {
    if (!this.caching || this.cached.has(key)) return undefined;
    const block: CachedBlock = { key, refs: 1, newer: undefined, older: undefined };
    this.cached.set(key, block);
    this.onChange?.({ kind: 'stored', key, parent });
    return block;
  }

  /** Gives up named blocks, first of the prefix first in `blocks`. The end of a prefix is evicted before its beginning. */
  release(blocks: readonly CachedBlock[]): void {
    for (let index = blocks.length - 1; index >= 0; index--) {
      const block = blocks[index]!;
      block.refs -= 1;
      if (block.refs > 0) continue;
      this.used -= 1;
      block.older = this.newest;
      block.newer = undefined;
      if (this.newest) this.newest.newer = block;
      else this.oldest = block;
      this.newest = block;
      this.freeCached += 1;
    }
    this.evict();
  }

  /** Forgets all content. Nothing may be held. */
  reset(): void {
    this.cached.clear();
    this.oldest = undefined;
    this.newest = undefined;
    this.freeCached = 0;
    this.onChange?.({ kind: 'cleared' });
  }

  private evict(): void {
    while (this.oldest && this.freeCached > this.free) {
      const block = this.oldest;
      this.unlink(block);
      this.cached.delete(block.key);
      this.onChange?.({ kind: 'removed', key: block.key });
    }
  }

  private unlink(block: CachedBlock): void {
    if (block.older) block.older.newer = block.newer;
    else this.oldest = block.newer;
    if (block.newer) block.newer.older = block.older;
    else this.newest = block.older;
    block.older = undefined;
    block.newer = undefined;
    this.freeCached -= 1;
  }
}
