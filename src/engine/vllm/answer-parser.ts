import type { IncomingHttpHeaders } from 'node:http';
import { lengthOf, mayGoOn, ProtocolError, readHead } from './answer-head.js';

/** What hears of an answer as it is read. The calls of one answer come in the order head, body (any number), complete. */
export interface AnswerSink {
  onHead(status: number, headers: IncomingHttpHeaders): void;
  /** Bytes of the body, at least one, without any framing. They are valid only during the call. */
  onBody(bytes: Buffer): void;
  /** The whole answer has come; `reusable` when another request may go out on its connection. */
  onComplete(reusable: boolean): void;
}

const CR = 0x0d;
const LF = 0x0a;
const HEAD_END = Buffer.from('\r\n\r\n');
/** Longest head without the blank line at its end, whatever pieces it comes in. */
const MAX_HEAD_BYTES = 64 * 1024;
/** Longest line of a chunk's size or of a trailer, and longest trailer in all. */
const MAX_LINE_BYTES = 8 * 1024;

/** A chunk of 4 GiB is no chunk. */
const MAX_SIZE_DIGITS = 8;
const CHUNK_SIZE = /^([0-9A-Fa-f]{1,8})[\t ]*(?:;|\r$)/;

/**
 * - `idle`: no request is out; nothing may come;
 * - `head`: status line and header;
 * - `sized`: a body of known length; `until-close`: one that ends with the connection;
 * - `chunk-size`, `chunk`, `chunk-end`, `trailer`: the parts of a chunked body.
 */
type State = 'idle' | 'head' | 'sized' | 'until-close' | 'chunk-size' | 'chunk' | 'chunk-end' | 'trailer';

/**
 * Reads HTTP/1.1 answers, one after the other, from whatever pieces a socket delivers (RFC 9112). Strict where leniency would let two readers
 * differ on where an answer ends: line ends are CRLF, a chunked coding is the only transfer coding, lengths are digits and agree.
 */
export class AnswerParser {
  private state: State = 'idle';
  /** Part of a head or of a line that came without its end, as Latin-1. */
  private carry = '';
  private remaining = 0;
  private trailerBytes = 0;
  private reusable = true;
  /** Something of the answer has come. */
  private touched = false;

  constructor(private readonly sink: AnswerSink) {}

  /** A request goes out: an answer may come. */
  begin(): void {
    this.state = 'head';
    this.carry = '';
    this.touched = false;
  }

  /** Has nothing of the answer come yet? */
  get untouched(): boolean {
    return this.state === 'head' && !this.touched;
  }

  /** Takes what was read. Throws a {@link ProtocolError}, after which the connection is of no more use. */
  push(bytes: Buffer): void {
    this.touched = true;
    for (let at = 0; at < bytes.length; ) {
      switch (this.state) {
        case 'head':
          at = this.readHead(bytes, at);
          break;
        case 'sized':
        case 'chunk':
          at = this.readBody(bytes, at);
          break;
        case 'until-close':
          this.sink.onBody(bytes.subarray(at));
          return;
        case 'idle':
          throw new ProtocolError('the server sent something that was not asked for');
        case 'chunk-size':
          at = this.readChunkSize(bytes, at);
          break;
        case 'chunk-end':
          at = this.readChunkEnd(bytes, at);
          break;
        case 'trailer':
          at = this.readLine(bytes, at);
      }
    }
  }

  /** The connection was closed in good order. True when that is how the answer ends. */
  close(): boolean {
    if (this.state !== 'until-close') return false;
    this.state = 'idle';
    this.sink.onComplete(false);
    return true;
  }

  private readHead(bytes: Buffer, from: number): number {
    const end = this.carry === '' ? bytes.indexOf(HEAD_END, from) : -1;
    if (end >= 0) {
      checkHeadLength(end - from);
      const next = end + HEAD_END.length;
      return this.beginBody(bytes.toString('latin1', from, end), bytes, next);
    }
    const before = this.carry.length;
    this.carry += bytes.toString('latin1', from);
    const carriedEnd = this.carry.indexOf('\r\n\r\n', Math.max(0, before - 3));
    if (carriedEnd < 0) {
      // The last three may belong to its end.
      checkHeadLength(this.carry.length - 3);
      return bytes.length;
    }
    checkHeadLength(carriedEnd);
    const head = this.carry.slice(0, carriedEnd);
    this.carry = '';
    return this.beginBody(head, bytes, from + carriedEnd + HEAD_END.length - before);
  }

