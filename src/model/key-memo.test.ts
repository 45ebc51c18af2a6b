import { describe, expect, it } from 'vitest';
import { KeyMemo } from './key-memo.js';

describe('KeyMemo', () => {
  it('makes each key once', () => {
    const made: string[] = [];
    const memo = new KeyMemo((first, second, third) => {
      made.push(`${first}/${second}/${third}`);
      return made.at(-1)!;
    });
    expect([memo.of('a', 'b', 'c'), memo.of('a', 'b'), memo.of('b', 'a'), memo.of('a', 'b', 'c')]).toEqual([
      ...['a/b/c', 'a/b/', 'b/a/', 'a/b/c'],
    ]);
    expect(made).toEqual(['a/b/c', 'a/b/', 'b/a/']);
  });

  it('stays bounded, whatever names come', () => {
    let made = 0;
    const memo = new KeyMemo((first, second) => {
      made += 1;
      return first + second;
    });
    for (let round = 0; round < 2; round++) for (let name = 0; name < 15_000; name++) memo.of(`${name}`, 'x');
    // Names that were dropped are made again, and come out the same.
    expect(made).toBeGreaterThan(15_000);
    expect(memo.of('7', 'x')).toBe('7x');
  });
});
