import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LruMap } from './lru-map.js';

describe('LruMap', () => {
  it('drops the least recently used entry and says which', () => {
    const map = new LruMap<string, number>(2);
    expect(map.set('a', 1)).toBeUndefined();
    expect(map.set('b', 2)).toBeUndefined();
    expect(map.get('a')).toBe(1);
    expect(map.set('c', 3)).toEqual(['b', 2]);
    expect([...map]).toEqual([
      ['a', 1],
      ['c', 3],
    ]);
  });

  it('does not change the order when peeked at', () => {
    const map = new LruMap<string, number>(2);
    map.set('a', 1);
    map.set('b', 2);
    expect(map.peek('a')).toBe(1);
    expect(map.oldest()).toEqual(['a', 1]);
    expect(map.set('c', 3)).toEqual(['a', 1]);
    expect(map.delete('b')).toBe(true);
    expect(map.size).toBe(1);
  });
});

it('finds every key among many whose hashes fall together', () => {
  // What chance brings to the last place but few of a small table, for as many keys as wanted.
  const alike: string[] = [];
  for (let number = 0; alike.length < 400; number++) {
    const key = `workflow-${number}`;
    let hash = 0x811c9dc5;
    for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
    if (((hash ^ (hash >>> 15)) & 0x3ff) === 0x3fe) alike.push(key);
  }
  const map = new LruMap<string, number>(300);
  for (const [value, key] of alike.entries()) {
    map.set(key, -1);
    // The hashes may have been made anew for the sake of this very key.
    map.delete(key);
    map.set(key, value);
  }
  expect(alike.map((key) => map.peek(key))).toEqual(alike.map((_, value) => (value < 100 ? undefined : value)));
  for (const key of alike) map.delete(key);
  expect([map.size, [...map]]).toEqual([0, []]);
});

// 12 outgrow the room that there is at first.
it.each([4, 12])('agrees with a list kept in order, whatever is done, with room for %i', (maxSize) => {
  const command = fc.tuple(
    fc.constantFrom('get', 'set', 'set', 'peek', 'delete'),
    fc.integer({ min: 0, max: 2 * maxSize - 1 }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 25 * maxSize }), (commands) => {
      const map = new LruMap<number, number>(maxSize);
      let model: [number, number][] = [];
      for (const [step, [kind, key]] of commands.entries()) {
        const known = model.find(([each]) => each === key);
        const rest = model.filter(([each]) => each !== key);
        if (kind === 'peek') expect(map.peek(key)).toBe(known?.[1]);
        if (kind === 'get') {
          expect(map.get(key)).toBe(known?.[1]);
          if (known) model = [...rest, known];
        }
        if (kind === 'delete') {
          expect(map.delete(key)).toBe(known !== undefined);
          model = rest;
        }
        if (kind === 'set') {
          model = [...rest, [key, step]];
          expect(map.set(key, step)).toEqual(model.length > maxSize ? model.shift() : undefined);
        }
        expect([...map]).toEqual(model);
        expect(map.oldest()).toEqual(model[0]);
        expect(map.size).toBe(model.length);
      }
    }),
  );
});
