import type { StageStart } from '../bus/contract.js';
import type { MaestroError } from '../model/error.js';
import type { Identity } from './identity.js';
import type { ApiDialect } from './routes.js';

/** Wait that is suggested when a retryable error names none. */
const DEFAULT_RETRY_AFTER_MS = 1000;

/** What a whole answer is written to: Node's response, or an answer of ours. */
export interface WholeAnswer {
  writeHead(status: number, headers: string[]): unknown;
  end(body?: Buffer): unknown;
}

/** Answers with a JSON document. `headers` is a flat list of names and values. */
export function sendJson(res: WholeAnswer, status: number, document: unknown, headers: readonly string[] = []): void {
  sendText(res, status, 'application/json', JSON.stringify(document), headers);
}

export function sendText(
  res: WholeAnswer,
  status: number,
  contentType: string,
  text: string,
  headers: readonly string[] = [],
): void {
  const body = Buffer.from(text);
  res.writeHead(status, [...headers, 'content-type', contentType, 'content-length', String(body.length)]);
  res.end(body);
}

/** Answers with an error in OpenAI's shape: the only way an error of ours reaches a client before its answer has begun. */
export function sendError(
  res: WholeAnswer,
  error: MaestroError,
  headers: readonly string[] = [],
  dialect: ApiDialect = 'openai',
): void {
  const body = dialect === 'anthropic' ? anthropicError(error.httpStatus, error.message) : error.toBody();
  sendJson(res, error.httpStatus, body, [...headers, ...errorHeaders(error)]);
}

/** Anthropic's names for errors, by HTTP status. */
const ANTHROPIC_TYPES: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
};

/** An error in Anthropic's shape. */
export function anthropicError(status: number, message: string) {
  const type = ANTHROPIC_TYPES[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error');
  return { type: 'error', error: { type, message } };
}

function errorHeaders(error: MaestroError): string[] {
  const headers: string[] = [];
  if (error.reason !== undefined) headers.push('x-maestro-reason', error.reason);
  if (error.retryable || error.retryAfterMs !== undefined) {
    const retryAfterMs = Math.max(1, error.retryAfterMs ?? DEFAULT_RETRY_AFTER_MS);
    headers.push('retry-after', String(Math.ceil(retryAfterMs / 1000)));
  }
  if (error.code === 'invalid_api_key') headers.push('www-authenticate', 'Bearer');
  return headers;
}

/** What is known of a stream that broke off. */
export interface BrokenStream {
  /** Part of a frame has been sent whose rest will not come. */
  readonly midFrame: boolean;
  /** Id of the response and number of the next event, in the Responses API. */
  readonly responseId: string | undefined;
  readonly nextSequence: number;
}

const NOTHING_SENT: BrokenStream = { midFrame: false, responseId: undefined, nextSequence: 0 };

/** An error inside a stream that has begun: an event in the shape of its API. Nothing follows it, no `[DONE]` either. */
export function errorEvent(error: MaestroError, dialect: ApiDialect, stream = NOTHING_SENT): Buffer {
  const body = dialect === 'anthropic' ? anthropicError(error.httpStatus, error.message) : error.toBody();
  return eventOf(body, error.httpStatus, error.message, dialect, stream);
}

/** What an engine answered with an error status, in a stream of which only heartbeats have been sent. `body` is in the shape of the API. */
export function refusalEvent(status: number, body: Buffer, dialect: ApiDialect): Buffer {
  const document = JSON.parse(body.toString('utf8')) as { readonly error: { readonly message?: unknown } };
  return eventOf(document, status, String(document.error.message), dialect, NOTHING_SENT);
}

function eventOf(body: object, status: number, message: string, dialect: ApiDialect, stream: BrokenStream): Buffer {
  // A half-sent frame is closed first, so that the error stands in an event of its own.
  const before = stream.midFrame ? '\n\n' : '';
  if (dialect === 'anthropic') return Buffer.from(`${before}event: error\ndata: ${JSON.stringify(body)}\n\n`);
  if (dialect === 'openai') return Buffer.from(`${before}data: ${JSON.stringify(body)}\n\n`);
  const response = {
    id: stream.responseId ?? null,
    object: 'response',
    status: 'failed',
    error: { code: responseErrorCode(status), message },
    output: [],
  };
  const event = { type: 'response.failed', sequence_number: stream.nextSequence, response };
  return Buffer.from(`${before}event: response.failed\ndata: ${JSON.stringify(event)}\n\n`);
}

/** OpenAI's names for what fails a response. */
function responseErrorCode(status: number): string {
  if (status === 429) return 'rate_limit_exceeded';
  return status < 500 ? 'invalid_prompt' : 'server_error';
}

/** What an answer tells about the request's way, as far as it has come; a flat list of names and values. */
export function maestroHeaders(
  requestId: string,
  identity: Identity | undefined,
  start: StageStart | undefined,
  changed?: string,
): string[] {
  const headers = ['x-request-id', requestId];
  if (identity) {
    headers.push('x-maestro-workflow', identity.workflowId, 'x-maestro-identity-source', identity.source);
    headers.push('x-maestro-class', identity.sloClass.name);
    if (identity.ignored.length > 0) headers.push('x-maestro-ignored', identity.ignored.join(', '));
  }
  if (changed !== undefined) headers.push('x-maestro-parameters', changed);
  if (start) {
    headers.push('x-maestro-queue-ms', String(Math.round(start.queueMs)), 'x-maestro-node', start.nodeId);
    headers.push('x-maestro-engine', start.engineId, 'x-maestro-policy', start.policy);
    if (start.coldStartMs > 0) headers.push('x-maestro-cold-start-ms', String(Math.round(start.coldStartMs)));
  }
  return headers;
}
