import type { Server } from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../model/clock.js';
import type { Logger } from '../observe/log.js';
import { ClientConnection, type ConnectionHost, type ConnectionLimits } from './client-connection.js';
import { ConnectionCap, TOO_MANY_CONNECTIONS } from './connection-cap.js';
import { type DoorTls, TlsEntrance } from './door-tls.js';
import { sayLast } from './last-words.js';

/** How often connections are checked against their time limits, wall milliseconds: what Node does with its own. */
const CHECK_MS = 1000;

export interface ConnectionsOptions extends Pick<ConnectionHost, 'serverOf' | 'late'> {
  readonly limits: ConnectionLimits;
  /** Connections that one address may have open; undefined: any number. */
  readonly mostPerAddress: number | undefined;
  readonly wallClock: Clock;
  /** What `server` speaks TLS with. */
  readonly tls: DoorTls | undefined;
  readonly logger: Logger;
}

/** The clients' connections that Node's HTTP server has not been given. */
export class ClientConnections implements ConnectionHost {
  readonly limits: ConnectionLimits;
  readonly keepAlive: string;
  readonly serverOf: ConnectionHost['serverOf'];
  readonly late: ConnectionHost['late'];
  private readonly byNode: ReturnType<Server['listeners']>;
  private readonly open = new Set<ClientConnection>();
  private readonly wallClock: Clock;
  private readonly entrance: TlsEntrance | undefined;
  private check: Timer | undefined;
  closing = false;

  /** Sees the connections of `server` before it does. */
  constructor(
    private readonly server: Server,
    { limits, mostPerAddress, serverOf, late, wallClock, tls, logger }: ConnectionsOptions,
  ) {
    this.limits = limits;
    this.serverOf = serverOf;
    this.late = late;
    this.wallClock = wallClock;
    this.keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(limits.keepAliveMs / 1000)}\r\n`;
    const cap = new ConnectionCap(mostPerAddress);
    const accepted = tls ? 'secureConnection' : 'connection';
    this.byNode = server.listeners(accepted);
    server.removeAllListeners(accepted);
    if (tls) this.entrance = new TlsEntrance(server as TlsServer, tls, (socket) => cap.admits(socket), logger);
    server.on(accepted, (socket: Socket) => {
      if (tls || cap.admits(socket)) this.accept(socket);
      else this.refuse(socket);
    });
  }

  nowMs(): number {
    return this.wallClock.nowMs();
  }

  takeOver(connection: ClientConnection, bytes: Buffer): void {
    this.open.delete(connection);
    for (const listener of this.byNode) listener.call(this.server, connection.socket);
    connection.socket.unshift(bytes);
  }

  gone(connection: ClientConnection): void {
    this.open.delete(connection);
  }

  /** From now on each connection closes once its answer has left; those that wait for a further request close at once. */
  close(): void {
    this.closing = true;
    for (const connection of this.open) if (connection.state === 'idle') connection.socket.destroy();
  }

  /** Has one been taken in of whose first request nothing has come? Its client cannot know that the door is shut. */
  get anyNew(): boolean {
    if (this.entrance?.anyNew) return true;
    for (const connection of this.open) if (connection.state === 'new') return true;
    return false;
  }

  closeNew(): void {
    for (const connection of this.open) if (connection.state === 'new') connection.socket.destroy();
  }

  closeAll(): void {
    this.check?.cancel();
    for (const connection of this.open) connection.socket.destroy();
    this.entrance?.closeAll();
  }

  private refuse(socket: Socket): void {
    socket.on('error', () => {});
    sayLast(socket, TOO_MANY_CONNECTIONS, this.wallClock);
  }

  private accept(socket: Socket): void {
    this.open.add(new ClientConnection(socket, this));
    this.checkSoon();
  }

  private checkSoon(): void {
    this.check ??= this.wallClock.after(CHECK_MS, () => {
      this.check = undefined;
      const nowMs = this.nowMs();
      for (const connection of this.open) connection.checkTimeouts(nowMs);
      if (this.open.size > 0) this.checkSoon();
    });
  }
}
