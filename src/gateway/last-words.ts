import type { Socket } from 'node:net';
import type { Clock } from '../model/clock.js';

/** How long a client may take to read why it was refused. Wall milliseconds. */
const LINGER_MS = 1000;

/**
 * Writes `text` and closes the connection. What the client still sends is thrown away for {@link LINGER_MS}: to close on unread bytes would reset the connection, and
 * it would hear of that in place of the text (RFC 9112, section 9.6). A client that keeps its side open is cut off then.
 */
export function sayLast(socket: Socket, text: string, wallClock: Clock): void {
  socket.end(text);
  socket.resume();
  const cut = wallClock.after(LINGER_MS, () => socket.destroy());
  socket.once('close', () => cut.cancel());
}
