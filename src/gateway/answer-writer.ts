import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type HeldWrite, writeBatch } from '../bus/write-batch.js';

const CRLF = '\r\n';
const LAST_CHUNK = '0\r\n\r\n';
/** Up to this size bytes are written as a string of Latin-1, which stands for any bytes: Node writes that from the stack, without a buffer of its own. */
const STRING_BYTES = 8 * 1024;

/**
 * Writes an engine's answer to the client, as few writes as it can. What comes in one turn of the event loop leaves together with the writes of other
 * requests, at its end. The chunks of a stream are framed here, each as one piece: Node's own framing makes four of each chunk, which costs more than all
 * else that the gateway does with an event.
 */
export class AnswerWriter implements HeldWrite {
  /** The answer is whole, though its last bytes may not have left. */
  ended = false;
  private framed = false;
  /** The socket that holds back what was written in this turn. */
  private holding: Socket | undefined;
  private ending = false;

  constructor(private readonly res: ServerResponse) {}

  /** Sets the head; it leaves with the first bytes. */
  begin(status: number, headers: string[], streamed: boolean): void {
    const { res } = this;
    // A client of HTTP/1.0 knows no chunks; Node ends its answer by closing the connection.
    this.framed = streamed && res.req.httpVersionMajor === 1 && res.req.httpVersionMinor >= 1;
    if (this.framed) headers.push('transfer-encoding', 'chunked');
    res.writeHead(status, headers);
    if (this.framed) res.chunkedEncoding = false;
  }

  /** At least one byte. Returns false when the client takes nothing more for now; the response's `drain` tells when it does. */
  write(bytes: Buffer): boolean {
    return this.hold(this.framed ? frame(bytes, '') : bytes);
  }

  end(bytes?: Buffer): void {
    const { res } = this;
    this.ended = true;
    if (this.framed) this.hold(bytes ? frame(bytes, LAST_CHUNK) : LAST_CHUNK);
    else if (bytes && (bytes.length > STRING_BYTES || res.chunkedEncoding)) {
      res.end(bytes);
      return;
    } else if (bytes) this.hold(bytes.toString('latin1'));
    // Given to `end`, the bytes would be followed by an empty second write; and `end` lets all that is held back go.
    if (this.holding) this.ending = true;
    else res.end();
  }

  release(): void {
    const { holding } = this;
    this.holding = undefined;
    holding?.uncork();
    if (this.ending) this.res.end();
  }

  private hold(data: Buffer | string): boolean {
    const { res } = this;
    const { socket } = res;
    if (!socket || this.holding) return res.write(data, 'latin1');
    this.holding = socket;
    socket.cork();
    const goesOn = res.write(data, 'latin1');
    writeBatch.add(this);
    return goesOn;
  }
}

/** The bytes as one HTTP chunk, and what follows it. There is at least one byte. */
function frame(bytes: Buffer, after: string): Buffer | string {
  const { length } = bytes;
  const head = length.toString(16) + CRLF;
  if (length <= STRING_BYTES) return head + bytes.toString('latin1') + CRLF + after;
  const chunk = Buffer.allocUnsafe(head.length + length + CRLF.length + after.length);
  const offset = chunk.write(head, 0, 'latin1');
  bytes.copy(chunk, offset);
  chunk.write(CRLF + after, offset + length, 'latin1');
  return chunk;
}
