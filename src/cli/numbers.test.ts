import { describe, expect, it } from 'vitest';
import {
  fraction,
  fractionOrAll,
  fractionOrNone,
  integer,
  nonNegative,
  nonNegativeInteger,
  port,
  positive,
  positiveInteger,
  twoOrMore,
} from './numbers.js';

describe('numeric options', () => {
  it.each([
    [positive, ['0.5', '3', '1e3'], ['0', '-1', 'x', '', 'Infinity']],
    [nonNegative, ['0', '0.5', '3'], ['-1', 'x', '']],
    [integer, ['-3', '0', '7'], ['0.5', 'x', '1e300', '']],
    [positiveInteger, ['1', '7'], ['0', '-1', '0.5', 'x', '']],
    [twoOrMore, ['2', '7'], ['1', '0', '-2', '2.5', 'x', '']],
    [nonNegativeInteger, ['0', '7'], ['-1', '0.5', 'x', '', ' ']],
    [port, ['0', '8080', '65535'], ['-1', '65536', '80.5', 'x', '']],
    [fraction, ['0.1', '0.99'], ['0', '1', 'x', '']],
    [fractionOrNone, ['0', '0.0', '0.1'], ['1', 'x', '']],
    [fractionOrAll, ['1', '1.0', '0.1'], ['0', '1.1', 'x', '']],
  ])('%o takes what it names', (parse, good, bad) => {
    for (const text of good) expect(parse(text), text).toBe(Number(text));
    for (const text of bad) expect(() => parse(text), text).toThrow(/^It must be /);
  });
});
