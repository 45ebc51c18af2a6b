import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ProtocolError } from './answer-head.js';
import { AnswerParser } from './answer-parser.js';

interface Read {
  readonly events: string[];
  body: string;
  reusable: boolean | undefined;
  error: unknown;
}

/** Reads `wire` in pieces that end at `cuts`, and then a close when `closed`. */
function read(wire: Buffer, cuts: readonly number[], closed = false): Read {
  const result: Read = { events: [], body: '', reusable: undefined, error: undefined };
  const parser = new AnswerParser({
    onHead: (status, headers) => result.events.push(`${status} ${JSON.stringify(headers)}`),
    onBody: (bytes) => {
      expect(bytes.length).toBeGreaterThan(0);
      result.body += bytes.toString('latin1');
    },
    onComplete: (reusable) => {
      result.events.push('complete');
      result.reusable = reusable;
    },
  });
  parser.begin();
  try {
    const ends = [...new Set([...cuts.map((cut) => cut % wire.length), wire.length])].sort((a, b) => a - b);
    let start = 0;
    for (const end of ends) {
      if (end > start) parser.push(wire.subarray(start, end));
      start = end;
    }
    if (closed) parser.close();
  } catch (error) {
    result.error = error;
  }
  return result;
}

const cuts = fc.array(fc.nat(100_000), { maxLength: 20 });
const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((array) => Buffer.from(array).toString('latin1'));
const chunks = fc.array(bytes, { maxLength: 6 });
const interim = fc.constantFrom('', 'HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n');
const head = (text: string) =>
  `HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nX-Twice: a\r\nx-twice: b \r\n${text}\r\n\r\n`;
const HEAD_EVENT = (rest: object) =>
  `200 ${JSON.stringify({ 'content-type': 'text/plain', 'x-twice': ['a', 'b'], ...rest })}`;

function chunked(parts: readonly string[], extension: string, trailer: string): string {
  const framed = parts.map((part) => `${part.length.toString(16)}${extension}\r\n${part}\r\n`);
  return `${framed.join('')}0\r\n${trailer}\r\n`;
}

it('reads a body of known length, however it is cut', () => {
  fc.assert(
    fc.property(interim, fc.oneof(bytes, fc.constant('')), cuts, (before, body, at) => {
      const wire = Buffer.from(`${before}${head(`Content-Length: ${body.length}`)}${body}`, 'latin1');
      expect(read(wire, at)).toEqual({
        events: [HEAD_EVENT({ 'content-length': String(body.length) }), 'complete'],
        body,
        reusable: true,
        error: undefined,
      });
    }),
  );
});

it('reads a chunked body with extensions and trailers, however it is cut', () => {
  const extension = fc.constantFrom('', ' ', ';a=b', ' ;q="x"');
  const trailer = fc.constantFrom('', 'x-end: 1\r\n', 'a: 1\r\nb: 2\r\n');
  fc.assert(
    fc.property(interim, chunks, extension, trailer, cuts, (before, parts, added, end, at) => {
      const wire = Buffer.from(`${before}${head('Transfer-Encoding: Chunked')}${chunked(parts, added, end)}`, 'latin1');
      expect(read(wire, at)).toEqual({
        events: [HEAD_EVENT({ 'transfer-encoding': 'Chunked' }), 'complete'],
        body: parts.join(''),
        reusable: true,
        error: undefined,
      });
    }),
  );
});

it('does not tell the length that stands beside chunks, and does not use the connection again', () => {
  const wire = Buffer.from(`${head('content-length: 3\r\ntransfer-encoding: chunked')}${chunked(['hello'], '', '')}`);
  const events = [HEAD_EVENT({ 'transfer-encoding': 'chunked' }), 'complete'];
  expect(read(wire, [])).toEqual({ events, body: 'hello', reusable: false, error: undefined });
});

