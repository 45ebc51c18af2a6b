import { stat } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Agent, request } from 'undici';
import { engineAddress, isLoopback } from '../../model/engine-address.js';

const PROBE_TIMEOUT_MS = 1_000;
const OTHERS_MAY_WRITE = 0o002;

/** Addresses of this host that others could reach; those of IPv6 that hold on one link alone are left out. */
function outsideAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((entries) =>
    (entries ?? []).flatMap(({ internal, address, scopeid = 0 }) => (internal || scopeid !== 0 ? [] : address)),
  );
}

/**
 * Where, other than at loopback, the development endpoints of a server answer whoever asks: calls `/is_sleeping`, which changes nothing, without any key or certificate. A socket
 * is open to whoever may write to it.
 *
 * @param url Base URL of a server that has development endpoints.
 */
export async function exposedAddresses(url: string, addresses = outsideAddresses()): Promise<string[]> {
  const { host, port, secure, socketPath, origin } = engineAddress(url);
  if (socketPath !== undefined) return (await isOpenToAll(socketPath)) ? [`${socketPath} (for every user)`] : [];
  // Whoever reaches it as we do may ask.
  if (!isLoopback(host) && !secure) return [new URL(origin).host];
  const origins = isLoopback(host)
    ? addresses.map((address) => `${secure ? 'https' : 'http'}://${isIPv6(address) ? `[${address}]` : address}:${port}`)
    : [origin];
  const answers = await Promise.all(origins.map(answersAt));
  return origins.filter((_origin, index) => answers[index]).map((open) => new URL(open).host);
}

async function isOpenToAll(socketPath: string): Promise<boolean> {
  const entry = await stat(socketPath).catch(() => undefined);
  return entry !== undefined && (entry.mode & OTHERS_MAY_WRITE) !== 0;
}

async function answersAt(origin: string): Promise<boolean> {
  // A stranger does not care whose certificate the server has.
  const stranger = new Agent({ connect: { rejectUnauthorized: false } });
  try {
    const { statusCode, body } = await request(`${origin}/is_sleeping`, {
      dispatcher: stranger,
      signal: AbortSignal.timeout(PROBE_TIMEOUT_MS),
    });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  } finally {
    await stranger.destroy();
  }
}
