import { networkInterfaces } from 'node:os';
import { request } from 'undici';
import { isLoopback } from './engine-checks.js';

const PROBE_TIMEOUT_MS = 1_000;

/** Addresses of this host that others could reach. */
export function outsideAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((entries) =>
    (entries ?? []).flatMap(({ internal, family, address }) => (internal || family !== 'IPv4' ? [] : address)),
  );
}

/**
 * Where, other than at loopback, the development endpoints of a local server answer. Asks `/is_sleeping`, which changes nothing.
 *
 * @param url Base URL of a server at a loopback address; others are not probed.
 */
export async function exposedAddresses(url: string, addresses = outsideAddresses()): Promise<string[]> {
  const { hostname, port } = new URL(url);
  if (!isLoopback(hostname)) return [];
  const answers = await Promise.all(
    addresses.map(async (address) =>
      (await answersAt(`http://${address}:${port}`)) ? `${address}:${port}` : undefined,
    ),
  );
  return answers.filter((address) => address !== undefined);
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
