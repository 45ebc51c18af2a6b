import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock, Timer } from '../model/clock.js';
import { ClientConnection, type ConnectionHost, type ConnectionLimits } from './client-connection.js';
import { ConnectionCap } from './connection-cap.js';

/** How often connections are checked against their time limits, wall milliseconds: what Node does with its own. */
const CHECK_MS = 1000;

export interface ConnectionsOptions extends Pick<ConnectionHost, 'serverOf' | 'late'> {
  readonly limits: ConnectionLimits;
  /** Connections that one address may have open; undefined: any number. */
  readonly mostPerAddress: number | undefined;
  readonly wallClock: Clock;
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
  private readonly cap: ConnectionCap | undefined;
  private check: Timer | undefined;
  closing = false;

  /** Sees the connections of `server` before it does. */
  constructor(
    private readonly server: Server,
    { limits, mostPerAddress, serverOf, late, wallClock }: ConnectionsOptions,
  ) {
    this.limits = limits;
    this.serverOf = serverOf;
    this.late = late;
    this.wallClock = wallClock;
    this.cap = mostPerAddress === undefined ? undefined : new ConnectionCap(mostPerAddress, wallClock);
    this.keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${Math.floor(limits.keepAliveMs / 1000)}\r\n`;
    this.byNode = server.listeners('connection');
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => this.accept(socket));
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
    for (const connection of this.open) if (connection.state === 'new') return true;
    return false;
  }

  closeNew(): void {
    for (const connection of this.open) if (connection.state === 'new') connection.socket.destroy();
  }

  closeAll(): void {
    this.check?.cancel();
    for (const connection of this.open) connection.socket.destroy();
  }

  private accept(socket: Socket): void {
    if (this.cap && !this.cap.admits(socket)) return;
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
