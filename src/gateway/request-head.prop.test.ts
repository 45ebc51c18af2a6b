import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readPlainHead } from './request-head.js';

const server = createServer();
beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** What Node's parser makes of a head; undefined where it refuses it. */
async function readByNode(head: string) {
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.on('error', () => {}).resume();
  const asked = once(server, 'request').then(([req]) => req as IncomingMessage);
  const refused = once(socket, 'close').then(() => undefined);
  socket.write(`${head}\r\n\r\n`, 'latin1');
  const request = await Promise.race([asked, refused]);
  socket.destroy();
  return request;
}

const NAMES = [
  'Accept',
  'user-agent',
  'X-Maestro-Workflow',
  'authorization',
  '__proto__',
  'X_y',
  'te',
  'Expect',
  'a b',
];
const LINES = ['Host: a', 'content-length: 0', 'Content-Length: 12 ', 'Connection: keep-alive', 'connection: Close'];
const VALUES = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'Z', ' ', '\t', ':', ',', '"', '\\', 'é', '\x7f'), maxLength: 6 }),
  fc.constantFrom('', '  padded\t', '\rx', '\nx', 'x\0', ' , '),
);
const FIELD = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...LINES) },
  fc
    .tuple(fc.constantFrom(...NAMES), fc.constantFrom(':', ': ', ' :', ''), VALUES)
    .map(([name, colon, value]) => name + colon + value),
  fc.constantFrom(
    'Transfer-Encoding: chunked',
    'Upgrade: h2c',
    ' folded',
    'content-length: +1',
    'Content-Length: 1, 1',
  ),
);
const REQUEST_LINE = fc.oneof(
  { weight: 6, arbitrary: fc.constant('POST /v1/chat/completions HTTP/1.1') },
  fc.constantFrom('POST /a?b=%20c#d HTTP/1.1', 'POST //x HTTP/1.1', 'POST /é HTTP/1.1', 'POST /a b HTTP/1.1'),
  fc.constantFrom('GET / HTTP/1.1', 'post / HTTP/1.1', 'POST / HTTP/1.0', 'POST  / HTTP/1.1', 'POST * HTTP/1.1', ''),
);

it('a head that is taken here is read by Node in the same way', async () => {
  let taken = 0;
  await fc.assert(
    fc.asyncProperty(REQUEST_LINE, fc.array(FIELD, { maxLength: 6 }), async (line, rest) => {
      const head = [line, 'host: h', 'content-length: 3', ...rest].slice(0, rest.length + 2).join('\r\n');
      const plain = readPlainHead(head);
      if (!plain) return;
      taken++;
      const request = await readByNode(head);
      expect(request).toBeDefined();
      expect(plain).toEqual({
        method: request!.method,
        url: request!.url,
        headers: { ...request!.headers },
        bodyBytes: Number(request!.headers['content-length']),
      });
      expect(request!.headers['transfer-encoding']).toBeUndefined();
      expect(request!.rawHeaders.length / 2).toBe(Object.keys(plain.headers).length);
    }),
    { numRuns: 1500, seed: 7 },
  );
  expect(taken).toBeGreaterThan(200);
});
