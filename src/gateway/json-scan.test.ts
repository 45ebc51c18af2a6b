import { describe, expect, it } from 'vitest';
import { findMember, memberStart, scanBody } from './json-scan.js';
import type { WantedField } from './wanted-fields.js';

const scan = (text: string, maxDepth = 50) => scanBody(Buffer.from(text), maxDepth);

function textOf(text: string, field: WantedField): string | undefined {
  const range = scan(text).fields[field];
  return range && Buffer.from(text).subarray(range.start, range.end).toString();
}

describe('scanBody', () => {
  it('finds wanted values at the top level only', () => {
    const text =
      '{"a":{"model":"no"},"model" : "yes", "stream":true,"n": -1.5e3 ,"tools":[{"x":[1]},2,"]"],"other":null}';
    expect(textOf(text, 'model')).toBe('"yes"');
    expect(textOf(text, 'stream')).toBe('true');
    expect(textOf(text, 'n')).toBe('-1.5e3');
    expect(textOf(text, 'tools')).toBe('[{"x":[1]},2,"]"]');
    expect(scan(text).fields.tools?.elements).toBe(3);
    expect(textOf(text, 'temperature')).toBeUndefined();
    expect(text[scan(text).closeOffset]).toBe('}');
  });

  it('gives the range of every message', () => {
    const text = '{"messages": [ {"role":"user"} , "x",[1] ]}';
    const { messageOffsets } = scan(text);
    expect(
      messageOffsets.map((offset, index) => (index % 2 ? undefined : text.slice(offset, messageOffsets[index + 1]))),
    ).toEqual(['{"role":"user"}', undefined, '"x"', undefined, '[1]', undefined]);
    expect(scan('{"tools":[1,2],"messages":[]}').messageOffsets).toEqual([]);
  });

  it('steps over strings whatever stands in them', () => {
    for (const inside of [
      '',
      '\\"',
      '\\\\',
      '\\\\\\"',
      `${'x'.repeat(31)}\\"`,
      `${'x'.repeat(100)}\\\\`,
      '}],\\"model\\":',
      'é🎼'.repeat(40),
    ]) {
      expect(textOf(`{"user":"${inside}","model":"m"}`, 'model'), inside).toBe('"m"');
    }
  });

  it('knows a wanted field however its name is spelled', () => {
    expect(textOf('{"mod\\u0065l":1}', 'model')).toBe('1');
    expect(() => scan('{"kv_transfer_params":1,"kv\\u005ftransfer_params":2}')).toThrow(/given twice/);
    expect(scan('{"other":1,"other":2}').fields).toEqual({});
  });

  it('tells text from media', () => {
    const text = `{"messages":["data:${'A'.repeat(5000)}","${'B'.repeat(5000)}","data:short"]}`;
    expect(scan(text)).toMatchObject({ mediaCount: 1, mediaBytes: 5006 });
  });

  it.each([
    ['', /the end \(byte 0\).*expected a JSON object/],
    ['[]', /byte 0.*expected a JSON object/],
    ['null', /expected a JSON object/],
    ['{', /the end.*field name/],
    ['{"a"', /expected ':'/],
    ['{"a":', /expected a value/],
    ['{"a":1', /expected ',' or '}'/],
    ['{"a":1,}', /byte 7.*field name/],
    ['{"a":1 "b":2}', /byte 7.*expected ',' or '}'/],
    ['{"a":1}}', /byte 7.*nothing after/],
    ['{"a":[1,]}', /byte 8.*expected a value/],
    ['{"a":[1 2]}', /expected ',' or '\]'/],
    ['{"a":{"b":1,}}', /field name/],
    ['{"a":{"b" 1}}', /expected ':'/],
    ['{"a":{"b":1]}', /expected ',' or '}'/],
    ['{"a":tru}', /expected a value/],
    ['{"a":nul', /expected a value/],
    ['{"a":01}', /not a JSON number/],
    ['{"a":1.}', /not a JSON number/],
    ['{"a":-}', /not a JSON number/],
    ['{"a":+1}', /not a JSON number/],
    ['{"a":NaN}', /expected a value/],
    ['{"a":"x}', /byte 5.*no end/],
    ['{"a":"x\\"}', /byte 5.*no end/],
    ["{'a':1}", /double quotes/],
    ['{a:1}', /double quotes/],
    ['{"a":1}\n\n  x', /line 3, column 3/],
    ['\ufeff{}', /expected a JSON object/],
  ])('refuses %j and says where', (text, message) => {
    expect(() => scan(text)).toThrow(message);
  });

  it('bounds the depth', () => {
    const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`;
    expect(() => scan(nested(9), 10)).not.toThrow();
    expect(() => scan(nested(10), 10)).toThrow(/nested deeper than 10/);
    expect(() => scan(`{"a":${'{"a":'.repeat(100_000)}`, 100)).toThrow(/nested deeper/);
  });

  it('bounds the number of messages, and of nothing else', () => {
    const list = (field: string, count: number) => `{"${field}":[${'0,'.repeat(count - 1)}0]}`;
    expect(() => scan(list('messages', 65_536))).not.toThrow();
    expect(() => scan(list('messages', 65_537))).toThrow(/more than 65536 messages/);
    expect(() => scan(list('prompt', 65_537))).not.toThrow();
  });
});

describe('findMember', () => {
  it('finds a key of an object and nothing in other values', () => {
    const text = Buffer.from('[{"content":"\\"role\\":","role":"user"},5]');
    const range = findMember(text, 1, 'role')!;
    expect(text.subarray(range.start, range.end).toString()).toBe('"user"');
    expect(findMember(text, 1, 'name')).toBeUndefined();
    expect(findMember(text, 39, 'role')).toBeUndefined();
  });
});

describe('memberStart', () => {
  it('finds where a value begins, and does not read on to its end', () => {
    const text = '{"role" : "user", "n":[1], "content":"begun and never ended';
    expect(memberStart(Buffer.from(text), 0, 'role')).toBe(text.indexOf('"user"'));
    expect(memberStart(Buffer.from(text), 0, 'content')).toBe(text.indexOf('"begun'));
    expect(memberStart(Buffer.from('{"a":1}'), 0, 'b')).toBe(-1);
    expect(memberStart(Buffer.from('{}'), 0, 'b')).toBe(-1);
    expect(memberStart(Buffer.from('[1]'), 0, 'b')).toBe(-1);
  });
});
