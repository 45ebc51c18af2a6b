import { type EngineAddress, isLoopback } from '../model/engine-address.js';

/**
 * Would a server at this host serve other machines without asking them who they are, and has nobody said that it may?
 *
 * @param asks For a key, or for a certificate.
 */
export function isOpenToOthers(host: string, asks: boolean, insecure: boolean): boolean {
  return !isLoopback(host) && !asks && !insecure;
}

/** Addresses at which a server listens on every address of its host. */
const EVERYWHERE: readonly string[] = ['0.0.0.0', '::'];

/** Does the address of an engine lead to a server at `host` and `port`, as far as names tell? */
export function leadsTo(address: EngineAddress, host: string, port: number): boolean {
  if (address.socketPath !== undefined || address.port !== port) return false;
  if (isLoopback(address.host)) return isLoopback(host) || EVERYWHERE.includes(host);
  return address.host === host;
}
