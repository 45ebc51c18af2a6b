import { createServer, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { GatewayConfig } from './config.js';
import type { DoorTls } from './door-tls.js';
import { InboundRequest } from './inbound-request.js';

/** Bytes of an answer that may wait for the client before its engine is stopped: as much as one read brings at most, of which Node would hold a quarter. */
const HIGH_WATER_BYTES = 64 * 1024;

/** Node's HTTP server with the limits of the config; over TLS where it is given what for. */
export function doorServer({ headerLimitBytes, timeouts }: GatewayConfig, tls: DoorTls | undefined): Server {
  const options = {
    IncomingMessage: InboundRequest,
    maxHeaderSize: headerLimitBytes,
    headersTimeout: timeouts.requestHeadersMs,
    requestTimeout: timeouts.requestBodyMs,
    keepAliveTimeout: timeouts.keepAliveMs,
    connectionsCheckingInterval: 1000,
    highWaterMark: HIGH_WATER_BYTES,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  const server = tls ? tlsServer(options, tls) : createServer(options);
  // The header limit is the bound; beyond a count Node would drop headers without a word.
  server.maxHeadersCount = 0;
  return server;
}

function tlsServer(options: Parameters<typeof createTlsServer<typeof InboundRequest>>[0], tls: DoorTls): Server {
  const credentials = tls.current();
  const asksClients = credentials.ca !== undefined;
  return createTlsServer({
    ...options,
    ...credentials,
    ...{ requestCert: asksClients, rejectUnauthorized: asksClients },
    // A handshake is the first part of what a client has to say before its request.
    handshakeTimeout: options.headersTimeout,
  });
}
