import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { DataCall, DataHandler, StageStart } from '../bus/contract.js';
import type { Clock, Timer } from '../model/clock.js';
import { MaestroError } from '../model/error.js';
import { sendError } from './answers.js';
import type { GatewayContext } from './context.js';
import { copyAnswerHeaders } from './headers.js';
import { onceClosed } from './once-closed.js';
import { nobodyListens } from './own-shortage.js';
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
  req.resume();
  const answer = new StoredAnswer(context, req, res, ['x-request-id', requestId], home.start);
  answer.request(
    route.action === 'cancel' ? 'POST' : 'GET',
    `/v1/responses/${encodeURIComponent(parameter)}${route.action === 'cancel' ? '/cancel' : queryOf(req.url)}`,
  );
}

/** Passes on what an engine says of a response, as it comes; it and the client may be silent for no longer than in any other answer. */
class StoredAnswer implements DataHandler {
  private call: DataCall | undefined;
  private timer: Timer | undefined;

  constructor(
    private readonly context: GatewayContext,
    req: IncomingMessage,
    private readonly res: ServerResponse,
    private readonly headers: string[],
    private readonly start: StageStart,
  ) {
    this.awaitNews(context.wallClock, TIMEOUT_MS);
    onceClosed(req, res, () => {
      this.timer?.cancel();
      this.call?.abort();
    });
  }

  request(method: 'GET' | 'POST', path: string): void {
    const { headers, start } = this;
    const { authorization, dataPath } = start;
    const sent = authorization === undefined ? headers : [...headers, 'authorization', authorization];
    dataPath.dispatch({ method, path, headers: sent, body: method === 'POST' ? Buffer.alloc(0) : undefined }, this);
  }

  onStart(call: DataCall): void {
    this.call = call;
    if (this.res.destroyed) call.abort();
  }

  onHead(status: number, upstream: IncomingHttpHeaders): void {
    this.awaitEngine();
    const answer = [...this.headers, 'x-maestro-engine', this.start.engineId];
    copyAnswerHeaders(upstream, false, answer);
    this.res.writeHead(status, answer);
  }

  onData(bytes: Buffer): void {
    if (this.res.write(bytes)) {
      this.awaitEngine();
      return;
    }
    this.call?.pause();
    this.awaitClient();
    this.res.once('drain', () => {
      this.awaitEngine();
      this.call?.resume();
    });
  }

  onEnd(rest: Buffer | undefined): void {
    this.awaitClient();
    this.res.end(rest);
  }

  onError(cause: Error): void {
    // Engines keep responses in memory: where nobody listens any more, the response is gone with its process.
    const error = nobodyListens(cause)
      ? new MaestroError('not_found', 'The engine that had this response is gone, and the response with it.', {
          ...{ cause, param: 'response_id' },
        })
      : new MaestroError('engine_failed', 'The engine that has this response does not answer.', { cause });
    this.fail(error);
  }

  onFault(thrown: unknown): void {
    this.context.logger.error({ err: thrown, requestId: this.headers[1] });
    this.fail(MaestroError.from(thrown));
  }

  private fail(error: MaestroError): void {
    const { res } = this;
    this.timer?.cancel();
    if (res.headersSent) res.destroy();
    else if (!res.destroyed) sendError(res, error, this.headers);
  }

  private awaitEngine(): void {
    const { clock, config } = this.context;
    this.awaitNews(clock, config.timeouts.betweenTokensMs);
  }

  /** Whoever does not read is cut: it holds a connection of the engine. */
  private awaitClient(): void {
    const { wallClock, config } = this.context;
    this.awaitNews(wallClock, config.timeouts.idleWriteMs);
  }

  private awaitNews(clock: Clock, ms: number): void {
    this.timer?.cancel();
    this.timer = clock.after(ms, () => {
      this.call?.abort();
      this.onError(new Error('no answer in time'));
    });
  }
}

/** `?stream=true&starting_after=3` of a request for a response goes on as it is. */
function queryOf(url: string | undefined): string {
  const at = url?.indexOf('?') ?? -1;
  return at < 0 ? '' : url!.slice(at);
}
