import type { IncomingHttpHeaders } from 'node:http';
import { type HeaderField, HeaderFieldReader, lineEnd, noFields } from '../../model/header-fields.js';

/** What the server sent is not an HTTP/1.1 answer. */
export class ProtocolError extends Error {
  readonly code = 'HPE_INVALID';
}

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const MAX_LENGTH_DIGITS = 15;

const fields = new HeaderFieldReader();

export interface AnswerHead {
  readonly code: number;
  /** Of HTTP/1. */
  readonly minor: number;
  readonly headers: IncomingHttpHeaders;
}

/** Takes apart a status line and header fields, without the blank line after them. Throws a {@link ProtocolError}. */
export function readHead(head: string): AnswerHead {
  const statusEnd = lineEnd(head, 0);
  const { code, minor } = statusOf(head.slice(0, statusEnd));
  const headers: IncomingHttpHeaders = noFields();
  let place = 0;
  for (let at = statusEnd + 2; at <= head.length; place++) {
    const field = fields.fieldAt(head, at, place);
    if (!field) throw new ProtocolError('a header field of the answer is malformed');
    addField(headers, field);
    at += field.line.length + 2;
  }
  return { code, minor, headers };
}

interface Status {
  readonly line: string;
  readonly code: number;
  readonly minor: number;
}

/** Nearly every answer has the same. */
let lastStatus: Status = { line: 'HTTP/1.1 200 OK', code: 200, minor: 1 };

function statusOf(line: string): Status {
  if (line === lastStatus.line) return lastStatus;
  const status = STATUS_LINE.exec(line);
  if (!status) throw new ProtocolError('the answer does not begin with a status line');
  lastStatus = { line, code: Number(status[2]), minor: Number(status[1]) };
  return lastStatus;
}

/** Whether the connection stays open after the answer. */
export function mayGoOn(minor: number, connection: string | undefined): boolean {
  if (connection === undefined) return minor === 1;
  const told = connection.toLowerCase();
  return minor === 1 ? !/(^|[,\s])close($|[,\s])/.test(told) : told === 'keep-alive';
}

/** The length that a field states. Throws a {@link ProtocolError}. */
export function lengthOf(text: string): number {
  let length = 0;
  for (let index = 0; index < text.length; index++) {
    const digit = text.charCodeAt(index) - 0x30;
    if (!(digit >= 0 && digit <= 9)) throw new ProtocolError(`content-length ${text}`);
    length = 10 * length + digit;
  }
  if (text.length === 0 || text.length > MAX_LENGTH_DIGITS) throw new ProtocolError(`content-length ${text}`);
  return length;
}

function addField(headers: IncomingHttpHeaders, { name, value }: HeaderField): void {
  const before = headers[name];
  if (before === undefined) headers[name] = value;
  else if (name === 'content-length') {
    if (before !== value) throw new ProtocolError('the answer has two lengths');
  } else if (name === 'transfer-encoding' || name === 'connection') headers[name] = `${before}, ${value}`;
  else if (Array.isArray(before)) before.push(value);
  else headers[name] = [before, value];
}
