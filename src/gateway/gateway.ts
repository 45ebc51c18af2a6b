import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import type { Scheduling } from '../bus/contract.js';
import { WallClock } from '../bus/wall-clock.js';
import type { Clock, Timer } from '../model/clock.js';
import { MaestroError } from '../model/error.js';
import { QueueBudget } from '../model/queue-budget.js';
import type { Logger } from '../observe/log.js';
import { GatewayMetrics } from '../observe/metrics.js';
import type { TextVectors } from '../predict/text-vectors/service.js';
import { sendError } from './answers.js';
import type { ClientAnswer, ClientRequest } from './client-answer.js';
import type { ConnectionHost } from './client-connection.js';
import { ClientConnections } from './client-connections.js';
import type { GatewayConfig } from './config.js';
import type { GatewayContext } from './context.js';
import { ConversationIndex } from './conversation-index.js';
import { doorServer } from './door-server.js';
import type { DoorTls } from './door-tls.js';
import { Exchange } from './exchange.js';
import { inboundRequestId } from './headers.js';
import { IDENTITY_SOURCES } from './identity.js';
import type { InboundRequest } from './inbound-request.js';
import { KeyRing } from './keys.js';
import { sayLast } from './last-words.js';
import { answerLocally } from './local-routes.js';
import { NodeAnswer } from './node-answer.js';
import { OpenList } from './open-list.js';
import { ParameterPolicies } from './parameter-policy.js';
import { RateLimits } from './rate-limits.js';
import type { PlainHead } from './request-head.js';
import { ResponseHomes } from './response-homes.js';
import { RoomPool } from './room-pool.js';
import {
  type ApiDialect,
  INFERENCE_ROUTE_NAMES,
  type InferenceRoute,
  matchRoute,
  type PathIdentity,
} from './routes.js';
import { answerStored } from './stored-response.js';
import { TenantPlaces } from './tenant-places.js';
import { TokenEstimator } from './token-estimate.js';
import { WorkflowClock } from './workflow-clock.js';

export interface GatewayOptions {
  readonly scheduling: Scheduling;
  /** Clock of stages, the one behind `scheduling.nowMs`. */
  readonly clock: Clock;
  readonly config: GatewayConfig;
  readonly logger: Logger;
  readonly metrics: GatewayMetrics;
  /** Real time, for what concerns sockets. */
  readonly wallClock?: Clock;
  /** What a sentence embedder says of last messages. */
  readonly textVectors?: TextVectors | undefined;
  /** The door speaks TLS with it; absent: none. */
  readonly tls?: DoorTls | undefined;
}

/** The running front door. */
export interface Gateway {
  /** Begins to serve; port 0 takes a free one. Fails when the address cannot be had. */
  listen(port: number, host: string): Promise<void>;
  /** The same on a socket that listens already, by its file descriptor. */
  listenOn(fd: number): Promise<void>;
  /** Stops taking requests, lets running ones finish for up to `drainMs` of wall time, ends the rest with an error. */
  close(drainMs: number): Promise<void>;
  /**
   * Serves by another config from now on: its keys, templates, parameters, limits of bodies, heartbeats and timeouts. What the server, its queue budget and its
   * sockets were made with stays.
   */
  reconfigure(config: GatewayConfig): void;
  /** Base URL without a path, once it serves. */
  readonly address: string;
  /** Requests that are open now. */
  readonly openRequests: number;
}

/** How often open requests are checked against their time limits, wall milliseconds: the precision of every limit. */
const SWEEP_MS = 100;
/** When the door is shut, what those who have just come in have to say what they came for, wall milliseconds: a packet that was lost on the way is sent again by then. */
const NEWCOMERS_MS = 1000;
/** After the drain time, how long the last error events may take to reach their clients. */
const FAREWELL_MS = 250;

/** The OpenAI-compatible front door: HTTP/1.1 in ({@link ClientConnections}, `node:http`), the levels behind {@link Scheduling}, the data paths of the engines out. */
export function createGateway(options: GatewayOptions): Gateway {
  return new HttpGateway(options);
}

/** The gateway's metrics; labels come from its own closed sets and the configured classes. */
export function createGatewayMetrics(classes: readonly string[]): GatewayMetrics {
  return new GatewayMetrics({ routes: INFERENCE_ROUTE_NAMES, classes, identitySources: IDENTITY_SOURCES });
}

/** What {@link Gateway.reconfigure} replaces. */
type Configured = Pick<GatewayContext, 'config' | 'keys' | 'policies'>;

