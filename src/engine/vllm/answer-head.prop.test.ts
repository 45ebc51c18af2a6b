import fc from 'fast-check';
import { expect, it } from 'vitest';
import { lengthOf, ProtocolError, readHead } from './answer-head.js';

const line = fc
  .tuple(
    fc.constantFrom('a', 'A', 'ab', 'content-type', 'date'),
    fc.constantFrom('', 'x', 'xy', 'xyz', 'x'.repeat(200)),
  )
  .map(([name, value]) => `${name}: ${value}`);
const head = fc.record({
  code: fc.constantFrom(200, 404),
  minor: fc.constantFrom(0, 1),
  lines: fc.array(line, { maxLength: 20 }),
});

/** What the lines say, read without looking at any head before. */
function fieldsOf(lines: readonly string[]): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = {};
  for (const each of lines) {
    const at = each.indexOf(':');
    const [name, value] = [each.slice(0, at).toLowerCase(), each.slice(at + 1).trim()];
    fields[name] = name in fields ? [fields[name]!, value].flat() : value;
  }
  return fields;
}

it('reads every head for itself, whatever came before', () => {
  fc.assert(
    fc.property(fc.array(head, { maxLength: 20 }), (heads) => {
      for (const { code, minor, lines } of heads) {
        const read = readHead([`HTTP/1.${minor} ${code} word`, ...lines].join('\r\n'));
        expect({ ...read, headers: { ...read.headers } }).toEqual({ code, minor, headers: fieldsOf(lines) });
      }
    }),
  );
});

it.each(['a: x\ry', 'a: x\ny', 'a : x', ': x', 'a', ''])(
  'refuses the field %j, also where a good one stood last',
  (bad) => {
    readHead('HTTP/1.1 200 OK\r\na: x');
    expect(() => readHead(`HTTP/1.1 200 OK\r\n${bad}`)).toThrow(ProtocolError);
  },
);

it('takes digits for a length, and nothing else', () => {
  expect(['0', '007', '123456789012345'].map(lengthOf)).toEqual([0, 7, 123_456_789_012_345]);
  for (const bad of ['', '-1', '+1', '1.0', ' 1', '1 ', '0x1', '1e3', '1234567890123456']) {
    expect(() => lengthOf(bad)).toThrow(ProtocolError);
  }
});
