import type { DataHandler, DataPath, DataRequest } from '../../bus/contract.js';
import { soon } from '../../bus/soon.js';
import type { Clock, Timer } from '../../model/clock.js';
import { type EngineAddress, engineAddress } from '../../model/engine-address.js';
import { ConnectionCall, DataConnection } from './data-connection.js';
import type { EngineTls } from './engine-tls.js';

/** The API key that a server asks for; a function where it may change while this process runs. */
export type ApiKeySource = string | (() => string | undefined) | undefined;

export function apiKeyNow(source: ApiKeySource): string | undefined {
  return typeof source === 'function' ? source() : source;
}

export interface EnginePathOptions {
  /** Base URL of the engine; `unix:/PATH` for a socket. */
  readonly origin: string;
  /** Sent as a bearer token with every request. */
  readonly apiKey?: ApiKeySource;
  /** For `https://`; absent: Node's own trust, and no certificate. */
  readonly tls?: EngineTls | undefined;
  /** A connection that was idle for longer is not used again, wall milliseconds. */
  readonly keepAliveMs: number;
  readonly clock: Clock;
}

/** Latin-1 without control characters: what may stand in a header without ending it. */
const HEADER_TEXT = /^[\t\x20-\x7e\x80-\xff]*$/;

/** A request target without spaces or control characters. */
const TARGET = /^[\x21-\x7e\x80-\xff]+$/;

/**
 * The way of requests to one engine: a connection each, kept for the next one. It does what this path needs and no more, and so costs less than
 * a general client: one write for a small request, one shared room for reading, no pipelining, no queue (the queue is ours).
 */
export class EnginePath implements DataPath {
  private readonly address: EngineAddress;
  private apiKey: string | undefined;
  private head: string;
  /** The newest last. */
  private idleConnections: DataConnection[] = [];
  private readonly connections = new Set<DataConnection>();
  private sweep: Timer | undefined;
  private closed = false;

  constructor(private readonly options: EnginePathOptions) {
    this.address = engineAddress(options.origin);
    this.apiKey = apiKeyNow(options.apiKey);
    this.head = this.headWith(this.apiKey);
  }

  /** Open connections, idle ones included. */
  get size(): number {
    return this.connections.size;
  }

  /** Sends a request on an idle connection, or on a new one. Throws when the path or a header cannot stand in a request. */
  dispatch(request: DataRequest, handler: DataHandler): void {
    const { method, path, headers, body } = request;
    if (!TARGET.test(path)) throw new TypeError('the path of the request cannot be sent');
    let head = `${method} ${path} HTTP/1.1\r\n${this.fixedHead}`;
    for (let index = 0; index < headers.length; index += 2) head += headerLine(headers[index]!, headers[index + 1]!);
    head += body ? `content-length: ${body.length}\r\n\r\n` : '\r\n';
    if (this.closed) {
      // The engine has left the fleet: for whoever still has its address nobody listens there.
      const gone = Object.assign(new Error('the engine has left the fleet'), { code: 'ECONNREFUSED' });
      soon(() => handler.onError(gone, false));
      return;
    }
    const connection = this.takeIdle() ?? this.open();
    connection.send(new ConnectionCall(connection, head, body, handler));
  }

  /** Breaks all connections at once. */
  close(): void {
    this.closed = true;
    this.sweep?.cancel();
    this.sweep = undefined;
    for (const connection of this.connections) connection.destroy();
  }

  /** A connection's report that it can carry another call. */
  idle(connection: DataConnection): void {
    connection.idleSinceMs = this.options.clock.nowMs();
    this.idleConnections.push(connection);
    this.sweep ??= this.options.clock.after(this.options.keepAliveMs, () => this.closeOld());
  }

  /** A connection's report that it is closed. */
  gone(connection: DataConnection): void {
    this.connections.delete(connection);
  }

  /** What stands in the head of every request. */
  private get fixedHead(): string {
    const apiKey = apiKeyNow(this.options.apiKey);
    if (apiKey !== this.apiKey) {
      this.apiKey = apiKey;
      this.head = this.headWith(apiKey);
    }
    return this.head;
  }

  private headWith(apiKey: string | undefined): string {
    const { host } = new URL(this.address.origin);
    const authorization = apiKey === undefined ? '' : headerLine('authorization', `Bearer ${apiKey}`);
    return `host: ${host}\r\nconnection: keep-alive\r\n${authorization}`;
  }

  private open(): DataConnection {
    const connection = new DataConnection(this.address, this, this.options.tls);
    this.connections.add(connection);
    return connection;
  }

  private takeIdle(): DataConnection | undefined {
    const oldestMs = this.options.clock.nowMs() - this.options.keepAliveMs;
    for (let last = this.idleConnections.pop(); last; last = this.idleConnections.pop()) {
      if (last.idleSinceMs >= oldestMs && last.usable) return last;
      last.destroy();
    }
    return undefined;
  }

  private closeOld(): void {
    this.sweep = undefined;
    const oldestMs = this.options.clock.nowMs() - this.options.keepAliveMs;
    const kept: DataConnection[] = [];
    for (const connection of this.idleConnections) {
      if (connection.idleSinceMs >= oldestMs && connection.usable) kept.push(connection);
      else connection.destroy();
    }
    this.idleConnections = kept;
    if (kept.length > 0) this.sweep = this.options.clock.after(this.options.keepAliveMs, () => this.closeOld());
  }
}

function headerLine(name: string, value: string): string {
  if (!HEADER_TEXT.test(value)) throw new TypeError(`the value of header ${name} cannot be sent`);
  return `${name}: ${value}\r\n`;
}
