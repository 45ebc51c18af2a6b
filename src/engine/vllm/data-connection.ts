import type { IncomingHttpHeaders } from 'node:http';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { DataCall, DataHandler } from '../../bus/contract.js';
import { type HeldWrite, writeBatch } from '../../bus/write-batch.js';
import type { EngineAddress } from '../../model/engine-address.js';
import { ProtocolError } from './answer-head.js';
import { AnswerParser, type AnswerSink } from './answer-parser.js';
import type { EngineTls } from './engine-tls.js';

export interface ConnectionOwner {
  /** Takes the connection back: another request may go out on it. */
  idle(connection: DataConnection): void;
  /** The connection is gone. */
  gone(connection: DataConnection): void;
}

/** A connection that cannot be had by then is given up. */
const CONNECT_TIMEOUT_MS = 3_000;
const TCP_KEEP_ALIVE_MS = 60_000;

/** Up to this size, head and body go out as one string: a single write without any buffer of its own. */
const ONE_WRITE_BYTES = 8 * 1024;

/** All sockets read into this one buffer: what was read is copied out, or done with, before the next read. */
const READ_ROOM = Buffer.allocUnsafeSlow(64 * 1024);

/** One request and its answer, on one connection. */
export class ConnectionCall implements DataCall {
  constructor(
    private readonly connection: DataConnection,
    readonly head: string,
    readonly body: Buffer | undefined,
    readonly handler: DataHandler,
  ) {}

  abort(): void {
    this.connection.abandon(this);
  }

  pause(): void {
    this.connection.pause(this);
  }

  resume(): void {
    this.connection.resume(this);
  }
}

/** One connection to an engine, which carries one call at a time. */
export class DataConnection implements AnswerSink, HeldWrite {
  /** When it became idle, wall milliseconds. */
  idleSinceMs = 0;
  private readonly socket: Socket;
  private readonly parser = new AnswerParser(this);
  private call: ConnectionCall | undefined;
  private connected = false;
  private answers = 0;
  private closed = false;
  private failure: Error | undefined;
  /** Body bytes of the read that is being looked at, the first piece and what may follow it; they lie in the shared room. */
  private piece: Buffer | undefined;
  private morePieces: Buffer[] | undefined;
  /** A request that has not left yet. */
  private outgoing: ConnectionCall | undefined;

