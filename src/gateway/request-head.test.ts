import { expect, it } from 'vitest';
import { readPlainHead } from './request-head.js';

const LINE = 'POST /v1/chat/completions HTTP/1.1';
const head = (...fields: string[]) => [LINE, 'Host: a', ...fields].join('\r\n');

it('reads a plain head: names in lower case, white space around values left out', () => {
  expect(readPlainHead(head('Content-Length: 12', 'X-Maestro-Role: \tplanner ', 'connection: Keep-Alive'))).toEqual({
    method: 'POST',
    url: '/v1/chat/completions',
    headers: { host: 'a', 'content-length': '12', 'x-maestro-role': 'planner', connection: 'Keep-Alive' },
    bodyBytes: 12,
  });
});

it('remembers lines, and takes none of them for another', () => {
  expect(readPlainHead(head('Content-Length: 1'))?.bodyBytes).toBe(1);
  expect(readPlainHead(head('Content-Length: 12'))?.bodyBytes).toBe(12);
  expect(readPlainHead(head('Content-Length: 1'))?.bodyBytes).toBe(1);
  expect(readPlainHead(head('Content-Length: 1').replace('/chat', ''))?.url).toBe('/v1/completions');
});

it.each([
  ['no length', head()],
  ['no host', `${LINE}\r\nContent-Length: 1`],
  ['a field twice', head('Content-Length: 1', 'content-length: 1')],
  ['two hosts', head('hOst: b', 'Content-Length: 1')],
  ['a length that is no number', head('Content-Length: 0x1')],
  ['an empty length', head('Content-Length:')],
  ['chunks', head('Transfer-Encoding: chunked', 'Content-Length: 1')],
  ['an expectation', head('Expect: 100-continue', 'Content-Length: 1')],
  ['an upgrade', head('Upgrade: h2c', 'Content-Length: 1')],
  ['a connection that is to be closed', head('Connection: close', 'Content-Length: 1')],
  ['a list of connection options', head('Connection: keep-alive, upgrade', 'Content-Length: 1')],
  ['a folded field', head('X-A: b', ' c', 'Content-Length: 1')],
  ['a space before the colon', head('X-A : b', 'Content-Length: 1')],
  ['a bare line feed', head('X-A: b\nX-B: c', 'Content-Length: 1')],
  ['a bare carriage return', head('X-A: b\rX-B: c', 'Content-Length: 1')],
  ['a null byte', head('X-A: b\0', 'Content-Length: 1')],
  ['another method', head('Content-Length: 1').replace('POST', 'PUT')],
  ['another version', head('Content-Length: 1').replace('HTTP/1.1', 'HTTP/1.0')],
  ['another form of target', head('Content-Length: 1').replace('/v1', 'http://a/v1')],
  ['an empty head', ''],
])('leaves %s to a parser that knows all of HTTP', (_what, text) => {
  expect(readPlainHead(text)).toBeUndefined();
});
