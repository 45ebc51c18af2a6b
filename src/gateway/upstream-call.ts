import type { IncomingHttpHeaders } from 'node:http';
import type { DataCall, DataHandler, StageStart } from '../bus/contract.js';
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
  /** All came. `rest` has not been handed on yet, and `facts` need not be read before it has. */
  | { readonly kind: 'complete'; readonly facts: () => AnswerFacts; readonly rest: Buffer | undefined }
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
      readonly rest: Buffer | undefined;
      readonly told: boolean;
      readonly facts: AnswerFacts;
      readonly cause: Error | undefined;
    };

export interface UpstreamSink {
  /** The engine sent something: bytes that need not make up content yet. */
  onActivity(): void;
  /** Bytes for the client, at least one. Several events of one read come together. */
  onContent(bytes: Buffer): void;
  /** The end, once, unless the call was aborted. */
  onUpstreamEnd(end: UpstreamEnd): void;
  /** Handling the answer threw: a bug of ours. */
  refuse(thrown: unknown): void;
}

/** One call to one engine: turns the answer into content and exactly one end. */
export class UpstreamCall implements DataHandler {
  head: UpstreamHead | undefined;
  /** The call has ended or was aborted. */
  over = false;
  private call: DataCall | undefined;
  private relay: SseRelay | undefined;
  private tail: JsonTail | undefined;
  private refusal: Buffer[] | undefined;
  private refusalBytes = 0;
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
    this.dispatch = () => start.dataPath.dispatch({ method: 'POST', path, headers, body }, this);
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
  abort(): void {
    if (this.over) return;
    this.over = true;
    this.call?.abort();
  }

  pause(): void {
    if (!this.over) this.call?.pause();
  }

  resume(): void {
    if (!this.over) this.call?.resume();
  }

  onStart(call: DataCall): void {
    if (this.over) call.abort();
    else this.call = call;
  }

  onHead(status: number, headers: IncomingHttpHeaders): void {
    if (this.over) return;
    const streamed = String(headers['content-type']).startsWith('text/event-stream');
    this.head = { status, headers, streamed };
    this.sink.onActivity();
    if (status >= 300) this.refusal = [];
    else if (streamed) this.relay = new SseRelay(this.wantsUsage, this.maxFrameBytes, this.dialect);
    else this.tail = new JsonTail();
  }

  onData(bytes: Buffer): void {
    if (this.over) return;
    this.sink.onActivity();
    const content = this.take(bytes);
    if (content) this.sink.onContent(content);
  }

  onEnd(last: Buffer | undefined): void {
    if (this.over) return;
    const { relay, tail, head } = this;
    const content = last && this.take(last);
    if (this.refusal) {
      const body = Buffer.concat(this.refusal);
      this.finish({ kind: 'refusal', status: head!.status, headers: head!.headers, body });
      return;
    }
    const rest = together(content, relay?.end());
    if (!relay) this.finish({ kind: 'complete', facts: () => tail?.read() ?? {}, rest });
    else if (relay.error) this.finish(this.broken('error-frame', rest, relay.errorTold, undefined));
    else if (relay.done) this.finish({ kind: 'complete', facts: () => relay.facts, rest });
    else this.finish(this.broken('truncated', rest, false, undefined));
  }

  /**
   * `unanswered`: the engine has closed a connection that had been idle, just as the request went out. A server without CPU time does so often, since it
   * reads a request that came in time only after its keep-alive timer has run.
   */
  onError(cause: Error, unanswered: boolean): void {
    if (this.over) return;
    if (!this.head && this.resends < MAX_RESENDS && unanswered) {
      this.resends += 1;
      this.call = undefined;
      this.dispatch?.();
    } else if (!this.call) this.finish({ kind: 'unsent', cause });
    else this.finish(this.broken('connection-lost', undefined, this.relay?.errorTold === true, cause));
  }

  onFault(thrown: unknown): void {
    this.over = true;
    this.sink.refuse(thrown);
  }

  /** Takes what came of the answer's body; returns what of it is for the client now. */
  private take(bytes: Buffer): Buffer | undefined {
    if (this.refusal) {
      this.refusalBytes += bytes.length;
      if (this.refusalBytes <= MAX_ERROR_BYTES) this.refusal.push(bytes);
      return undefined;
    }
    this.tail?.push(bytes);
    this.firstChunk ??= bytes;
    return this.relay ? this.relay.push(bytes) : bytes;
  }

  private broken(
    reason: 'connection-lost' | 'truncated' | 'error-frame',
    rest: Buffer | undefined,
    told: boolean,
    cause: Error | undefined,
  ): UpstreamEnd {
    return { kind: 'broken', reason, rest, told, facts: this.relay?.facts ?? {}, cause };
  }

  private finish(end: UpstreamEnd): void {
    this.over = true;
    this.sink.onUpstreamEnd(end);
  }
}

function together(first: Buffer | undefined, second: Buffer | undefined): Buffer | undefined {
  return first && second ? Buffer.concat([first, second]) : (first ?? second);
}
