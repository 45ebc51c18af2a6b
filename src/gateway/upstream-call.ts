import type { IncomingHttpHeaders } from 'node:http';
import { type Dispatcher, errors } from 'undici';
import type { StageStart } from '../bus/contract.js';
import { type AnswerFacts, JsonTail } from './answer-facts.js';
import type { BrokenStream } from './answers.js';
import type { ApiDialect } from './routes.js';
import { SseRelay } from './sse-relay.js';

/** The id stands first in a whole answer of the Responses API. */
const RESPONSE_ID = /^\{\s*"id":\s?"([A-Za-z0-9._:@-]{1,128})"/;

/** Longest error body of an engine that is read. */
const MAX_ERROR_BYTES = 64 * 1024;

/** Times that a request is sent again because its connection turned out to be closed. The next idle one of the pool may be too. */
const MAX_RESENDS = 3;

export interface UpstreamHead {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The answer is an SSE stream. */
  readonly streamed: boolean;
}

/** How a call to an engine ended. */
export type UpstreamEnd =
  /** All came. `rest` has not been handed on yet. */
  | { readonly kind: 'complete'; readonly facts: AnswerFacts; readonly rest: readonly Buffer[] }
  /** Not a byte of the request was sent, so nothing ran. */
  | { readonly kind: 'unsent'; readonly cause: Error }
  /** The engine answered with an error status. */
  | {
      readonly kind: 'refusal';
      readonly status: number;
      readonly headers: IncomingHttpHeaders;
      readonly body: Buffer;
    }
  /** The request was sent and no whole answer came. `told` when the engine itself sent an error event that has been handed on. */
  | {
      readonly kind: 'broken';
      readonly reason: 'connection-lost' | 'truncated' | 'error-frame';
      readonly rest: readonly Buffer[];
      readonly told: boolean;
      readonly facts: AnswerFacts;
      readonly cause: Error | undefined;
    };

export interface UpstreamSink {
  /** The engine sent something: bytes that need not make up content yet. */
  onActivity(): void;
  /** Bytes for the client, at least one. Several events of one read come together. */
  onContent(pieces: readonly Buffer[]): void;
  /** The end, once, unless the call was aborted. */
  onUpstreamEnd(end: UpstreamEnd): void;
}

/** One call to one engine: an undici handler that turns the answer into content and exactly one end. */
export class UpstreamCall implements Dispatcher.DispatchHandler {
  head: UpstreamHead | undefined;
  private controller: Dispatcher.DispatchController | undefined;
  /** The call has ended or was aborted. */
  over = false;
  private relay: SseRelay | undefined;
  private tail: JsonTail | undefined;
  private refusal: Buffer[] | undefined;
  private refusalBytes = 0;
  private batch: Buffer[] = [];
  private firstChunk: Buffer | undefined;
  /** Sends the request. */
  private dispatch: (() => void) | undefined;
  private resends = 0;

  constructor(
    private readonly sink: UpstreamSink,
    private readonly wantsUsage: boolean,
    private readonly maxFrameBytes: number,
    private readonly dialect: ApiDialect,
  ) {}

  send(start: StageStart, path: string, headers: string[], body: Buffer): void {
    // The limits on time are the exchange's, which knows the phases; undici's own would cut a silent model after five minutes.
    const request = {
      origin: start.origin,
      path,
      method: 'POST',
      headers,
      body,
      headersTimeout: 0,
      bodyTimeout: 0,
    } as const;
    this.dispatch = () => start.dispatcher.dispatch(request, this);
    this.dispatch();
  }

  /** How far the stream has come, for an error event in it. */
  get stream(): BrokenStream {
    const { relay } = this;
    return {
      midFrame: relay?.midFrame === true,
      responseId: relay?.responseId,
      nextSequence: relay?.nextSequence() ?? 0,
    };
  }

  /** Id that the engine gave the answer; undefined outside of the Responses API. */
  get responseId(): string | undefined {
    if (this.dialect !== 'responses') return undefined;
    return this.relay
      ? this.relay.responseId
      : RESPONSE_ID.exec(this.firstChunk?.toString('latin1', 0, 256) ?? '')?.[1];
  }

  /** The engine has sent an error event and nothing before it. */
  get errorFirst(): boolean {
    return this.relay?.errorFirst === true;
  }

  /** Breaks the call off: its connection is closed at once, or the request never sent. Nothing is reported after it. */
  abort(reason: Error): void {
    if (this.over) return;
    this.over = true;
    this.batch = [];
    this.controller?.abort(reason);
  }

  pause(): void {
    this.controller?.pause();
  }

  resume(): void {
    if (!this.over) this.controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.over) controller.abort(new Error('the request was given up before it was sent'));
    else this.controller = controller;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    if (this.over || status < 200) return;
    const streamed = String(headers['content-type']).startsWith('text/event-stream');
    this.head = { status, headers, streamed };
    this.sink.onActivity();
    if (status >= 300) this.refusal = [];
    else if (streamed) this.relay = new SseRelay(this.wantsUsage, this.maxFrameBytes, this.dialect);
    else this.tail = new JsonTail();
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.over) return;
    this.sink.onActivity();
    if (this.refusal) {
      this.refusalBytes += chunk.length;
      if (this.refusalBytes <= MAX_ERROR_BYTES) this.refusal.push(chunk);
      return;
    }
    this.tail?.push(chunk);
    this.firstChunk ??= chunk;
    const content = this.relay ? this.relay.push(chunk) : chunk;
    if (!content) return;
    this.batch.push(content);
    // One read of the socket brings its chunks one after the other; together they make one write.
    if (this.batch.length === 1) queueMicrotask(() => this.flush());
  }

  onResponseEnd(): void {
    if (this.over) return;
    const { relay, tail, head } = this;
    if (this.refusal) {
      this.finish({
        kind: 'refusal',
        status: head!.status,
        headers: head!.headers,
        body: Buffer.concat(this.refusal),
      });
      return;
    }
    const last = relay?.end();
    if (last) this.batch.push(last);
    const rest = this.takeBatch();
    if (!relay) this.finish({ kind: 'complete', facts: tail?.read() ?? {}, rest });
    else if (relay.error) this.finish(this.broken('error-frame', rest, relay.errorTold, undefined));
    else if (relay.done) this.finish({ kind: 'complete', facts: relay.facts, rest });
    else this.finish(this.broken('truncated', rest, false, undefined));
  }

  onResponseError(_controller: Dispatcher.DispatchController, cause: Error): void {
    if (this.over) return;
    if (!this.head && this.resends < MAX_RESENDS && closedWhileIdle(cause)) {
      this.resends += 1;
      this.controller = undefined;
      this.dispatch?.();
    } else if (!this.controller) this.finish({ kind: 'unsent', cause });
    else this.finish(this.broken('connection-lost', this.takeBatch(), this.relay?.errorTold === true, cause));
  }

  private broken(
    reason: 'connection-lost' | 'truncated' | 'error-frame',
    rest: readonly Buffer[],
    told: boolean,
    cause: Error | undefined,
  ): UpstreamEnd {
    return { kind: 'broken', reason, rest, told, facts: this.relay?.facts ?? {}, cause };
  }

  private finish(end: UpstreamEnd): void {
    this.over = true;
    this.sink.onUpstreamEnd(end);
  }

  private flush(): void {
    if (this.over || this.batch.length === 0) return;
    this.sink.onContent(this.takeBatch());
  }

  private takeBatch(): readonly Buffer[] {
    const { batch } = this;
    this.batch = [];
    return batch;
  }
}

/**
 * Did the engine close a connection that had been idle, just as the request went out? It looks like this: a connection that has carried answers before breaks without
 * a byte of this one. A server without CPU time does so often, since it reads a request that came in time only after its keep-alive timer has run.
 */
function closedWhileIdle(cause: Error): boolean {
  return cause instanceof errors.SocketError && (cause.socket?.bytesRead ?? 0) > 0;
}
