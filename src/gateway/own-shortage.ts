import { MaestroError, systemCodeOf } from '../model/error.js';

/** Errors of a connection attempt that are about this process or host, and not about the engine. */
const OWN_SHORTAGES: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS', 'ENOMEM']);

/** Errors of a connection attempt that say that nobody listens there, on a port or on a socket. */
const REFUSALS: ReadonlySet<unknown> = new Set(['ECONNREFUSED', 'ENOENT']);

/** Is there nobody at the engine's address? Any other failure leaves it open whether it lives. */
export function nobodyListens(cause: Error): boolean {
  return REFUSALS.has(systemCodeOf(cause));
}

/** What to tell when it is we who lack the means to reach an engine, which must then not be taken for dead; else undefined. */
export function ownShortage(cause: Error): MaestroError | undefined {
  if (!OWN_SHORTAGES.has(systemCodeOf(cause))) return undefined;
  const message = 'This gateway has no free sockets. Raise its limit of open files (ulimit -n).';
  return new MaestroError('queue_full', message, { reason: 'no-sockets', cause });
}
