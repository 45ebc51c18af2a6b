import type { Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Logger } from '../observe/log.js';

/** In PEM form. */
export interface DoorCredentials {
  readonly cert: Buffer;
  readonly key: Buffer;
  /** Signs the certificates that clients must show; absent: none is asked for. */
  readonly ca?: Buffer;
}

/** How the front door proves who it is, and which clients it lets in. */
export interface DoorTls {
  /** For the next connection: the same object until they have changed. */
  current(): DoorCredentials;
}

/** Connections of clients below TLS: renews the credentials between them, and knows those whose handshake is not complete, which Node's server neither counts nor closes. */
export class TlsEntrance {
  private readonly open = new Set<Socket>();
  private secured = 0;

  /**
   * @param admits False where a connection is refused. Without TLS there is nothing that can be told on it, so it is cut.
   */
  constructor(server: TlsServer, tls: DoorTls, admits: (socket: Socket) => boolean, logger: Logger) {
    const { open } = this;
    const begin = server.listeners('connection');
    let credentials = tls.current();
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      if (!admits(socket)) {
        socket.destroy();
        return;
      }
      const next = tls.current();
      if (next !== credentials) server.setSecureContext(next);
      credentials = next;
      open.add(socket);
      socket.once('close', () => open.delete(socket));
      for (const listener of begin) listener.call(server, socket);
    });
    server.on('secureConnection', (socket) => {
      this.secured += 1;
      socket.once('close', () => {
        this.secured -= 1;
      });
    });
    // Node takes such a connection for one with a bad request, and would have it answered.
    server.removeAllListeners('tlsClientError');
    server.on('tlsClientError', (err, socket) => {
      logger.debug({ err }, 'no TLS connection came of one to the front door');
      socket.destroy();
    });
  }

  /** Is a handshake not complete? */
  get anyNew(): boolean {
    return this.open.size > this.secured;
  }

  closeAll(): void {
    for (const socket of this.open) socket.destroy();
  }
}