class HttpGateway implements Gateway {
  private readonly context: GatewayContext & { -readonly [Name in keyof Configured]: Configured[Name] };
  private readonly server: Server;
  private readonly secure: boolean;
  private readonly connections: ClientConnections;
  private readonly open = new OpenList<Exchange>();
  /** Ids of open requests that clients chose; ours are unique by themselves. */
  private readonly clientIds = new Set<string>();
  private readonly idPrefix = `req-${randomBytes(6).toString('hex')}-`;
  private idSequence = 0;
  /** The door is shut, and what has come in is brought to its end. */
  private closing = false;
  /** Nor is anything begun any more. */
  private draining = false;
  private sweep: Timer | undefined;
  private onIdle: (() => void) | undefined;

  constructor(options: GatewayOptions) {
    const { config, scheduling, clock, logger, metrics, textVectors, tls, wallClock = new WallClock() } = options;
    this.context = {
      ...{ scheduling, clock, wallClock, logger, metrics, textVectors },
      ...configured(config),
      conversations: new ConversationIndex(config.maxWorkflows),
      workflows: new WorkflowClock(config.maxWorkflows, config.workflowIdleMs),
      tokens: new TokenEstimator(),
      budget: new QueueBudget({ maxCount: config.maxOpenRequests, maxBytes: config.maxOpenBytes }),
      places: new TenantPlaces(),
      rates: new RateLimits(wallClock, (limit) => metrics.rateLimited(limit)),
      rooms: new RoomPool(),
      responses: new ResponseHomes(),
    };
    const { timeouts } = config;
    this.server = doorServer(config, tls);
    this.secure = tls !== undefined;
    this.connections = new ClientConnections(this.server, {
      limits: {
        headerBytes: config.headerLimitBytes,
        headersMs: timeouts.requestHeadersMs,
        bodyMs: timeouts.requestBodyMs,
        keepAliveMs: timeouts.keepAliveMs,
      },
      mostPerAddress: config.maxConnectionsPerAddress,
      ...{ wallClock, tls, logger },
      serverOf: (head) => this.serverOf(head),
      late: (socket) => answerBrokenRequest({ code: 'ERR_HTTP_REQUEST_TIMEOUT' }, socket, this.context.wallClock),
    });
    this.server.on('request', (req: InboundRequest, res: ServerResponse) => this.handle(req, res));
    this.server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) =>
      answerBrokenRequest(error, socket, this.context.wallClock),
    );
  }

  reconfigure(config: GatewayConfig): void {
    Object.assign(this.context, configured(config));
    this.context.rates.keep(config.keys);
  }

  get address(): string {
    const address = this.server.address() as AddressInfo | null;
    if (!address) throw new Error('the gateway does not listen');
    const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
    return `${this.secure ? 'https' : 'http'}://${host}:${address.port}`;
  }

  get openRequests(): number {
    return this.open.size;
  }

  listen(port: number, host: string): Promise<void> {
    return this.listenAt({ port, host });
  }

  listenOn(fd: number): Promise<void> {
    return this.listenAt({ fd });
  }

  private listenAt(where: ListenOptions & { readonly fd?: number }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ ...where, backlog: 4096 }, () => {
        this.server.off('error', reject);
        resolve();
      });
    });
  }

  async close(drainMs: number): Promise<void> {
    this.closing = true;
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    this.connections.close();
    const newcomersMs = this.connections.anyNew ? Math.min(NEWCOMERS_MS, drainMs) : 0;
    if (newcomersMs > 0) await new Promise<void>((resolve) => this.context.wallClock.after(newcomersMs, resolve));
    this.draining = true;
    this.connections.closeNew();
    await this.whenIdle(drainMs - newcomersMs);
    for (const exchange of this.open.toArray()) exchange.terminate();
    await this.whenIdle(FAREWELL_MS);
    this.sweep?.cancel();
    this.server.closeAllConnections();
    this.connections.closeAll();
    await closed;
  }

  /** Resolves when no request is open, at the latest after `limitMs` of wall time. */
  private whenIdle(limitMs: number): Promise<void> {
    if (this.open.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.context.wallClock.after(limitMs, resolve);
      this.onIdle = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  private handle(req: InboundRequest, res: ServerResponse): void {
    const requestId = this.requestId(req.headers);
    try {
      this.dispatch(req, res, requestId);
    } catch (thrown) {
      const error = MaestroError.from(thrown);
      if (error.code === 'internal') this.context.logger.error({ err: error.cause, requestId }, 'request failed');
      sendError(res, error, ['x-request-id', requestId], dialectOf(req));
    }
  }

  private dispatch(req: InboundRequest, res: ServerResponse, requestId: string): void {
    const ambiguity = ambiguityOf(req);
    if (ambiguity !== undefined) {
      const headers = ['x-request-id', requestId, 'connection', 'close'];
      sendError(res, new MaestroError('invalid_request', ambiguity), headers);
      return;
    }
    const match = matchRoute(req.method ?? '', req.url ?? '');
    if (match.kind === 'not-found') {
      throw new MaestroError('not_found', 'There is nothing at this path. The API lives under /v1.');
    }
    if (match.kind === 'method-not-allowed') {
      const headers = ['allow', match.allow, 'x-request-id', requestId];
      if (match.isOptions) res.writeHead(204, headers).end();
      else {
        const error = new MaestroError('method_not_allowed', `Use ${match.allow.split(',')[0]} here.`);
        sendError(res, error, headers, dialectOf(req));
      }
      return;
    }
    const { route, parameter, identity: path } = match;
    if (route.kind === 'local') {
      answerLocally(this.context, { route, parameter, path, requestId, req, res, draining: this.closing });
      return;
    }
    if (route.kind === 'stored') {
      answerStored(this.context, { route, parameter, requestId, req, res });
      return;
    }
    if (this.draining) {
      const error = new MaestroError('shutting_down', 'This gateway is closing.');
      sendError(res, error, ['x-request-id', requestId, 'connection', 'close'], route.dialect);
      return;
    }
    this.serve(requestId, route, path, req, new NodeAnswer(req, res));
  }

  /** What serves a request whose connection Node's server has not been given: an inference request. All else is told by it. */
  private serverOf({ method, url, headers }: PlainHead): ReturnType<ConnectionHost['serverOf']> {
    if (this.draining) return undefined;
    const match = matchRoute(method, url);
    if (match.kind !== 'route' || match.route.kind !== 'inference') return undefined;
    const { route, identity: path } = match;
    return (request, answer) => this.serve(this.requestId(headers), route, path, request, answer);
  }

  private serve(
    requestId: string,
    route: InferenceRoute,
    path: PathIdentity,
    req: ClientRequest,
    answer: ClientAnswer,
  ): void {
    const exchange = new Exchange(this.context, { requestId, route, path, req, answer }, (closed, id) =>
      this.forget(closed, id),
    );
    this.open.add(exchange);
    if (!requestId.startsWith(this.idPrefix)) this.clientIds.add(requestId);
    this.sweepSoon();
    exchange.begin();
  }

  /** The client's id when it is sane, not in use and not of our own making, else one that is unique. */
  private requestId(headers: IncomingHttpHeaders): string {
    const inbound = inboundRequestId(headers);
    if (inbound !== undefined && !this.clientIds.has(inbound) && !inbound.startsWith(this.idPrefix)) return inbound;
    this.idSequence++;
    return this.idPrefix + this.idSequence.toString(36);
  }

  private forget(exchange: Exchange, requestId: string): void {
    this.open.remove(exchange);
    this.clientIds.delete(requestId);
    if (this.open.size === 0) this.onIdle?.();
  }

  private sweepSoon(): void {
    this.sweep ??= this.context.wallClock.after(SWEEP_MS, () => {
      this.sweep = undefined;
      const nowMs = this.context.clock.nowMs();
      const wallMs = this.context.wallClock.nowMs();
      for (const exchange of this.open.toArray()) exchange.checkTimeouts(nowMs, wallMs);
      if (this.open.size > 0) this.sweepSoon();
    });
  }
}

/** Whose errors a caller of this path understands, whether there is anything at it or not. */
function dialectOf({ url = '' }: IncomingMessage): ApiDialect {
  return /^(\/w\/[^?]*)?\/v1\/messages(\/|\?|$)/.test(url) ? 'anthropic' : 'openai';
}

/** What another parser on the way may have read differently, though Node takes it (RFC 9112, sections 3.2 and 6.1); undefined where nothing is. */
function ambiguityOf({ headers, rawHeaders }: IncomingMessage): string | undefined {
  const coding = headers['transfer-encoding'];
  // A coding that does not end with chunked is refused by Node itself.
  if (coding !== undefined && /,\s*chunked\s*$/i.test(coding)) {
    return 'The only Transfer-Encoding taken here is chunked.';
  }
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]!;
    if (name.length === 4 && name.toLowerCase() === 'host') hosts += 1;
  }
  return hosts > 1 ? 'A request has one Host header.' : undefined;
}

/**
 * A request that is not HTTP, too slow or too long has no response object; it is answered on its socket. Node does not look at the connection again: a client that
 * keeps its side open would keep it, and what it has begun, for good.
 */
function answerBrokenRequest(error: Pick<NodeJS.ErrnoException, 'code'>, socket: Socket, wallClock: Clock): void {
  // Written into an answer that has begun, it would be taken for a part of that.
  const { _httpMessage: answering } = socket as Socket & { readonly _httpMessage?: ServerResponse | null };
  if (!socket.writable || error.code === 'ECONNRESET' || answering?.headersSent) {
    socket.destroy();
    return;
  }
  const [status, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'The request header is too long.']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'The request did not arrive in time.']
        : ['400 Bad Request', 'This is not a valid HTTP request.'];
  const body = JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code: null } });
  sayLast(
    socket,
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    wallClock,
  );
}

function configured(config: GatewayConfig): Configured {
  return { config, keys: new KeyRing(config.keys), policies: new ParameterPolicies(config.parameters) };
}
