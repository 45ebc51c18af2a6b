import { once } from 'node:events';
import { createServer } from 'node:net';
import { isOpenToOthers, leadsTo } from '../config/listen.js';
import { engineAddress } from '../model/engine-address.js';
import { MaestroError, systemCodeOf } from '../model/error.js';
import type { ServeOptions } from './serve.js';

/** What may speak against an address to listen on. All of it is looked at before engines are touched. */

const LISTEN_PROBLEMS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'something listens there already',
  EACCES: 'not permitted',
  EADDRNOTAVAIL: 'this machine has no such address',
};

/** Throws where other machines would be let in without a key. */
export function refuseStrangers(options: ServeOptions, host: string): void {
  const { keys, tls, insecure } = options.config.gateway;
  if (isOpenToOthers(host, keys.length > 0 || tls?.clientCa !== undefined, insecure || options.insecure === true)) {
    throw new MaestroError(
      'invalid_request',
      `"${host}" lets other machines in, and no key is asked of them. Name keys in a fleet file (gateway.keys, with --fleet), ask for certificates (--tls-client-ca), listen on 127.0.0.1, or allow it with --insecure.`,
    );
  }
}

/** Throws where an engine would be this very server: a request to it would come back as another, until nothing is left. */
export function refuseItself({ config, vllmUrls }: ServeOptions, host: string, port: number): void {
  const urls = vllmUrls ?? config.fleet.nodes.flatMap(({ engines }) => engines.flatMap(({ url }) => url ?? []));
  const own = urls.find((url) => leadsTo(engineAddress(url), host, port));
  if (own === undefined) return;
  throw new MaestroError(
    'invalid_request',
    `Maestro itself is to listen on ${host}:${port}, which is where the engine ${own} should be. Correct the URL, or choose another port with --port.`,
  );
}

/** Before engines are touched: a start that comes to nothing must not disturb them. */
export async function refuseTakenPort(port: number, host: string): Promise<void> {
  if (port === 0) return;
  const probe = createServer();
  await listen(() => once(probe.listen(port, host), 'listening'), port, host);
  await new Promise((resolve) => probe.close(resolve));
}

/** Opens the door; an address that cannot be had is told with what to do about it. */
export async function listen(open: () => Promise<unknown>, port: number, host: string): Promise<void> {
  try {
    await open();
  } catch (cause) {
    const why = LISTEN_PROBLEMS[systemCodeOf(cause) ?? ''];
    if (why === undefined) throw cause;
    throw new MaestroError(
      'invalid_request',
      `Cannot listen on ${host}:${port}: ${why}. Choose another with --port (0 picks a free one).`,
      { cause },
    );
  }
}
