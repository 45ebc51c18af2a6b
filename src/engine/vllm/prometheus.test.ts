import { describe, expect, it } from 'vitest';
import { parseMetrics } from './prometheus.js';

const wanted = new Set(['a', 'vllm:b']);
const parse = (text: string) => Object.fromEntries(parseMetrics(text, wanted));

describe('parseMetrics', () => {
  const table: [string, string, ReturnType<typeof parse>][] = [
    ['a plain sample', 'a 1.5', { a: [{ labels: {}, value: 1.5 }] }],
    ['labels', 'vllm:b{x="1",y="two"} 3.0', { 'vllm:b': [{ labels: { x: '1', y: 'two' }, value: 3 }] }],
    ['escapes', 'a{x="q\\"b\\\\n\\nz"} 1', { a: [{ labels: { x: 'q"b\\n\nz' }, value: 1 }] }],
    ['braces and commas inside a label', 'a{x="},{",y=","} 1', { a: [{ labels: { x: '},{', y: ',' }, value: 1 }] }],
    [
      'empty label sets, trailing commas and spaces',
      'a{} 1\na{x="1",} 2\na { y = "2" } 3',
      {
        a: [
          { labels: {}, value: 1 },
          { labels: { x: '1' }, value: 2 },
        ],
      },
    ],
    ['a timestamp behind the value', 'a 7 1795245010000', { a: [{ labels: {}, value: 7 }] }],
    [
      'exponents and infinities',
      'a 1.79e+09\na +Inf\na -Inf',
      {
        a: [
          { labels: {}, value: 1.79e9 },
          { labels: {}, value: Infinity },
          { labels: {}, value: -Infinity },
        ],
      },
    ],
    ['NaN', 'a NaN', { a: [{ labels: {}, value: Number.NaN }] }],
    ['comments and unwanted series skipped', '# HELP a b\n# TYPE a gauge\nab 1\na_bucket{le="1"} 2\n', {}],
    ['broken lines skipped', 'a{x="1" 2\na{x=1} 2\na{x="1\na\na x\na 4', { a: [{ labels: {}, value: 4 }] }],
    ['an empty page', '', {}],
  ];
  it.each(table)('reads %s', (_name, text, expected) => {
    expect(parse(text)).toEqual(expected);
  });
});
