import type { IncomingHttpHeaders } from 'node:http';

export interface BodySink {
  /** Some of the body, at least one byte; it is the receiver's to keep. */
  onPiece(piece: Buffer): void;
  /** The whole body has come. */
  onBodyEnd(): void;
}

/** An inference request as its client sent it. */
export interface ClientRequest {
  readonly headers: IncomingHttpHeaders;
  /** Gives the body to `sink`. To be called in the turn in which the request is handed over, before any of it has come. */
  takeBody(sink: BodySink): void;
}

/** What hears of an answer's way to its client. */
export interface AnswerWatch {
  /** The client takes more again. */
  onDrain(): void;
  /** All has been written, or the client is gone: once. */
  onClosed(): void;
}

/** The answer to one inference request. What is written in one turn of the event loop leaves together, at its end ({@link ../bus/write-batch.js}). */
export interface ClientAnswer {
  /** HTTP status, once it has been set. */
  readonly statusCode: number;
  readonly headersSent: boolean;
  /** All has been written, though the last bytes may not have left. */
  readonly ended: boolean;
  /** The client is gone. */
  readonly destroyed: boolean;
  /** Bytes that the client has not taken yet. */
  readonly writableLength: number;
  /** Other answers on the same connection come first. */
  readonly waits: boolean;
  /** To be called once, before anything is written. */
  watch(watch: AnswerWatch): void;
  /** Sets the head, a flat list of names and values; it leaves with the first bytes. A streamed answer has no length. */
  begin(status: number, headers: string[], streamed: boolean): void;
  /** At least one byte of the body. Returns false when the client takes nothing more for now. */
  write(bytes: Buffer): boolean;
  end(bytes?: Buffer): void;
  /** A whole answer: head, then `end`. */
  writeHead(status: number, headers: string[]): unknown;
  /** Sends an interim response; false where the client knows none (HTTP/1.0). */
  writeInterim(): boolean;
  /** Cuts the answer off, and its connection. */
  destroy(): void;
}
