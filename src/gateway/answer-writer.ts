import type { ServerResponse } from 'node:http';

const CRLF = '\r\n';
const LAST_CHUNK = '0\r\n\r\n';

/**
 * Writes an engine's answer to the client. The chunks of a stream are framed here, each as one buffer: Node's own framing makes four writes of
 * each chunk, which costs more than all else that the gateway does with an event.
 */
export class AnswerWriter {
  private framed = false;

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

  /** Returns false when the client takes nothing more for now; the response's `drain` tells when it does. */
  write(pieces: readonly Buffer[]): boolean {
    return this.res.write(this.framed ? frame(pieces, '') : join(pieces));
  }

  end(pieces: readonly Buffer[]): void {
    if (this.framed) this.res.end(pieces.length === 0 ? LAST_CHUNK : frame(pieces, LAST_CHUNK));
    else this.res.end(pieces.length === 0 ? undefined : join(pieces));
  }
}

function join(pieces: readonly Buffer[]): Buffer {
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}

/** The pieces as one HTTP chunk, and what follows it. They hold at least one byte. */
function frame(pieces: readonly Buffer[], after: string): Buffer {
  let bytes = 0;
  for (const piece of pieces) bytes += piece.length;
  const head = bytes.toString(16) + CRLF;
  const chunk = Buffer.allocUnsafe(head.length + bytes + CRLF.length + after.length);
  let offset = chunk.write(head, 0, 'latin1');
  for (const piece of pieces) offset += piece.copy(chunk, offset);
  chunk.write(CRLF + after, offset, 'latin1');
  return chunk;
}