  /** Understands the head; returns `next`, where the body begins, or the end of `bytes` when the answer has no body. */
  private beginBody(head: string, bytes: Buffer, next: number): number {
    const { code, minor, headers } = readHead(head);
    if (code < 200) {
      if (code === 101) throw new ProtocolError('the server switched protocols');
      return next;
    }
    this.reusable = mayGoOn(minor, headers.connection);
    const coding = headers['transfer-encoding'];
    const length = headers['content-length'];
    if (coding !== undefined) {
      if (String(coding).toLowerCase() !== 'chunked') throw new ProtocolError(`transfer coding ${coding}`);
      // Both: somebody on the way may have read the other one, which must not go on (RFC 9112, section 6.3).
      if (length !== undefined) {
        this.reusable = false;
        delete headers['content-length'];
      }
      this.state = 'chunk-size';
    } else if (length !== undefined) {
      this.state = 'sized';
      this.remaining = lengthOf(length);
    } else this.state = 'until-close';
    const empty = code === 204 || code === 304 || (this.state === 'sized' && this.remaining === 0);
    this.sink.onHead(code, headers);
    return empty ? this.complete(bytes, next) : next;
  }

  private readBody(bytes: Buffer, from: number): number {
    const end = Math.min(bytes.length, from + this.remaining);
    this.sink.onBody(bytes.subarray(from, end));
    this.remaining -= end - from;
    if (this.remaining > 0) return end;
    if (this.state === 'sized') return this.complete(bytes, end);
    this.state = 'chunk-end';
    return end;
  }

  private readChunkSize(bytes: Buffer, from: number): number {
    // Nearly all are a few digits and a line end, in one piece.
    let size = 0;
    let at = from;
    for (let digit = hexDigit(bytes[at]); digit >= 0 && at < from + MAX_SIZE_DIGITS; digit = hexDigit(bytes[at])) {
      size = 16 * size + digit;
      at += 1;
    }
    if (at === from || this.carry !== '' || bytes[at] !== CR || bytes[at + 1] !== LF) return this.readLine(bytes, from);
    this.beginChunk(size);
    return at + 2;
  }

  private readChunkEnd(bytes: Buffer, from: number): number {
    if (this.carry !== '' || bytes[from] !== CR || bytes[from + 1] !== LF) return this.readLine(bytes, from);
    this.state = 'chunk-size';
    return from + 2;
  }

  /** Reads a line of the framing, which may come in pieces. */
  private readLine(bytes: Buffer, from: number): number {
    const end = bytes.indexOf(LF, from);
    const line = this.carry + bytes.toString('latin1', from, end < 0 ? bytes.length : end);
    if (line.length > MAX_LINE_BYTES) throw new ProtocolError('a line of the answer is too long');
    if (end < 0) {
      this.carry = line;
      return bytes.length;
    }
    this.carry = '';
    if (!line.endsWith('\r')) throw new ProtocolError('a line of the answer ends without a carriage return');
    if (this.state === 'chunk-size') {
      const size = CHUNK_SIZE.exec(line);
      if (!size) throw new ProtocolError('a chunk does not begin with its size');
      this.beginChunk(Number.parseInt(size[1]!, 16));
    } else if (this.state === 'chunk-end') {
      if (line !== '\r') throw new ProtocolError('a chunk is longer than it says');
      this.state = 'chunk-size';
    } else if (line === '\r') return this.complete(bytes, end + 1);
    else {
      this.trailerBytes += line.length;
      if (this.trailerBytes > MAX_LINE_BYTES) throw new ProtocolError('the trailer of the answer is too long');
    }
    return end + 1;
  }

  private beginChunk(size: number): void {
    this.remaining = size;
    this.trailerBytes = 0;
    this.state = size === 0 ? 'trailer' : 'chunk';
  }

  /** The answer ends at `end`. What follows was not asked for, so the connection is not used again. */
  private complete(bytes: Buffer, end: number): number {
    this.state = 'idle';
    this.sink.onComplete(this.reusable && end === bytes.length);
    return bytes.length;
  }
}

function checkHeadLength(bytes: number): void {
  if (bytes > MAX_HEAD_BYTES) throw new ProtocolError('the head of the answer is too long');
}

/** Value of a hexadecimal digit; -1 for anything else. */
function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
