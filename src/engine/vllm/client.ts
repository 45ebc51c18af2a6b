import { type Dispatcher, Pool } from 'undici';
import { WallClock } from '../../bus/wall-clock.js';
import type { Clock } from '../../model/clock.js';
import { engineAddress } from '../../model/engine-address.js';
import { messageOf } from '../../model/error.js';
import { fieldOf, parseJson } from '../../model/json.js';
import { type ApiKeySource, apiKeyNow, EnginePath } from './data-path.js';
import { connectorWith, type EngineTls, isTlsFailure, NOT_ACCEPTED } from './engine-tls.js';

/** Why a call to an engine failed; an expected outcome, so a value. */
export interface CallFailure {
  /**
   * `refused`: nobody listens; `unreachable`: no route or name; `timeout`: no answer in time; `reset`: the connection broke;
   * `tls`: the two ends do not trust each other, as far as can be told; `http`: an answer with an error status; `protocol`: an answer that is not what it should be.
   */
  readonly kind: 'refused' | 'unreachable' | 'timeout' | 'reset' | 'tls' | 'http' | 'protocol';
  readonly status?: number;
  readonly message: string;
}

export type Reply<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: CallFailure };

export interface VllmClientOptions {
  /** Base URL, without a path; `unix:/PATH` for a socket. */
  readonly url: string;
  /** vLLM's `--api-key`; added to every request, those of the data path included. */
  readonly apiKey?: ApiKeySource;
  /** For `https://`; absent: Node's own trust, and no certificate. */
  readonly tls?: EngineTls | undefined;
  /** Real time. */
  readonly clock?: Clock;
}

export interface ServedModelEntry {
  readonly id: string;
  readonly root: string | undefined;
  /** Set for adapters: the model they sit on. */
  readonly parent: string | undefined;
  readonly maxModelLen: number | undefined;
}

export interface CanaryRequest {
  readonly model: string;
  readonly maxTokens: number;
  readonly timeoutMs: number;
}

/**
 * Far below vLLM's keep-alive of 5 s. Its server closes a connection that was idle for longer even when a request is on its way; and when it has no CPU time, a
 * request that came in time is read only after that timer has run. Up to 1 s the timer here is exact; beyond, it may run 1 s late.
 */
const KEEP_ALIVE_MS = 1_000;
const CONNECT_TIMEOUT_MS = 3_000;
const CALL_TIMEOUT_MS = 10_000;
const CONTROL_CONNECTIONS = 8;
const MAX_BODY_BYTES = 16 * 1024 * 1024;
const CANARY_PROMPT = 'One, two, three, four,';
/** Ahead of all scheduled work. */
const CANARY_PRIORITY = -2_147_483_648;

/**
 * One vLLM server's HTTP interface, version 0.29 (empty bodies) and 0.32 (JSON) alike. Control calls have a small pool of their own, so that they never
 * wait behind inference, which goes over {@link dataPath}; that has no timeouts of its own: the gateway sets them. All times are wall time.
 */
export class VllmClient {
  readonly origin: string;
  readonly dataPath: EnginePath;
  private readonly control: Dispatcher;
  private readonly controlPool: Pool;
  private readonly secure: boolean;
  private readonly tls: EngineTls | undefined;
  private answered = false;

  constructor({ url, apiKey, tls, clock = new WallClock() }: VllmClientOptions) {
    const { origin, secure, socketPath } = engineAddress(url);
    this.origin = origin;
    this.secure = secure;
    this.tls = tls;
    this.dataPath = new EnginePath({ origin: url, apiKey, tls, keepAliveMs: KEEP_ALIVE_MS, clock });
    this.controlPool = new Pool(this.origin, {
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      connect: connectorWith(tls, {
        timeout: CONNECT_TIMEOUT_MS,
        ...(socketPath === undefined ? {} : { socketPath }),
      }),
      connections: CONTROL_CONNECTIONS,
    });
    this.control = apiKey === undefined ? this.controlPool : this.controlPool.compose(withApiKey(apiKey));
  }

  /** 200 as long as the engine process lives, asleep or not; 503 when it has died under its API server. */
  health(timeoutMs = CALL_TIMEOUT_MS): Promise<Reply<void>> {
    return this.command('GET', '/health', { timeoutMs });
  }

  async version(): Promise<Reply<string>> {
    return this.json('GET', '/version', {}, (body) => text(fieldOf(body, 'version')));
  }

