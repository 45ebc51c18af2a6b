import type { IncomingHttpHeaders } from 'node:http';
import { type ErrorCode, MaestroError } from '../model/error.js';
import { isObject, objectOf, parseJson } from '../model/json.js';
import type { OutcomeKind } from '../model/stage.js';
import { anthropicError } from './answers.js';
import { copyAnswerHeaders } from './headers.js';
import type { ApiDialect } from './routes.js';

/** How a stage that the levels turn away ends, where it is not simply `rejected`. */
export const REJECTION_KINDS: Partial<Record<ErrorCode, OutcomeKind>> = {
  deadline_exceeded: 'deadline',
  engine_failed: 'engine_failed',
  internal: 'internal',
};

/** A longer explanation is not repeated. */
const MAX_DETAIL_LENGTH = 1000;
/** What the web framework under vLLM says of a path that it does not have; which paths there are hangs on the model. */
const NO_ENDPOINT = 'Not Found';
const NO_ENDPOINT_MESSAGE =
  'The engine of this model does not serve this endpoint: embeddings need an embedding model, the others one that generates text, and a release of vLLM that has them.';

/** How an engine's error answer is shown to the client. */
export interface RefusalAnswer {
  readonly kind: OutcomeKind;
  readonly reason: 'engine-rejected' | 'engine-busy' | 'engine-error' | 'engine-credentials';
  /** Handed on with the engine's own status; undefined when `error` is answered instead. */
  readonly passed: { readonly body: Buffer; readonly headers: string[] } | undefined;
  readonly error: MaestroError;
}

/**
 * What the client did wrong, or that the engine is full, is passed on as the engine said it, once, with its `Retry-After`. That the engine is
 * broken, or does not take our own credentials, is our failure and is told in our own words.
 */
export function refusalAnswer(
  status: number,
  headers: IncomingHttpHeaders,
  body: Buffer,
  dialect: ApiDialect = 'openai',
): RefusalAnswer {
  const error = new MaestroError('engine_failed', 'The engine failed to answer.', { reason: 'engine-error' });
  if (status === 401 || status === 403) {
    const reason = 'engine-credentials';
    const refused = new MaestroError('engine_failed', 'The engine does not accept this gateway.', { reason });
    return { kind: 'engine_failed', reason, passed: undefined, error: refused };
  }
  const busy = status === 429 || status === 503;
  if (!busy && status !== 501 && (status < 400 || status >= 500)) {
    return { kind: 'engine_failed', reason: 'engine-error', passed: undefined, error };
  }
  const shown = inShape(body, dialect) ? body : wrap(status, body, dialect);
  const passed: string[] = [];
  copyAnswerHeaders({ ...headers, 'content-type': undefined, 'content-length': undefined }, false, passed);
  passed.push('content-type', 'application/json', 'content-length', String(shown.length));
  if (busy && headers['retry-after'] === undefined) passed.push('retry-after', '1');
  return {
    kind: 'rejected',
    reason: busy ? 'engine-busy' : 'engine-rejected',
    passed: { body: shown, headers: passed },
    error,
  };
}

function inShape(body: Buffer, dialect: ApiDialect): boolean {
  const document = objectOf(parseJson(body.toString('utf8')));
  return isObject(document['error']) && (dialect !== 'anthropic' || document['type'] === 'error');
}

/**
 * Says in the shape of the API what the engine said in another: FastAPI answers unknown routes and the like as `{"detail": …}`, and vLLM
 * what is wrong with the fields of any request in OpenAI's shape.
 */
function wrap(status: number, body: Buffer, dialect: ApiDialect): Buffer {
  const { error, detail } = objectOf(parseJson(body.toString('utf8')));
  const said = isObject(error) ? error['message'] : detail;
  const known = typeof said === 'string' && said.length > 0 && said.length <= MAX_DETAIL_LENGTH;
  const isUnserved = status === 404 && detail === NO_ENDPOINT;
  const message = isUnserved ? NO_ENDPOINT_MESSAGE : `The engine refused the request${known ? `: ${said}` : '.'}`;
  if (dialect === 'anthropic') return Buffer.from(JSON.stringify(anthropicError(status, message)));
  const type = status >= 500 ? 'engine_error' : 'invalid_request_error';
  return Buffer.from(JSON.stringify({ error: { message, type, param: null, code: status } }));
}
