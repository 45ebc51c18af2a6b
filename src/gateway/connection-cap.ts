import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** Told once on the socket, in the form of the API; a client library waits and tries again. */
const BODY = JSON.stringify({
  error: {
    message: 'Too many connections from this address. Close some, or use those that are open.',
    type: 'rate_limit_error',
    param: null,
    code: 'too_many_connections',
  },
});
const REFUSAL =
  'HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: application/json\r\n' +
  `Content-Length: ${Buffer.byteLength(BODY)}\r\n\r\n${BODY}`;

/**
 * Refuses connections of an address that has `most` already, so that one client cannot take them all. Not for a gateway behind a load balancer, whose clients all come from
 * the balancer's address.
 */
export function capConnections(server: Server, most: number): void {
  const open = new Map<string, number>();
  // What serves a connection must not see one that is refused: its request would be taken in.
  const serving = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress ?? '';
    const count = open.get(address) ?? 0;
    if (count >= most) {
      socket.on('error', () => {});
      socket.end(REFUSAL);
      socket.destroySoon();
      return;
    }
    open.set(address, count + 1);
    socket.once('close', () => {
      const left = open.get(address)! - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
    for (const serve of serving) serve.call(server, socket);
  });
}