  async models(): Promise<Reply<readonly ServedModelEntry[]>> {
    return this.json('GET', '/v1/models', {}, (body) => {
      const data = fieldOf(body, 'data');
      if (!Array.isArray(data)) return undefined;
      return data.flatMap((entry: unknown) => {
        const id = text(fieldOf(entry, 'id'));
        if (id === undefined) return [];
        const maxModelLen = fieldOf(entry, 'max_model_len');
        return {
          id,
          root: text(fieldOf(entry, 'root')),
          parent: text(fieldOf(entry, 'parent')),
          maxModelLen: typeof maxModelLen === 'number' && maxModelLen > 0 ? maxModelLen : undefined,
        };
      });
    });
  }

  /** The metrics page as text; `readEngineMetrics` reads it. */
  metrics(timeoutMs = CALL_TIMEOUT_MS): Promise<Reply<string>> {
    return this.call('GET', '/metrics', { timeoutMs });
  }

  /** vLLM's own configuration; only with its development endpoints on. */
  async serverInfo(): Promise<Reply<Readonly<Record<string, unknown>>>> {
    return this.json('GET', '/server_info?config_format=json', {}, (body) => record(fieldOf(body, 'vllm_config')));
  }

  /** Returns when the memory is free. Parameters go into the query: a JSON body would be ignored silently. */
  sleep(level: 1 | 2, mode: 'abort' | 'wait' | 'keep', timeoutMs: number): Promise<Reply<void>> {
    return this.command('POST', `/sleep?level=${level}&mode=${mode}`, { timeoutMs });
  }

  wakeUp(tags: readonly ('weights' | 'kv_cache')[], timeoutMs: number): Promise<Reply<void>> {
    const query = tags.map((tag) => `tags=${tag}`).join('&');
    return this.command('POST', query ? `/wake_up?${query}` : '/wake_up', { timeoutMs });
  }

  /** Also true while paused, and until every part is awake. */
  async isSleeping(): Promise<Reply<boolean>> {
    return this.json('GET', '/is_sleeping', {}, (body) => flag(fieldOf(body, 'is_sleeping')));
  }

  /** Engine ids as in `chatcmpl-ID` and `cmpl-ID-0`. An empty list would abort everything, so it is not sent. */
  async abort(requestIds: readonly string[]): Promise<Reply<void>> {
    if (requestIds.length === 0) return { ok: true, value: undefined };
    return this.command('POST', '/abort_requests', { body: { request_ids: requestIds } });
  }

  /**
   * Reads the checkpoint into weights that are mapped but empty. A `folder` takes the place of the engine's own for good, so once one has been named every later reload must
   * name one.
   */
  reloadWeights(timeoutMs: number, folder?: string): Promise<Reply<void>> {
    const kwargs = folder === undefined ? {} : { kwargs: { weights_path: folder } };
    return this.command('POST', '/collective_rpc', { body: { method: 'reload_weights', ...kwargs }, timeoutMs });
  }

  /** False while blocks are held. */
  async resetPrefixCache(): Promise<Reply<boolean>> {
    // Versions before 0.29 answer 200 with an empty body.
    return this.json('POST', '/reset_prefix_cache', {}, (body) => flag(fieldOf(body, 'success')) ?? true);
  }

  /** The greedy continuation of a fixed prompt: the same as before as long as the weights are. */
  async canary({ model, maxTokens, timeoutMs }: CanaryRequest): Promise<Reply<string>> {
    const body = {
      model,
      prompt: CANARY_PROMPT,
      max_tokens: maxTokens,
      temperature: 0,
      seed: 0,
      priority: CANARY_PRIORITY,
    };
    return this.json('POST', '/v1/completions', { body, timeoutMs }, (answer) => {
      const choices = fieldOf(answer, 'choices');
      return Array.isArray(choices) ? text(fieldOf(choices[0], 'text')) : undefined;
    });
  }

  /** Drops all connections at once. */
  async close(): Promise<void> {
    this.dataPath.close();
    await this.controlPool.destroy();
  }

  private async command(method: 'GET' | 'POST', path: string, options: CallOptions): Promise<Reply<void>> {
    const reply = await this.call(method, path, options);
    return reply.ok ? { ok: true, value: undefined } : reply;
  }

  private async json<T>(
    method: 'GET' | 'POST',
    path: string,
    options: CallOptions,
    read: (body: unknown) => T | undefined,
  ): Promise<Reply<T>> {
    const reply = await this.call(method, path, options);
    if (!reply.ok) return reply;
    const value = read(parseJson(reply.value));
    if (value === undefined)
      return failed('protocol', `${method} ${path}: unexpected answer ${reply.value.slice(0, 200)}`);
    return { ok: true, value };
  }

