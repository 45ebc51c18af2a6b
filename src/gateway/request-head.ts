import type { IncomingHttpHeaders } from 'node:http';
import { HeaderFieldReader, lineEnd, noFields } from '../model/header-fields.js';

/** The head of a request that needs nothing but its fields to be understood. */
export interface PlainHead {
  readonly method: 'POST';
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Length of the body, bytes. */
  readonly bodyBytes: number;
}

const REQUEST_LINE = /^POST (\/[!-~]*) HTTP\/1\.1$/;
const LENGTH = /^\d{1,15}$/;
/** Fields that change how a request is read or what its connection is for, and a name that objects have a use for. */
const NOT_PLAIN: ReadonlySet<string> = new Set([
  'transfer-encoding',
  'expect',
  'upgrade',
  'trailer',
  'te',
  '__proto__',
]);

const fields = new HeaderFieldReader();
/** Most requests have the same line as the one before. */
let lastLine = { line: 'POST /v1/chat/completions HTTP/1.1', url: '/v1/chat/completions' };

/**
 * Takes a request's head apart (RFC 9112), without the blank line after it, where there is but one way to read it: POST, HTTP/1.1, one host, one length, no field twice, a connection that
 * stays open. Undefined for all else, right or wrong: that is for a parser that knows all of HTTP.
 */
export function readPlainHead(head: string): PlainHead | undefined {
  const end = lineEnd(head, 0);
  const url = urlOf(head.slice(0, end));
  if (url === undefined) return undefined;
  const headers: IncomingHttpHeaders = noFields();
  let place = 0;
  for (let at = end + 2; at <= head.length; place++) {
    const field = fields.fieldAt(head, at, place);
    if (!field || headers[field.name] !== undefined || NOT_PLAIN.has(field.name)) return undefined;
    headers[field.name] = field.value;
    at += field.line.length + 2;
  }
  const { host, connection, 'content-length': length } = headers;
  if (host === undefined || length === undefined || !LENGTH.test(length)) return undefined;
  if (connection !== undefined && connection.toLowerCase() !== 'keep-alive') return undefined;
  return { method: 'POST', url, headers, bodyBytes: Number(length) };
}

function urlOf(line: string): string | undefined {
  if (line === lastLine.line) return lastLine.url;
  const url = REQUEST_LINE.exec(line)?.[1];
  if (url !== undefined) lastLine = { line, url };
  return url;
}