  constructor(
    address: EngineAddress,
    private readonly owner: ConnectionOwner,
    tls?: EngineTls,
  ) {
    const { host, port, secure, socketPath } = address;
    const common = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: TCP_KEEP_ALIVE_MS };
    if (secure) {
      const trust = tls ? { secureContext: tls.context() } : {};
      this.socket = connectTls({ ...common, ...trust, servername: isIP(host) ? '' : host });
      this.socket.on('data', (bytes: Buffer) => this.read(bytes));
      this.socket.once('secureConnect', () => this.opened());
    } else {
      const callback = (bytes: number) => {
        this.read(READ_ROOM.subarray(0, bytes));
        return true;
      };
      const onread = { buffer: READ_ROOM, callback };
      this.socket = connect(socketPath === undefined ? { ...common, onread } : { path: socketPath, onread });
      this.socket.once('connect', () => this.opened());
    }
    this.socket.setTimeout(CONNECT_TIMEOUT_MS, () => this.timedOut());
    this.socket.on('error', (error) => {
      this.failure ??= error;
    });
    this.socket.once('end', () => this.ended());
    this.socket.once('close', () => this.lost());
  }

  get usable(): boolean {
    return !this.closed && !this.socket.destroyed && this.socket.writable;
  }

  /** Sends a call; the connection carries none. */
  send(call: ConnectionCall): void {
    this.call = call;
    if (this.connected) this.write(call);
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** The call is no longer wanted. What still comes of its answer has nobody to go to, so the connection ends. */
  abandon(call: ConnectionCall): void {
    if (this.call !== call) return;
    this.call = undefined;
    this.socket.destroy();
  }

  pause(call: ConnectionCall): void {
    if (this.call === call) this.socket.pause();
  }

  resume(call: ConnectionCall): void {
    if (this.call === call) this.socket.resume();
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    this.call?.handler.onHead(status, headers);
  }

  onBody(bytes: Buffer): void {
    if (!this.piece) this.piece = bytes;
    else {
      this.morePieces ??= [];
      this.morePieces.push(bytes);
    }
  }

  onComplete(reusable: boolean): void {
    const { call } = this;
    const rest = this.takeBody();
    this.call = undefined;
    this.answers += 1;
    // An engine that answers before it has read the whole request leaves the rest of it in the way of the next one.
    if (reusable && this.usable && !this.outgoing && this.socket.writableLength === 0) {
      if (this.socket.isPaused()) this.socket.resume();
      this.owner.idle(this);
    } else this.socket.destroy();
    call?.handler.onEnd(rest);
  }

  private opened(): void {
    this.connected = true;
    this.socket.setTimeout(0);
    if (this.call) this.write(this.call);
  }

  private write(call: ConnectionCall): void {
    this.parser.begin();
    call.handler.onStart(call);
    // The call may have been given up just now.
    if (this.call !== call) return;
    this.outgoing = call;
    writeBatch.add(this);
  }

  /** Lets the request go. */
  release(): void {
    const { socket, outgoing } = this;
    this.outgoing = undefined;
    if (!outgoing || outgoing !== this.call) return;
    const { body, head } = outgoing;
    if (body && body.length <= ONE_WRITE_BYTES) socket.write(head + body.toString('latin1'), 'latin1');
    else if (!body) socket.write(head, 'latin1');
    else {
      socket.cork();
      socket.write(head, 'latin1');
      socket.write(body);
      socket.uncork();
    }
  }

  private read(bytes: Buffer): void {
    const { call } = this;
    try {
      this.parse(bytes);
      const body = this.takeBody();
      if (body) this.call?.handler.onData(body);
    } catch (thrown) {
      this.fault(call, thrown);
    }
  }

  private parse(bytes: Buffer): void {
    try {
      this.parser.push(bytes);
    } catch (thrown) {
      // Anything else was thrown by who hears of the answer.
      if (!(thrown instanceof ProtocolError)) throw thrown;
      this.failure ??= thrown;
      this.socket.destroy();
    }
  }

  /** The listener of a call has thrown. A connection whose answer was whole by then carries others on. */
  private fault(call: ConnectionCall | undefined, thrown: unknown): void {
    if (!call) throw thrown;
    this.abandon(call);
    call.handler.onFault(thrown);
  }

  /** The body bytes of one read, together and in memory of their own. */
  private takeBody(): Buffer | undefined {
    const { piece, morePieces } = this;
    if (!piece) return undefined;
    this.piece = undefined;
    if (!morePieces) return Buffer.from(piece);
    this.morePieces = undefined;
    return Buffer.concat([piece, ...morePieces]);
  }

  private timedOut(): void {
    this.failure ??= Object.assign(new Error('the engine did not take the connection in time'), { code: 'ETIMEDOUT' });
    this.socket.destroy();
  }

  /** The engine sends no more. */
  private ended(): void {
    const { call } = this;
    this.closed = true;
    try {
      this.parser.close();
    } catch (thrown) {
      this.fault(call, thrown);
    }
    this.socket.destroy();
  }

  private lost(): void {
    this.closed = true;
    this.owner.gone(this);
    const { call, failure } = this;
    this.call = undefined;
    if (!call) return;
    const unanswered = !(failure instanceof ProtocolError) && this.answers > 0 && this.parser.untouched;
    try {
      call.handler.onError(failure ?? new Error('the engine closed the connection'), unanswered);
    } catch (thrown) {
      this.fault(call, thrown);
    }
  }
}
