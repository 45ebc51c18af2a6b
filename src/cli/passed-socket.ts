import { readFileSync, readlinkSync } from 'node:fs';
import { endianness } from 'node:os';
import { MaestroError } from '../model/error.js';

/** A socket that listens already, on which connections wait while no process serves them. */
export interface PassedSocket {
  readonly fd: number;
  readonly host: string;
  readonly port: number;
}

/** The first that systemd passes (`SD_LISTEN_FDS_START` of sd_listen_fds(3)). */
const FIRST_FD = 3;
/** `TCP_LISTEN`, as /proc/net/tcp writes it. */
const LISTENS = '0A';

/**
 * The socket that systemd's socket activation has passed to this process; undefined where it has passed none. What tells of it is taken out of the environment, so that no engine
 * takes it for its own. Throws where it is none that can be served.
 */
export function takePassedSocket(environment: NodeJS.ProcessEnv = process.env): PassedSocket | undefined {
  const { LISTEN_PID: pid, LISTEN_FDS: fds } = environment;
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete environment[name];
  const count = Number(fds ?? 0);
  if (Number(pid) !== process.pid || !(count > 0)) return undefined;
  if (count > 1) {
    throw new MaestroError(
      'invalid_request',
      `${count} sockets were passed, and Maestro serves on one: give its socket unit one ListenStream= (a port alone stands for every address, of IPv4 and IPv6).`,
    );
  }
  const address = listeningAt(FIRST_FD);
  if (address) return { fd: FIRST_FD, ...address };
  throw new MaestroError(
    'invalid_request',
    `The socket that was passed (file descriptor ${FIRST_FD}) is not one that listens on a TCP port of this network: give the socket unit ListenStream= with a port, and Accept=no.`,
  );
}

/** Where a socket of this process listens. Linux tells it; Node would have to begin to accept connections first. */
function listeningAt(fd: number): Pick<PassedSocket, 'host' | 'port'> | undefined {
  const inode = /^socket:\[(\d+)\]$/.exec(linkOf(`/proc/self/fd/${fd}`))?.[1];
  if (inode === undefined) return undefined;
  for (const table of ['tcp', 'tcp6']) {
    for (const line of linesOf(`/proc/self/net/${table}`)) {
      const [, local = '', , state, , , , , , owner] = line.trim().split(/\s+/);
      if (owner === inode && state === LISTENS) return readSocketAddress(local);
    }
  }
  return undefined;
}

/** Reads an address as /proc/net/tcp writes it, such as `0100007F:1F90`: words of 32 bits, each in the byte order of the machine. */
export function readSocketAddress(
  written: string,
  byteOrder = endianness(),
): Pick<PassedSocket, 'host' | 'port'> | undefined {
  const [, words = '', port = ''] = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(written) ?? [];
  if (words === '') return undefined;
  const bytes = Buffer.from(words, 'hex');
  if (byteOrder === 'LE') bytes.swap32();
  const host =
    bytes.length === 4
      ? bytes.join('.')
      : new URL(`http://[${bytes.toString('hex').replace(/....(?=.)/g, '$&:')}]`).hostname.slice(1, -1);
  return { host, port: Number.parseInt(port, 16) };
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'latin1').split('\n');
  } catch {
    return [];
  }
}
