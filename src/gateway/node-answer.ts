import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type HeldWrite, writeBatch } from '../bus/write-batch.js';
import { frame, LAST_CHUNK, STRING_BYTES } from './chunk-frame.js';
import type { AnswerWatch, ClientAnswer } from './client-answer.js';
import type { InboundRequest } from './inbound-request.js';
import { onceClosed } from './once-closed.js';

/**
 * An answer through Node's response, in as few writes as it can. The chunks of a stream are framed here, each as one piece: Node's own framing makes four of each chunk, which
 * costs more than all else that the gateway does with an event.
 */
export class NodeAnswer implements ClientAnswer, HeldWrite {
  ended = false;
  private framed = false;
  /** The socket that holds back what was written in this turn. */
  private holding: Socket | undefined;
  private ending = false;

  constructor(
    private readonly req: InboundRequest,
    private readonly res: ServerResponse,
  ) {}

  get statusCode(): number {
    return this.res.statusCode;
  }

  get headersSent(): boolean {
    return this.res.headersSent;
  }

  get destroyed(): boolean {
    return this.res.destroyed;
  }

  get writableLength(): number {
    return this.res.writableLength;
  }

  get waits(): boolean {
    return !this.res.socket;
  }

  watch(watch: AnswerWatch): void {
    const { req, res } = this;
    onceClosed(req, res, () => watch.onClosed());
    // A write to a lost client fails; its `close` says all there is to say.
    res.on('error', () => {});
    res.on('drain', () => watch.onDrain());
  }

  begin(status: number, headers: string[], streamed: boolean): void {
    const { res } = this;
    // A client of HTTP/1.0 knows no chunks; Node ends its answer by closing the connection.
    this.framed = streamed && this.knowsHttp11;
    if (this.framed) headers.push('transfer-encoding', 'chunked');
    res.writeHead(status, headers);
    if (this.framed) res.chunkedEncoding = false;
  }

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

  writeHead(status: number, headers: string[]): void {
    this.res.writeHead(status, headers);
  }

  writeInterim(): boolean {
    if (!this.knowsHttp11) return false;
    this.res.writeProcessing();
    return true;
  }

  destroy(): void {
    this.res.destroy();
  }

  release(): void {
    const { holding } = this;
    this.holding = undefined;
    holding?.uncork();
    if (this.ending) this.res.end();
  }

  private get knowsHttp11(): boolean {
    const { httpVersionMajor, httpVersionMinor } = this.req;
    return httpVersionMajor === 1 && httpVersionMinor >= 1;
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