it('reads a body that ends with the connection, however it is cut, and does not use that again', () => {
  fc.assert(
    fc.property(bytes, cuts, (body, at) => {
      const wire = Buffer.from(`${head('server: x')}${body}`, 'latin1');
      const all = { events: [HEAD_EVENT({ server: 'x' })], body, reusable: undefined, error: undefined };
      expect(read(wire, at)).toEqual(all);
      expect(read(wire, at, true)).toEqual({ ...all, events: [...all.events, 'complete'], reusable: false });
    }),
  );
});

it('never takes a part for the whole, and agrees with itself, wherever an answer breaks off', () => {
  const wire = Buffer.from(
    `${head('transfer-encoding: chunked')}${chunked(['hello', 'wörld'], ';x', 'a: b\r\n')}`,
    'latin1',
  );
  for (let end = 1; end < wire.length; end++) {
    const part = wire.subarray(0, end);
    const whole = read(part, [], true);
    expect(whole.events).not.toContain('complete');
    expect(read(part, Array.from(part.keys()), true)).toEqual(whole);
  }
});

it('reads an answer of any framing the same way wherever it is cut in two, and byte by byte', () => {
  const early = 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n';
  const body = 'hello\r\n\r\nHTTP/1.1 200 OK\r\n\r\n0\r\n\r\n';
  for (const answer of [
    `${head(`content-length: ${body.length}`)}${body}`,
    `${head('transfer-encoding: chunked')}${chunked(['a', body], ';a=b', 'x-end: 1\r\n')}`,
    `${head('server: x')}${body}`,
    'HTTP/1.1 204 No Content\r\n\r\n',
  ]) {
    const wire = Buffer.from(early + answer, 'latin1');
    const whole = read(wire, [], true);
    expect(whole.error).toBeUndefined();
    expect(whole.events.at(-1)).toBe('complete');
    for (let cut = 1; cut < wire.length; cut++) expect(read(wire, [cut], true), `cut at ${cut}`).toEqual(whole);
    expect(read(wire, Array.from(wire.keys()), true)).toEqual(whole);
  }
});

it('takes a head of 64 kB and not a byte more, in whatever pieces it comes', () => {
  const ofLength = (length: number) => {
    const begin = 'HTTP/1.1 204 No Content\r\na: ';
    return Buffer.from(`${begin}${'x'.repeat(length - begin.length)}\r\n\r\n`);
  };
  const limit = 64 * 1024;
  for (const at of [[], [100], [limit - 1], [limit], [limit + 1], [limit + 2], [limit + 3], [9, 60_000, limit + 2]]) {
    expect(read(ofLength(limit), at).events.at(-1), `${at}`).toBe('complete');
    expect(read(ofLength(limit + 1), at), `${at}`).toMatchObject({ events: [], error: expect.any(ProtocolError) });
  }
});

it('reads any bytes at all the same way, whole or one by one', () => {
  const pieces = fc.array(
    fc.oneof(
      fc.constantFrom(
        'HTTP/1.1 200 OK\r\n',
        'HTTP/1.0 200 OK\r\n',
        '\r\n',
        'content-length: 3\r\n',
        'transfer-encoding: chunked\r\n',
      ),
      fc.constantFrom('3\r\n', 'abc', '0\r\n', ' ', ':', '\n', '\r', 'connection: close\r\n', 'x: y\r\n'),
      bytes,
    ),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(pieces, (parts) => {
      const wire = Buffer.from(`HTTP/1.1 200 OK\r\n${parts.join('')}`, 'latin1');
      const whole = read(wire, []);
      const single = read(wire, Array.from(wire.keys()));
      // What is left over behind an answer is known only when it has come.
      expect({ ...single, reusable: undefined, error: undefined }).toEqual({
        ...whole,
        reusable: undefined,
        error: undefined,
      });
      if (single.reusable !== whole.reusable) expect(single.error).toBeInstanceOf(ProtocolError);
      if (whole.error !== undefined) expect(single.error).toBeInstanceOf(ProtocolError);
    }),
  );
});

