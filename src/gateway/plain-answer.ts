import { STATUS_CODES, validateHeaderValue } from 'node:http';
import type { Socket } from 'node:net';
import { type HeldWrite, writeBatch } from '../bus/write-batch.js';
import { frame, LAST_CHUNK, STRING_BYTES } from './chunk-frame.js';
import type { AnswerWatch, ClientAnswer } from './client-answer.js';
import { httpDate } from './http-date.js';

/** The connection that an answer goes out on. */
export interface AnswerConnection {
  readonly socket: Socket;
  /** Fields of every head that leaves it open, each with its line end. */
  readonly keepAlive: string;
  /** The answer has left: all of it. `last`: nothing may follow it. */
  answered(last: boolean): void;
}

/** An answer on a connection that is read here ({@link ClientConnection}): head and body leave as one piece. */
export class PlainAnswer implements ClientAnswer, HeldWrite {
  statusCode = 200;
  headersSent = false;
  ended = false;
  readonly waits = false;
  private framed = false;
  private last = false;
  private watcher: AnswerWatch | undefined;
  private blocked = false;
  private held = false;
  /** What has not been given to the socket: pieces, and after them a text of Latin-1. */
  private pieces: Buffer[] | undefined;
  private text = '';
  private pieceBytes = 0;

  constructor(private readonly connection: AnswerConnection) {}

  get destroyed(): boolean {
    return this.connection.socket.destroyed;
  }

  get writableLength(): number {
    return this.pieceBytes + this.text.length + this.connection.socket.writableLength;
  }

  watch(watch: AnswerWatch): void {
    this.watcher = watch;
  }

  begin(status: number, headers: string[], streamed: boolean): void {
    this.framed = streamed || !hasLength(headers);
    if (this.framed) headers.push('transfer-encoding', 'chunked');
    this.writeHead(status, headers);
  }

  write(bytes: Buffer): boolean {
    this.put(this.framed ? frame(bytes, '') : bytes);
    const { socket } = this.connection;
    this.blocked = this.writableLength >= socket.writableHighWaterMark;
    return !this.blocked;
  }

  end(bytes?: Buffer): void {
    this.ended = true;
    if (this.framed) this.put(bytes ? frame(bytes, LAST_CHUNK) : LAST_CHUNK);
    else this.put(bytes ?? '');
  }

  /** Names are our own, or have been read as such. Throws, like Node's, where a value would be more than that. */
  writeHead(status: number, headers: string[]): void {
    let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'unknown'}\r\n`;
    for (let index = 0; index < headers.length; index += 2) {
      const [name, value] = [headers[index]!, headers[index + 1]!];
      validateHeaderValue(name, value);
      head += `${name}: ${value}\r\n`;
      if (name === 'connection' && value === 'close') this.last = true;
    }
    head += `Date: ${httpDate()}\r\n`;
    this.statusCode = status;
    this.headersSent = true;
    this.put(this.last ? `${head}\r\n` : `${head}${this.connection.keepAlive}\r\n`);
  }

  writeInterim(): boolean {
    this.put('HTTP/1.1 102 Processing\r\n\r\n');
    return true;
  }

  destroy(): void {
    this.connection.socket.destroy();
  }

  release(): void {
    const { pieces, text, connection } = this;
    const { socket } = connection;
    this.held = false;
    this.pieces = undefined;
    this.text = '';
    this.pieceBytes = 0;
    if (socket.destroyed) return;
    const flushed = this.ended ? this.flushed : undefined;
    if (pieces) {
      socket.cork();
      for (const piece of pieces) socket.write(piece);
      socket.write(text, 'latin1', flushed);
      socket.uncork();
    } else socket.write(text, 'latin1', flushed);
    if (this.blocked && socket.writableLength < socket.writableHighWaterMark) this.drained();
  }

  /** The socket takes more again. */
  drained(): void {
    if (!this.blocked) return;
    this.blocked = false;
    this.watcher?.onDrain();
  }

  /** The answer has left, or its client is gone. */
  closed(): void {
    this.watcher?.onClosed();
    this.watcher = undefined;
  }

  private readonly flushed = (error?: Error | null): void => {
    if (!error) this.connection.answered(this.last);
  };

  private put(data: Buffer | string): void {
    if (typeof data === 'string') this.text += data;
    else if (data.length <= STRING_BYTES) this.text += data.toString('latin1');
    else {
      this.pieces ??= [];
      this.pieces.push(Buffer.from(this.text, 'latin1'), data);
      this.pieceBytes += this.text.length + data.length;
      this.text = '';
    }
    if (this.held) return;
    this.held = true;
    writeBatch.add(this);
  }
}

function hasLength(headers: readonly string[]): boolean {
  for (let index = 0; index < headers.length; index += 2) if (headers[index] === 'content-length') return true;
  return false;
}
