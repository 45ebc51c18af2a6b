import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Calls `closed` once when an answer is all written or its client is gone. Where a client has sent several requests at once, their answers wait for each other, and
 * Node tells those that wait nothing of the end of their connection.
 */
export function onceClosed(req: IncomingMessage, res: ServerResponse, closed: () => void): void {
  if (res.socket) {
    res.once('close', closed);
    return;
  }
  const { socket } = req;
  const once = () => {
    res.off('close', once);
    socket.off('close', once);
    closed();
  };
  res.once('close', once);
  // One for each request that waits, and Node bounds those by the bytes of their answers.
  socket.setMaxListeners(0);
  socket.once('close', once);
}
