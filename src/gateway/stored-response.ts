import type { IncomingMessage, ServerResponse } from 'node:http';
import { MaestroError } from '../model/error.js';
import { sendError } from './answers.js';
import type { GatewayContext } from './context.js';
import { copyAnswerHeaders } from './headers.js';
import type { StoredRoute } from './routes.js';

export interface StoredRequest {
  readonly route: StoredRoute;
  /** Id of the response. */
  readonly parameter: string;
  readonly requestId: string;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
}

/** An engine looks an id up in a table; one that takes longer hangs. */
const TIMEOUT_MS = 30_000;

/** Asks the engine that made a response for it, or tells it to stop making it. Throws a MaestroError for the caller to send. */
export function answerStored(context: GatewayContext, request: StoredRequest): void {
  const { route, parameter, requestId, req, res } = request;
  const key = context.keys.authenticate(req.headers);
  const home = context.responses.find(parameter, key?.tenant);
  if (!home) {
    throw new MaestroError(
      'not_found',
      `No response with id '${parameter}' is known here. Engines keep responses only with VLLM_ENABLE_RESPONSES_API_STORE=1, and Maestro ` +
        'remembers where the most recent ones are.',
      { param: 'response_id' },
    );
  }
  const { dispatcher, origin, authorization } = home.start;
  const headers = ['x-request-id', requestId];
  req.resume();
  const abort = new AbortController();
  res.once('close', () => abort.abort());
  dispatcher
    .request({
      origin,
      path: `/v1/responses/${encodeURIComponent(parameter)}${route.action === 'cancel' ? '/cancel' : queryOf(req.url)}`,
      method: route.action === 'cancel' ? 'POST' : 'GET',
      headers: authorization === undefined ? headers : [...headers, 'authorization', authorization],
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: 0,
      signal: abort.signal,
    })
    .then(({ statusCode, headers: upstream, body }) => {
      const answer = [...headers, 'x-maestro-engine', home.start.engineId];
      copyAnswerHeaders(upstream, false, answer);
      res.writeHead(statusCode, answer);
      body.on('error', () => res.destroy());
      body.pipe(res);
    })
    .catch((cause: unknown) => {
      if (res.destroyed || res.headersSent) return;
      const error = new MaestroError('engine_failed', 'The engine that has this response does not answer.', { cause });
      sendError(res, error, headers);
    });
}

/** `?stream=true&starting_after=3` of a request for a response goes on as it is. */
function queryOf(url: string | undefined): string {
  const at = url?.indexOf('?') ?? -1;
  return at < 0 ? '' : url!.slice(at);
}
