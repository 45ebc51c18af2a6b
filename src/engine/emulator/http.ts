import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { detail, HttpError, internalError } from './http-error.js';

export interface Call {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
  readonly reply: Reply;
  /** What stands at `{id}` in the path of the route. */
  readonly parameter?: string;
  /** The whole body. */
  body(): Promise<Buffer>;
}

export type Handler = (call: Call) => void | Promise<void>;
/** Path to method to handler. */
export type Routes = ReadonlyMap<string, Readonly<Record<string, Handler>>>;

/** How headers are written; see {@link Reply}. */
export interface ReplyOptions {
  /** --enable-request-id-headers: every answer carries the request's id, made up when the client sent none. */
  readonly requestIds: boolean;
  /** Every origin is allowed: the default of 0.29, but not of 0.32. */
  readonly anyOrigin: boolean;
}

let dateSecond = 0;
let dateText = '';

function dateNow(): string {
  const second = Math.floor(Date.now() / 1000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateText = new Date(second * 1000).toUTCString();
  }
  return dateText;
}

/** One answer with uvicorn's headers, in its order and spelling. */
export class Reply {
  private streaming = false;
  ended = false;

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly options: ReplyOptions,
  ) {}

  /** Calls `listener` when the connection closes before the answer is complete. */
  onAbandoned(listener: () => void): void {
    this.response.on('close', () => {
      if (!this.ended) listener();
    });
  }

  empty(status = 200): void {
    this.send(status, [], '', true);
  }

  json(status: number, body: string, vary = true, first: readonly string[] = []): void {
    this.send(status, ['content-type', 'application/json'], body, vary, first);
  }

  text(status: number, contentType: string, body: string): void {
    this.send(status, ['content-type', contentType], body, true);
  }

  /** Headers come before `content-length` when given in `first`. */
  send(status: number, typed: readonly string[], body: string, vary: boolean, first: readonly string[] = []): void {
    if (this.ended) return;
    this.ended = true;
    const length = ['content-length', String(Buffer.byteLength(body))];
    this.head(status, [...first, ...length, ...typed], vary);
    this.response.end(body);
  }

  startStream(): void {
    if (this.ended || this.streaming) return;
    this.streaming = true;
    this.head(200, ['content-type', 'text/event-stream; charset=utf-8'], true, ['transfer-encoding', 'chunked']);
    // The headers of a stream leave when it is accepted, not with its first token.
    this.response.flushHeaders();
  }

  write(frame: string): void {
    if (!this.ended) this.response.write(frame);
  }

  endStream(): void {
    if (this.ended) return;
    this.ended = true;
    this.response.end();
  }

  /** What has been written arrives: the server that writes is another process than the engine that dies. */
  cut(): void {
    this.ended = true;
    this.request.socket.destroySoon();
  }

  fail(error: unknown): void {
    if (this.streaming) {
      this.cut();
      return;
    }
    const answer = error instanceof HttpError ? error : internalError(String(error));
    this.json(answer.status, JSON.stringify(answer.body), answer.vary);
  }

  private head(status: number, headers: readonly string[], vary: boolean, last: readonly string[] = []): void {
    const { request, response } = this;
    const list = ['date', dateNow(), 'server', 'uvicorn', ...headers];
    if (request.headers.origin !== undefined && vary && this.options.anyOrigin)
      list.push('access-control-allow-origin', '*');
    if (vary) list.push('vary', 'Origin');
    if (this.options.requestIds) {
      const sent = request.headers['x-request-id'];
      list.push('x-request-id', typeof sent === 'string' ? sent : randomBytes(16).toString('hex'));
    }
    // uvicorn says `close` when it closes and nothing when it keeps alive; HTTP/1.0 is answered as 1.1.
    response.removeHeader('connection');
    response.removeHeader('date');
    response.useChunkedEncodingByDefault = true;
    const closes = /close/i.test(request.headers.connection ?? '') || request.httpVersion === '1.0';
    if (closes) list.push('connection', 'close');
    response.writeHead(status, [...list, ...last]);
  }
}

/** Starlette's routing: 404 and 405 in its own shape, and a redirect for a slash too many. */
export async function dispatch(routes: Routes, call: Call): Promise<void> {
  const { method, path, reply } = call;
  const methods = routes.get(path);
  const segments = methods ? [] : path.split('/');
  // The one kind of path with a parameter: /v1/responses/{id}, perhaps with a verb behind it.
  if (segments.length >= 4 && segments[3] !== '') {
    const pattern = [...segments.slice(0, 3), '{id}', ...segments.slice(4)].join('/');
    if (routes.has(pattern)) return dispatch(routes, { ...call, path: pattern, parameter: segments[3]! });
  }
  if (!methods) {
    const trimmed = path.replace(/\/$/, '');
    if (trimmed !== path && routes.has(trimmed)) {
      const location = `http://${call.request.headers.host ?? 'localhost'}${trimmed}`;
      reply.send(307, ['location', location], '', true);
      return;
    }
    throw detail(404, 'Not Found');
  }
  const handler = methods[method];
  if (handler) return handler(call);
  const body = JSON.stringify({ detail: 'Method Not Allowed' });
  reply.json(405, body, true, ['allow', Object.keys(methods).join(', ')]);
}

export function readAll(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
    request.on('error', reject);
    request.on('close', () => {
      if (!request.complete) reject(new Error('the client left before its request was complete'));
    });
  });
}
