import type { IncomingHttpHeaders } from 'node:http';
import type { Socket } from 'node:net';
import type { BodySink, ClientRequest } from './client-answer.js';
import { type AnswerConnection, PlainAnswer } from './plain-answer.js';
import { type PlainHead, readPlainHead } from './request-head.js';

/** Wall milliseconds, except the first. */
export interface ConnectionLimits {
  readonly headerBytes: number;
  readonly headersMs: number;
  readonly bodyMs: number;
  readonly keepAliveMs: number;
}

export interface ConnectionHost {
  readonly limits: ConnectionLimits;
  /** Fields of every head that leaves its connection open, each with its line end. */
  readonly keepAlive: string;
  /** Connections end with the answer that they carry. */
  readonly closing: boolean;
  nowMs(): number;
  /** Begins to serve a request, in this turn; undefined where it is not one that is served here. */
  serverOf(head: PlainHead): ((request: ClientRequest, answer: PlainAnswer) => void) | undefined;
  /** Takes the connection over, with what has been read of its next request. */
  takeOver(connection: ClientConnection, bytes: Buffer): void;
  /** A request did not come in time. */
  late(socket: Socket): void;
  gone(connection: ClientConnection): void;
}

const HEAD_END = Buffer.from('\r\n\r\n');
/** Of requests that a client sends before it has its answer, so much is read, and what came with it. While no more is read nobody sees the client leave. */
const MOST_AHEAD_BYTES = 16 * 1024;

/**
 * - `idle`: nothing of a request has come, `new` of the first one;
 * - `body`: a request has begun and its body is not complete;
 * - `answering`: it is complete, and its answer has not left;
 * - `refused`: its answer has left before its body has come, and what comes of that is thrown away. To close at once would reset the connection, and a client that is
 *   still sending would hear of that in place of its answer (RFC 9112, section 9.6);
 * - `ended`: it is closed once all has left. The rest of a body must not be taken for a request.
 */
type State = 'new' | 'idle' | 'body' | 'answering' | 'refused' | 'ended';

/**
 * One client's connection as long as its requests are plain: complete heads that can be read in one way only ({@link readPlainHead}), one after the other, for an inference route. Whatever else
 * comes, Node's HTTP server gets the connection, with all that has been read of that request, and keeps it. Source for having both: to read and answer a small request takes Node's
 * server twice the CPU (docs/research/door.md).
 */
export class ClientConnection implements AnswerConnection {
  state: State = 'new';
  /** When the state began, wall milliseconds; of a body, when its head had come. */
  private sinceMs: number;
  private request: PlainRequest | undefined;
  private answer: PlainAnswer | undefined;
  private ahead: Buffer[] = [];
  private aheadBytes = 0;

  constructor(
    readonly socket: Socket,
    private readonly host: ConnectionHost,
  ) {
    this.sinceMs = host.nowMs();
    socket.on('data', this.onData);
    socket.on('end', this.onEnd);
    socket.on('error', this.onError);
    socket.on('drain', this.onDrain);
    socket.on('close', this.onClose);
  }

  get keepAlive(): string {
    return this.host.closing || this.state === 'body' ? 'Connection: close\r\n' : this.host.keepAlive;
  }

  /** Ends what has taken too long. Called every now and then. */
  checkTimeouts(nowMs: number): void {
    const { headersMs, bodyMs, keepAliveMs } = this.host.limits;
    const tookMs = nowMs - this.sinceMs;
    if (this.state === 'idle') {
      if (tookMs > keepAliveMs) this.socket.destroy();
    } else if (this.state === 'refused') {
      if (tookMs > bodyMs) this.socket.destroy();
    } else if (this.state === 'new' ? tookMs > headersMs : this.state === 'body' && tookMs > bodyMs) {
      this.expire();
    }
  }

  /** Nothing is read here any more. */
  release(): void {
    const { socket } = this;
    socket.off('data', this.onData);
    socket.off('end', this.onEnd);
    socket.off('error', this.onError);
    socket.off('drain', this.onDrain);
    socket.off('close', this.onClose);
  }

  answered(last: boolean): void {
    const { answer, socket } = this;
    if (!answer) return;
    const early = this.state === 'body';
    const over = last || this.state !== 'answering' || this.host.closing;
    this.answer = undefined;
    this.request = undefined;
    this.enter(early ? 'refused' : over ? 'ended' : 'idle');
    answer.closed();
    if (early) socket.end();
    else if (over) socket.destroySoon();
    else if (this.aheadBytes > 0) this.giveUp(Buffer.concat(this.ahead));
  }

  private enter(state: State): void {
    this.state = state;
    this.sinceMs = this.host.nowMs();
  }

  private expire(): void {
    this.state = 'ended';
    // Written into an answer that has begun, it would be taken for a part of that.
    if (this.answer?.headersSent) this.socket.destroy();
    else this.host.late(this.socket);
  }

  private readonly onData = (bytes: Buffer): void => {
    if (this.state === 'new' || this.state === 'idle') this.begin(bytes);
    else if (this.state === 'body') this.readBody(bytes, 0);
    else if (this.state === 'answering') this.keepAhead(bytes);
  };

  private begin(bytes: Buffer): void {
    const end = bytes.indexOf(HEAD_END);
    const isWhole = end >= 0 && end <= this.host.limits.headerBytes;
    const head = isWhole ? readPlainHead(bytes.toString('latin1', 0, end)) : undefined;
    const bodyAt = end + HEAD_END.length;
    // Several requests of one read are for Node's server, which does not make one wait for the other.
    const alone = head && bodyAt + head.bodyBytes >= bytes.length;
    const serve = alone ? this.host.serverOf(head) : undefined;
    if (!serve) {
      this.giveUp(bytes);
      return;
    }
    this.enter('body');
    this.request = new PlainRequest(head!);
    this.answer = new PlainAnswer(this);
    serve(this.request, this.answer);
    this.readBody(bytes, bodyAt);
  }

  private readBody(bytes: Buffer, from: number): void {
    const request = this.request!;
    const to = Math.min(bytes.length, from + request.missingBytes);
    if (to > from) request.push(bytes.subarray(from, to));
    if (request.missingBytes === 0) {
      this.enter('answering');
      request.finish();
    }
    if (to < bytes.length) this.keepAhead(bytes.subarray(to));
  }

  /** The client does not wait for its answer; the next request is read when that has left. */
  private keepAhead(bytes: Buffer): void {
    this.ahead.push(bytes);
    this.aheadBytes += bytes.length;
    if (this.aheadBytes >= MOST_AHEAD_BYTES) this.socket.pause();
  }

  private giveUp(bytes: Buffer): void {
    this.release();
    this.socket.resume();
    this.host.takeOver(this, bytes);
  }

  /** A client that has closed its side waits for nothing. */
  private readonly onEnd = (): void => {
    this.socket.destroy();
  };

  private readonly onError = (): void => {};

  private readonly onDrain = (): void => {
    this.answer?.drained();
  };

  private readonly onClose = (): void => {
    const { answer } = this;
    this.answer = undefined;
    this.host.gone(this);
    answer?.closed();
  };
}

class PlainRequest implements ClientRequest {
  readonly headers: IncomingHttpHeaders;
  missingBytes: number;
  private sink: BodySink | undefined;

  constructor(head: PlainHead) {
    this.headers = head.headers;
    this.missingBytes = head.bodyBytes;
  }

  takeBody(sink: BodySink): void {
    this.sink = sink;
  }

  push(piece: Buffer): void {
    this.missingBytes -= piece.length;
    this.sink?.onPiece(piece);
  }

  finish(): void {
    this.sink?.onBodyEnd();
  }
}
