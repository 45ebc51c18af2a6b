import { stat } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { request } from 'undici';
import { engineAddress } from '../../model/engine-address.js';
import { isLoopback } from './engine-checks.js';

const PROBE_TIMEOUT_MS = 1_000;
const OTHERS_MAY_WRITE = 0o002;

/** Addresses of this host that others could reach. */
export function outsideAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((entries) =>
    (entries ?? []).flatMap(({ internal, family, address }) => (internal || family !== 'IPv4' ? [] : address)),
  );
}

/**
 * Where, other than at loopback, the development endpoints of a local server answer: asks `/is_sleeping`, which changes nothing. A socket is open to whoever may write to
 * it.
 *
 * @param url Base URL of a server at a loopback address or on a socket; others are not probed.
 */
export async function exposedAddresses(url: string, addresses = outsideAddresses()): Promise<string[]> {
  const { host, port, socketPath } = engineAddress(url);
  if (socketPath !== undefined) return (await isOpenToAll(socketPath)) ? [`${socketPath} (for every user)`] : [];
  if (!isLoopback(host)) return [];
  const answers = await Promise.all(
    addresses.map(async (address) =>
      (await answersAt(`http://${address}:${port}`)) ? `${address}:${port}` : undefined,
    ),
  );
  return answers.filter((address) => address !== undefined);
}

async function isOpenToAll(socketPath: string): Promise<boolean> {
  const entry = await stat(socketPath).catch(() => undefined);
  return entry !== undefined && (entry.mode & OTHERS_MAY_WRITE) !== 0;
}

async function answersAt(origin: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${origin}/is_sleeping`, {
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}