it.each([
  ['no status line', 'hello\r\n\r\n'],
  ['another protocol', 'HTTP/2 200 OK\r\n\r\n'],
  ['a status that is none', 'HTTP/1.1 600 OK\r\n\r\n'],
  ['a status line with a line feed inside', 'HTTP/1.1 200 O\nK\r\n\r\n'],
  ['switched protocols', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
  ['a header without a colon', head('nonsense')],
  ['a space before the colon', head('a : b')],
  ['a folded header', head('a: b\r\n c')],
  ['a bare line feed in a header', head('a: b\nc: d')],
  ['a zero byte in a header', head('a: b\0c')],
  ['a length that is no number', head('content-length: 0x5')],
  ['a negative length', head('content-length: -1')],
  ['two lengths', head('content-length: 5\r\ncontent-length: 6')],
  ['an unknown coding', head('transfer-encoding: gzip, chunked')],
  ['chunked twice', head('transfer-encoding: chunked\r\ntransfer-encoding: chunked')],
  ['a chunk without a size', `${head('transfer-encoding: chunked')};x\r\n`],
  ['a chunk size that is no number', `${head('transfer-encoding: chunked')}5g\r\nhello\r\n`],
  ['a chunk size of nine digits', `${head('transfer-encoding: chunked')}000000005\r\nhello\r\n`],
  ['a chunk size that ends in a line feed', `${head('transfer-encoding: chunked')}5\nhello\r\n`],
  ['a chunk that is longer than it says', `${head('transfer-encoding: chunked')}5\r\nhello!\r\n`],
  ['an endless head', `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(20_000)}`],
  ['an endless chunk extension', `${head('transfer-encoding: chunked')}5;${'x'.repeat(20_000)}`],
  ['an endless trailer', `${head('transfer-encoding: chunked')}0\r\n${'a: b\r\n'.repeat(20_000)}`],
])('refuses %s', (_what, text) => {
  const wire = Buffer.from(text, 'latin1');
  const byBytes = read(
    wire,
    Array.from({ length: Math.ceil(wire.length / 7) }, (_, index) => 7 * index),
  );
  for (const { error, events } of [read(wire, []), byBytes]) {
    expect(error).toBeInstanceOf(ProtocolError);
    expect(events).not.toContain('complete');
  }
});

it.each([
  ['no more than it says', head('content-length: 2'), 'ok', true],
  ['something behind it', head('content-length: 2'), 'ok!', false],
  ['that closes', head('content-length: 2\r\nconnection: foo, Close'), 'ok', false],
  ['of HTTP/1.0', 'HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n', 'ok', false],
  ['of HTTP/1.0 that stays', 'HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n', 'ok', true],
  ['with a length and chunks', head('content-length: 2\r\ntransfer-encoding: chunked'), '2\r\nok\r\n0\r\n\r\n', false],
])('after an answer %s, the connection is used again or not', (_what, before, body, reusable) => {
  expect(read(Buffer.from(before + body), [])).toMatchObject({ body: 'ok', reusable, error: undefined });
});

it('has a whole answer where there can be no body', () => {
  expect(read(Buffer.from('HTTP/1.1 204 No Content\r\n\r\n'), []).events).toEqual(['204 {}', 'complete']);
});

it('reads header names that objects have by nature', () => {
  const { events } = read(Buffer.from(head('constructor: a\r\n__proto__: b\r\ncontent-length: 0')), []);
  expect(events[0]).toContain('"constructor":"a"');
});

it('has been touched once any byte has come, even of an interim answer', () => {
  const parser = new AnswerParser({ onHead() {}, onBody() {}, onComplete() {} });
  parser.begin();
  expect(parser.untouched).toBe(true);
  parser.push(Buffer.from('HTTP/1.1 100 Continue\r\n\r\n'));
  expect(parser.untouched).toBe(false);
  expect(() => {
    parser.push(Buffer.from('HTTP/1.1 204 No Content\r\n\r\n'));
    parser.push(Buffer.from('x'));
  }).toThrow(ProtocolError);
});
