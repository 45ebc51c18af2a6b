import { expect, it } from 'vitest';
import { stringHash } from './string-hash.js';

it('says the same of a key whatever was asked before', () => {
  const names = ['', 'a', 'b', ...Array.from({ length: 500 }, (_, index) => `request-${index}`)];
  const first = names.map(stringHash);
  expect(names.map(stringHash)).toEqual(first);
  expect(names.map((name) => `${name} `.slice(0, -1)).map(stringHash)).toEqual(first);
  expect(new Set(first).size).toBe(names.length);
});
