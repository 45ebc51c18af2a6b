import { describe, expect, it } from 'vitest';
import { editDistance, nearest } from './nearest.js';

describe('editDistance', () => {
  it.each([
    ['', '', 0],
    ['', 'abc', 3],
    ['kitten', 'sitting', 3],
    ['abcd', 'abdc', 1],
    ['flaw', 'lawn', 2],
  ])('%s to %s is %d', (a, b, expected) => {
    expect(editDistance(a, b)).toBe(expected);
    expect(editDistance(b, a)).toBe(expected);
  });
});

describe('nearest', () => {
  const names = ['maxBytes', 'maxCount', 'policy', 'llama-3.1-8b', 'llama-3.3-70b'];
  it.each([
    ['max_bytes', 'maxBytes'],
    ['maxcount', 'maxCount'],
    ['polciy', 'policy'],
    ['lama-3.1-8b', 'llama-3.1-8b'],
    ['llama3.3-70b', 'llama-3.3-70b'],
    ['llama-3.3', 'llama-3.3-70b'],
    ['llama', undefined],
    ['zebra', undefined],
    ['', undefined],
  ])('%s means %s', (word, expected) => {
    expect(nearest(word, names)).toBe(expected);
  });
});
