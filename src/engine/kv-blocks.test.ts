import { describe, expect, it } from 'vitest';
import { BlockPool } from './kv-blocks.js';

/** Takes a block for each key and names it. */
function store(pool: BlockPool, keys: readonly string[]) {
  pool.take(keys.length);
  return keys.flatMap((key) => pool.name(key) ?? []);
}
/** Those of the keys that the pool knows, from the first on. */
const keysOf = (pool: BlockPool, keys: readonly string[]) => keys.slice(0, pool.match(keys, 100).length);

describe('BlockPool', () => {
  it('keeps freed content until its room is needed, and drops the end of a prefix before its beginning', () => {
    const pool = new BlockPool(4, true);
    pool.release(store(pool, ['a', 'b', 'c']));
    expect([pool.used, pool.free]).toEqual([0, 4]);
    expect(keysOf(pool, ['a', 'b', 'c'])).toEqual(['a', 'b', 'c']);
    pool.take(2);
    expect(keysOf(pool, ['a', 'b', 'c'])).toEqual(['a', 'b']);
    pool.take(1);
    expect(keysOf(pool, ['a', 'b', 'c'])).toEqual(['a']);
  });

  it('drops what was freed longest ago first; use renews', () => {
    const pool = new BlockPool(3, true);
    for (const key of ['a', 'b', 'c']) pool.release(store(pool, [key]));
    const again = pool.match(['a'], 1);
    pool.hold(again);
    pool.release(again);
    pool.take(1);
    expect(['a', 'b', 'c'].filter((key) => keysOf(pool, [key]).length > 0)).toEqual(['a', 'c']);
  });

  it('counts a shared block once and frees it with its last holder', () => {
    const pool = new BlockPool(4, true);
    const held = store(pool, ['a', 'b']);
    const shared = pool.match(['a', 'b', 'x'], 100);
    pool.hold(shared);
    expect(pool.used).toBe(2);
    pool.release(held);
    expect(pool.used).toBe(2);
    pool.release(shared);
    expect(pool.used).toBe(0);
  });

  it('never drops a held block, and names nothing twice', () => {
    const pool = new BlockPool(3, true);
    const held = store(pool, ['a']);
    expect(pool.name('a')).toBeUndefined();
    pool.take(2);
    expect(keysOf(pool, ['a'])).toEqual(['a']);
    expect(pool.free).toBe(0);
    expect(pool.unheld(held)).toBe(0);
  });

  it('a lower limit drops cached blocks at once and waits for held ones', () => {
    const pool = new BlockPool(8, true);
    pool.release(store(pool, ['a', 'b', 'c']));
    pool.take(4);
    pool.setLimit(5);
    expect(keysOf(pool, ['a', 'b', 'c'])).toEqual(['a']);
    pool.setLimit(2);
    expect(pool.free).toBe(-2);
    expect(keysOf(pool, ['a'])).toEqual([]);
    pool.give(4);
    expect(pool.free).toBe(2);
    pool.setLimit(99);
    expect(pool.free).toBe(8);
  });

  it('knows nothing with caching off', () => {
    const pool = new BlockPool(4, false);
    expect(store(pool, ['a'])).toEqual([]);
    expect(pool.match(['a'], 1)).toEqual([]);
  });
});
