import type { Socket } from 'node:net';

/** Told once, in the form of the API; a client library waits and tries again. */
const BODY = JSON.stringify({
  error: {
    message: 'Too many connections from this address. Close some, or use those that are open.',
    type: 'rate_limit_error',
    param: null,
    code: 'too_many_connections',
  },
});
/** The answer to a connection that is refused. */
export const TOO_MANY_CONNECTIONS =
  'HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: application/json\r\n' +
  `Content-Length: ${Buffer.byteLength(BODY)}\r\n\r\n${BODY}`;

/**
 * Counts the connections of each address, so that one client cannot take them all. Not for a gateway behind a load balancer, whose clients all come from the balancer's address.
 */
export class ConnectionCap {
  private readonly open = new Map<string, number>();

  /** @param most Connections that one address may have open; undefined: any number. */
  constructor(private readonly most: number | undefined) {}

  /** False when it is refused: what it asks must not be taken in. */
  admits(socket: Socket): boolean {
    const { open, most } = this;
    if (most === undefined) return true;
    const address = socket.remoteAddress ?? '';
    const count = open.get(address) ?? 0;
    if (count >= most) return false;
    open.set(address, count + 1);
    socket.once('close', () => {
      const left = open.get(address)! - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
    return true;
  }
}
