import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { InboundRequest } from './inbound-request.js';

const server = createServer({ IncomingMessage: InboundRequest });

afterEach(() => {
  server.removeAllListeners('request');
  server.closeAllConnections();
  server.close();
});

/** Sends text on one connection and returns what came until the server had answered so many requests. */
async function exchange(text: string, answers: number): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.write(text);
  let received = '';
  for await (const bytes of socket) {
    received += String(bytes);
    if (received.split('HTTP/1.1 200').length > answers) break;
  }
  return received;
}

const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

describe('a request', () => {
  it('gives its body to its reader, and the next one of the connection follows', async () => {
    const bodies: string[] = [];
    server.on('request', (req: InboundRequest, res: ServerResponse) => {
      let body = `${req.url} `;
      req.takeBody({
        onPiece: (piece) => {
          body += String(piece);
        },
        onBodyEnd: () => {
          bodies.push(body);
          res.end();
        },
      });
    });
    const large = 'x'.repeat(200_000);
    await exchange(post('/a', 'one') + post('/b', '') + post('/c', large), 3);
    expect(bodies).toEqual(['/a one', '/b ', `/c ${large}`]);
  });

  it('is a stream where nobody takes its body', async () => {
    const bodies: string[] = [];
    server.on('request', async (req: InboundRequest, res: ServerResponse) => {
      // Of the second nobody reads anything.
      if (req.url === '/a') for await (const piece of req) bodies.push(String(piece));
      res.end();
    });
    await exchange(post('/a', 'one') + post('/b', 'two') + post('/a', 'three'), 3);
    expect(bodies).toEqual(['one', 'three']);
  });
});
