import { describe, expect, it } from 'vitest';
import { fingerprint, slug, stem, UniqueNames } from './names.js';
import { PrefixBlocks, rebaseRecordedTimes } from './rows.js';

describe('names', () => {
  it.each([
    ['Chief Product Officer', 'chief-product-officer'],
    ['CodeReviewComment', 'code-review-comment'],
    ['DataVerification_Expert', 'data-verification-expert'],
    ['gpt-3.5-turbo', 'gpt-3.5-turbo'],
    ['Café', 'cafe'],
    ['x'.repeat(80), 'x'.repeat(60)],
  ])('%j becomes %j', (name, expected) => {
    expect(slug(name)).toBe(expected);
  });

  it('keeps names of other scripts apart', () => {
    expect(slug('王_Expert')).toMatch(/^expert-[0-9a-f]{6}$/);
    expect(slug('王_Expert')).not.toBe(slug('李_Expert'));
    expect(slug('!!')).toMatch(/^name-[0-9a-f]{6}$/);
  });

  it('take the last part of a path, and are told apart', () => {
    expect(stem('WareHouse/a b/c.d.log')).toBe('c.d');
    expect(stem('gpt-4o-airline.jsonl.gz')).toBe('gpt-4o-airline');
    const names = new UniqueNames();
    expect(['a', 'b', 'a', 'a'].map((name) => names.take(name))).toEqual(['a', 'b', 'a~2', 'a~3']);
    expect(fingerprint('a')).toMatch(/^[0-9a-f]{12}$/);
    expect(fingerprint('a')).not.toBe(fingerprint('b'));
  });
});

describe('rows', () => {
  it('count recorded times from the first', () => {
    const row = { request_id: 'r', input_length: 1, output_length: 1 };
    const rows = [{ ...row, recorded_at_ms: 1_700_000_000_500 }, row, { ...row, recorded_at_ms: 1_700_000_000_000 }];
    expect(rebaseRecordedTimes(rows).map(({ recorded_at_ms }) => recorded_at_ms)).toEqual([500, undefined, 0]);
  });

  it.each<[string, [string, number][], [number, number][]]>([
    ['one text', [['a', 40]], [[0, 2]]],
    ['a longer version of it', [['a', 64]], [[0, 4]]],
    [
      'parts whose border is inside a block',
      [
        ['a', 40],
        ['b', 40],
      ],
      [
        [0, 2],
        [65_536, 3],
      ],
    ],
    ['less than a block', [['c', 15]], []],
  ])('make blocks of %s', (_name, parts, expected) => {
    const blocks = new PrefixBlocks();
    blocks.runs([['a', 16]]);
    expect(blocks.runs(parts)).toEqual(expected);
  });
});
