import { connect } from 'node:net';
import type { Target } from './target.js';

/** An answer as it came over the socket. */
export interface RawAnswer {
  readonly status: number;
  /** Lower-case names; the last value of each. */
  readonly headers: Readonly<Record<string, string>>;
  /** Without chunk framing. */
  readonly body: string;
}

/** Sends bytes as they are and reads until the server closes. */
export function exchange(target: Target, bytes: Buffer, timeoutMs = 20_000): Promise<RawAnswer> {
  const { hostname, port } = new URL(target.url);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), hostname);
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no end of the answer within ${timeoutMs} ms`)));
    socket.on('connect', () => socket.write(bytes));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('end', () => {
      socket.end();
      resolve(parseAnswer(Buffer.concat(chunks)));
    });
  });
}

/** One request with a JSON body on a connection of its own. */
export function ask(
  target: Target,
  method: string,
  path: string,
  body?: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<RawAnswer> {
  const text = body === undefined ? '' : JSON.stringify(body);
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Connection: close',
    ...(body === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`]),
    ...(target.apiKey === undefined ? [] : [`Authorization: Bearer ${target.apiKey}`]),
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  return exchange(target, Buffer.from(`${lines.join('\r\n')}\r\n\r\n${text}`));
}

export function json(answer: RawAnswer): Record<string, unknown> {
  return JSON.parse(answer.body) as Record<string, unknown>;
}

function parseAnswer(raw: Buffer): RawAnswer {
  let bytes = raw;
  for (;;) {
    const end = bytes.indexOf('\r\n\r\n');
    const [statusLine = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
    const rest = bytes.subarray(end + 4);
    const status = Number(statusLine.split(' ')[1]);
    if (status === 100) {
      bytes = rest;
      continue;
    }
    const headers: Record<string, string> = {};
    for (const line of lines) {
      const colon = line.indexOf(':');
      if (colon > 0) headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
    }
    const chunked = headers['transfer-encoding']?.toLowerCase() === 'chunked';
    return { status, headers, body: (chunked ? dechunk(rest) : rest).toString('utf8') };
  }
}

function dechunk(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  let position = 0;
  while (position < bytes.length) {
    const line = bytes.indexOf('\r\n', position);
    const size = Number.parseInt(bytes.subarray(position, line).toString('latin1'), 16);
    if (!(size > 0)) break;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    position = line + 2 + size + 2;
  }
  return Buffer.concat(parts);
}
