import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '../../model/clock.js';
import type { Engine } from '../batch-types.js';
import { newEngine } from '../new-engine.js';
import { Adapters, adapterRoutes } from './adapters.js';
import { apiRoutes } from './api-routes.js';
import type { EmulatorContext } from './context.js';
import { devRoutes } from './dev-routes.js';
import type { DeviceHandle } from './device-host.js';
import { inDialect } from './dialect.js';
import { emulatorRoutes } from './emulator-routes.js';
import { EngineLoop } from './engine-loop.js';
import { FaultPlan } from './faults.js';
import { type Call, dispatch, Reply, type Routes, readAll } from './http.js';
import { ENGINE_DEAD, HttpError, internalError } from './http-error.js';
import { KvEventPublisher } from './kv-events/publisher.js';
import { type EmulatedKvcached, kvcachedOf } from './kvcached.js';
import { Ledger } from './ledger.js';
import { VllmMetrics } from './metrics.js';
import { defaultTickMs, type EmulatorModel, type EmulatorOptions, resolveModel } from './options.js';
import { SleepMachine } from './sleep.js';
import { hashText } from './tokens.js';

/** Requests that the ledger remembers one by one. */
const LEDGER_CAPACITY = 20_000;
/** uvicorn closes an idle connection after this. */
const KEEP_ALIVE_MS = 5_000;
/** How often a server that drains looks whether all is done, emulated. */
const DRAIN_LOOK_MS = 20;
/** What a dead engine's API server still answers. */
const ANSWERED_WHEN_DEAD: ReadonlySet<string> = new Set(['/v1/models', '/metrics', '/version']);
/** The paths that ask for an API key. */
const GUARDED = /^\/(v1|v2|inference|cohere)(\/|$)/;

export interface EmulatedVllmConfig {
  readonly options: EmulatorOptions;
  readonly clock: Clock;
  /** Attached to its device already. */
  readonly device: DeviceHandle;
  /** The engine has died of a fault: the process should end, as vLLM's does. */
  onDeath?(how: 'cut' | 'error'): void;
}

/** One emulated vLLM server: vLLM's HTTP surface around a modelled engine that runs on a clock. */
export class EmulatedVllm {
  readonly context: EmulatorContext;
  readonly kvEvents: KvEventPublisher | undefined;
  private readonly kvcached: EmulatedKvcached | undefined;
  private readonly server: Server;
  private readonly routes: Routes;
  private readonly sockets = new Set<Socket>();
  private dead = false;

  constructor(private readonly config: EmulatedVllmConfig) {
    const { options, clock, device } = config;
    const model = resolveModel(options);
    const version = options.vllmVersion ?? '0.29.0';
    const metrics = new VllmMetrics(model, Date.now() / 1000, version);
    const faults = new FaultPlan();
    const kvEvents = options.kvEvents && new KvEventPublisher(options.kvEvents, model.blockSize);
    this.kvEvents = kvEvents;
    const engine = engineOf(model, options, kvEvents);
    const timeScale = options.timeScale ?? 1;
    const loop = new EngineLoop({
      engine,
      clock,
      metrics,
      faults,
      kvEvents,
      tickMs: (options.streamTickMs ?? defaultTickMs(timeScale)) * timeScale,
      onDeath: (how) => this.die(how),
    });
    const sleep = new SleepMachine({
      model,
      clock,
      loop,
      metrics,
      device,
      enabled: options.enableSleepMode ?? false,
      partlyAwakeIsAwake: version === '0.29.0',
      kvBytes: () => this.kvcached?.limitBytes ?? model.kvPoolBytes,
    });
    this.kvcached = kvcachedOf(options, model, loop, sleep);
    const fingerprint = hashText(JSON.stringify([model.llm, model.gpu.name, model.gpuCount, model.dtype]));
    this.context = {
      options,
      model,
      clock,
      loop,
      sleep,
      adapters: new Adapters(options.loraModules),
      metrics,
      ledger: new Ledger(LEDGER_CAPACITY),
      faults,
      device,
      version,
      fingerprint: `vllm-${version}-${fingerprint.toString(16).padStart(8, '0')}`,
      startedMs: clock.nowMs(),
      open: new Set(),
      load: 0,
      draining: false,
      die: (how) => this.die(how),
    };
    this.routes = new Map([
      ...apiRoutes(this.context),
      ...(options.runtimeLora ? adapterRoutes(this.context.adapters) : []),
      ...(options.devMode ? devRoutes(this.context) : []),
      ...emulatorRoutes(this.context),
    ]);
    this.server = this.httpServer();
  }