  private async call(method: 'GET' | 'POST', path: string, options: CallOptions): Promise<Reply<string>> {
    const timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    const body = options.body === undefined ? null : JSON.stringify(options.body);
    try {
      const response = await this.control.request({
        origin: this.origin,
        path,
        method,
        headers: body === null ? {} : { 'content-type': 'application/json' },
        body,
        headersTimeout: 0,
        bodyTimeout: 0,
        signal: AbortSignal.timeout(timeoutMs),
      });
      this.answered = true;
      const answer = await readBody(response.body);
      if (answer === undefined)
        return failed('protocol', `${method} ${path}: the answer exceeds ${MAX_BODY_BYTES} bytes`);
      const { statusCode: status } = response;
      if (status >= 200 && status < 300) return { ok: true, value: answer };
      return {
        ok: false,
        failure: { kind: 'http', status, message: `${method} ${path}: ${status} ${errorMessage(answer)}` },
      };
    } catch (thrown) {
      const kind = failureKind(thrown);
      const message = `${method} ${path}: ${messageOf(thrown)}`;
      // Who is refused for want of a certificate hears of it after the handshake, as an end of the connection.
      if (kind === 'reset' && !this.answered) {
        const shown = this.tls?.shown();
        const guess = shown === undefined ? 'it may ask for a certificate' : `${NOT_ACCEPTED} (${shown})`;
        if (this.secure) return failed('tls', `${message} before any answer; ${guess}`);
        return failed(kind, `${message} before any answer; where it speaks TLS its URL begins with https://`);
      }
      return failed(kind, message);
    }
  }
}

/** Does the server lack this endpoint (development endpoints off, or an older version)? */
export function isAbsent({ status }: CallFailure): boolean {
  return status === 404 || status === 405;
}

/** Did the server decline this very request (an embedding server asked to generate, for example)? It is alive, then. */
export function isRefusal({ status }: CallFailure): boolean {
  return status !== undefined && status >= 400 && status < 500;
}

/** The message in any of vLLM's error bodies: the OpenAI envelope, FastAPI's `detail`, a bare string under `error`. */
export function errorMessage(body: string): string {
  const parsed = parseJson(body);
  const error = fieldOf(parsed, 'error');
  const message = text(fieldOf(error, 'message')) ?? text(error) ?? text(fieldOf(parsed, 'detail'));
  return (message ?? body).slice(0, 500);
}

/** What kind of failure a thrown undici or socket error is. */
export function failureKind(thrown: unknown): CallFailure['kind'] {
  const code = text(fieldOf(thrown, 'code'));
  const name = text(fieldOf(thrown, 'name'));
  if (name === 'TimeoutError' || name === 'AbortError' || code?.endsWith('_TIMEOUT') || code === 'ETIMEDOUT')
    return 'timeout';
  if (code === 'ECONNREFUSED' || code === 'ENOENT') return 'refused';
  if (
    code === 'ENOTFOUND' ||
    code === 'EAI_AGAIN' ||
    code === 'EHOSTUNREACH' ||
    code === 'ENETUNREACH' ||
    code === 'EACCES'
  )
    return 'unreachable';
  if (isTlsFailure(code)) return 'tls';
  return code?.startsWith('HPE_') ? 'protocol' : 'reset';
}

interface CallOptions {
  readonly body?: unknown;
  readonly timeoutMs?: number;
}

function withApiKey(source: ApiKeySource): Dispatcher.DispatcherComposeInterceptor {
  return (dispatch) => (options, handler) => {
    const apiKey = apiKeyNow(source);
    if (apiKey === undefined) return dispatch(options, handler);
    const { headers } = options;
    const authorization = `Bearer ${apiKey}`;
    if (Array.isArray(headers))
      return dispatch({ ...options, headers: [...headers, 'authorization', authorization] }, handler);
    return dispatch({ ...options, headers: { ...(headers as Record<string, string>), authorization } }, handler);
  };
}

/** The body as text; undefined when it is larger than any answer that is read here. */
async function readBody(body: AsyncIterable<Uint8Array>): Promise<string | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function failed(kind: CallFailure['kind'], message: string): Reply<never> {
  return { ok: false, failure: { kind, message } };
}

function record(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function flag(value: unknown): boolean | undefined {
  return typeof value === 'boolean' ? value : undefined;
}
