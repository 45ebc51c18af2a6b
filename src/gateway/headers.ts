import type { IncomingHttpHeaders } from 'node:http';
import { ownText } from './identity-values.js';

/**
 * Client headers that go on to the engine. Everything else stays here: credentials, and headers with which a caller could overrule us
 * inside the engine (`x-vllm-priority`, `x-data-parallel-rank`, endpoint pickers).
 */
const FORWARDED: ReadonlySet<string> = new Set([
  'traceparent',
  'tracestate',
  'baggage',
  'x-session-id',
  'session-id',
  'session_id',
  'x-parent-session-id',
  'x-session-affinity',
  'x-correlation-id',
  'anthropic-version',
  'anthropic-beta',
  'x-claude-code-session-id',
  'x-claude-code-agent-id',
  'x-claude-code-parent-agent-id',
  'x-dynamo-session-id',
  'x-dynamo-parent-session-id',
]);

/** Headers of the engine's answer that end here: hop-by-hop ones (RFC 9110 §7.6.1), and those that we set ourselves. */
const DROPPED: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'server',
  'date',
  'x-request-id',
  'set-cookie',
]);

/** Headers of the call to the engine, as a flat list of names and values. `priority` where it cannot stand in the body, `rank` where we choose the engine's data-parallel rank. */
export function upstreamHeaders(
  client: IncomingHttpHeaders,
  requestId: string,
  authorization: string | undefined,
  priority: string | undefined,
  rank: number | undefined,
): string[] {
  const headers = ['content-type', 'application/json', 'x-request-id', requestId];
  if (authorization !== undefined) headers.push('authorization', authorization);
  if (priority !== undefined) headers.push('x-vllm-priority', priority);
  if (rank !== undefined) headers.push('x-data-parallel-rank', String(rank));
  for (const name in client) {
    if (!FORWARDED.has(name)) continue;
    const value = client[name];
    if (typeof value === 'string') headers.push(name, value);
  }
  return headers;
}

/** Headers with which caches and proxies let a stream through as it comes. */
export const UNBUFFERED = ['cache-control', 'no-cache', 'x-accel-buffering', 'no'] as const;

/** The head of an answer: our own headers, to which those of the engine are added. */
export function answerHeaders(own: string[], upstream: IncomingHttpHeaders, streamed: boolean): string[] {
  if (streamed) own.push(...UNBUFFERED);
  copyAnswerHeaders(upstream, streamed, own);
  return own;
}

/** Adds the engine's answer headers that the client gets to `to`. A streamed answer may lose a frame, so its length is not passed on. */
export function copyAnswerHeaders(upstream: IncomingHttpHeaders, streamed: boolean, to: string[]): void {
  const { connection } = upstream;
  const named = typeof connection === 'string' ? connection.toLowerCase().split(/\s*,\s*/) : [];
  for (const name in upstream) {
    if (DROPPED.has(name) || named.includes(name)) continue;
    if (streamed && (name === 'content-length' || name === 'cache-control')) continue;
    const value = upstream[name];
    if (typeof value === 'string') to.push(name, value);
    else if (Array.isArray(value)) for (const each of value) to.push(name, each);
  }
}

/** Shape of an inbound request id that is safe to echo, log and send on. */
const REQUEST_ID = /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/;

/** The client's own request id when it is sane, else undefined. */
export function inboundRequestId(headers: IncomingHttpHeaders): string | undefined {
  const value = headers['x-request-id'];
  return typeof value === 'string' && REQUEST_ID.test(value) ? ownText(value) : undefined;
}