  /** Takes memory on the device, then listens; returns the base URL. */
  async start(): Promise<string> {
    const { options } = this.config;
    await this.context.sleep.claim(options.startAsleep ?? false);
    await this.kvEvents?.start();
    const host = options.host ?? '127.0.0.1';
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      if (options.uds === undefined) this.server.listen(options.port ?? 0, host, resolve);
      else this.server.listen(options.uds, resolve);
    });
    if (options.uds !== undefined) return `unix:${options.uds}`;
    const { port } = this.server.address() as AddressInfo;
    return `${options.ssl ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  /**
   * What SIGTERM does. Without `--shutdown-timeout` it is {@link close}. With one, what is here goes on and what comes is refused; what is unfinished at the end hears
   * nothing: the engine is gone and the server waits for its clients to leave.
   */
  async terminate(): Promise<void> {
    const { clock, open, loop } = this.context;
    const endMs = clock.nowMs() + (this.config.options.shutdownTimeoutS ?? 0) * 1000;
    this.context.draining = true;
    while (open.size > 0 && clock.nowMs() < endMs)
      await new Promise<void>((resolve) => clock.after(DRAIN_LOOK_MS, resolve));
    if (open.size === 0 || !this.config.options.shutdownTimeoutS) return this.close();
    this.dead = true;
    loop.stall();
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
      this.server.closeIdleConnections();
    });
    this.kvEvents?.close();
    this.kvcached?.close();
    this.config.device.close();
  }

  /** Every open request hears an error, then nothing answers any more. */
  async close(): Promise<void> {
    this.dead = true;
    this.context.loop.die('error');
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeIdleConnections();
    for (const socket of this.sockets) socket.destroySoon();
    await closed;
    this.kvEvents?.close();
    this.kvcached?.close();
    this.config.device.close();
  }

  private die(how: 'cut' | 'error'): void {
    if (this.dead) return;
    this.dead = true;
    this.context.loop.die(how);
    if (how === 'error' && this.config.options.keepAliveOnEngineDeath) return;
    this.server.close();
    if (how === 'cut') for (const socket of this.sockets) socket.destroy();
    this.config.onDeath?.(how);
  }

  private httpServer(): Server {
    const server = listener(this.config.options, (request, response) => void this.serve(request, response));
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    server.on('clientError', (_error, socket) => {
      if (!socket.writable) return;
      const text = 'Invalid HTTP request received.';
      const date = new Date().toUTCString();
      socket.end(
        `HTTP/1.1 400 Bad Request\r\ndate: ${date}\r\nserver: uvicorn\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: ${text.length}\r\nconnection: close\r\n\r\n${text}`,
      );
    });
    return server;
  }

  private async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { options, ledger } = this.context;
    const reply = new Reply(request, response, {
      requestIds: options.enableRequestIdHeaders ?? false,
      anyOrigin: this.context.version === '0.29.0',
    });
    try {
      const url = request.url ?? '/';
      const mark = url.indexOf('?');
      const path = mark < 0 ? url : url.slice(0, mark);
      const method = request.method ?? 'GET';
      this.authorise(request, method, path);
      if (method === 'OPTIONS' && isPreflight(request)) {
        answerPreflight(request, response, this.context.version === '0.29.0');
        return;
      }
      if (this.dead && !ANSWERED_WHEN_DEAD.has(path)) {
        if (path === '/health') reply.empty(503);
        else reply.fail(internalError(ENGINE_DEAD));
        return;
      }
      const call: Call = {
        method,
        path,
        query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
        request,
        reply,
        body: () => readAll(request),
      };
      await dispatch(this.routes, call);
    } catch (error) {
      if (error instanceof HttpError && /^\/v1\/((chat\/)?completions|responses|messages)/.test(request.url ?? ''))
        ledger.totals.refused += 1;
      const { version, model } = this.context;
      reply.fail(error instanceof HttpError ? inDialect(error, version, model.servedModelNames) : error);
    }
  }

  /** Only paths that begin like an API are guarded, and before routing: an unknown one is 401, not 404. */
  private authorise(request: IncomingMessage, method: string, path: string): void {
    const keys = this.context.options.apiKeys ?? [];
    if (keys.length === 0 || method === 'OPTIONS' || !GUARDED.test(path)) return;
    const [scheme, key] = (request.headers.authorization ?? '').split(' ');
    if (scheme?.toLowerCase() === 'bearer' && key !== undefined && keys.includes(key)) return;
    throw new HttpError(401, { error: 'Unauthorized' }, false);
  }
}

function listener(
  { ssl }: EmulatorOptions,
  serve: (request: IncomingMessage, response: ServerResponse) => void,
): Server {
  const common = { keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0, requireHostHeader: false };
  if (!ssl) return createServer(common, serve);
  const { keyfile, certfile, caCerts, certReqs = 0 } = ssl;
  return createTlsServer(
    {
      ...{ ...common, key: readFileSync(keyfile), cert: readFileSync(certfile) },
      ...{ requestCert: certReqs > 0, rejectUnauthorized: certReqs === 2 },
      ...(caCerts === undefined ? {} : { ca: readFileSync(caCerts) }),
    },
    serve,
  );
}

function isPreflight(request: IncomingMessage): boolean {
  return request.headers.origin !== undefined && request.headers['access-control-request-method'] !== undefined;
}

/** 0.29 allows every origin, 0.32 none. */
function answerPreflight(request: IncomingMessage, response: ServerResponse, allowed: boolean): void {
  const text = allowed ? 'OK' : 'Disallowed CORS origin';
  response.sendDate = false;
  response.writeHead(allowed ? 200 : 400, [
    ...['date', new Date().toUTCString(), 'server', 'uvicorn'],
    ...[
      'vary',
      'Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network',
    ],
    ...(allowed ? ['access-control-allow-origin', '*'] : []),
    ...['access-control-allow-methods', 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY'],
    ...['access-control-max-age', '600'],
    ...['access-control-allow-headers', request.headers['access-control-request-headers'] ?? ''],
    ...['content-length', String(text.length), 'content-type', 'text/plain; charset=utf-8'],
  ]);
  response.end(text);
}

function engineOf(model: EmulatorModel, options: EmulatorOptions, kvEvents: KvEventPublisher | undefined): Engine {
  return newEngine({
    ...(kvEvents ? { onBlockChange: (change) => kvEvents.changed(change) } : {}),
    llm: model.llm,
    gpu: model.gpu,
    tp: model.gpuCount,
    dataParallel: model.dataParallel,
    weightDtype: model.dtype,
    kvDtype: model.kvDtype,
    maxNumSeqs: model.maxNumSeqs,
    maxNumBatchedTokens: model.maxNumBatchedTokens,
    maxModelLen: model.maxModelLen,
    blockSize: model.blockSize,
    numGpuBlocks: model.numGpuBlocks,
    prefixCaching: options.enablePrefixCaching ?? true,
    schedulingPolicy: options.schedulingPolicy ?? 'fcfs',
  });
}
