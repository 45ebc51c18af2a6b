/** Where the server of an engine listens: on a port, or on a Unix socket of this host. */
export interface EngineAddress {
  /** Scheme, host and port as they stand in requests; `http://localhost` on a socket. */
  readonly origin: string;
  /** Host name or address, without brackets. */
  readonly host: string;
  readonly port: number;
  /** TLS. */
  readonly secure: boolean;
  /** Path of the socket; undefined where the server listens on a port. */
  readonly socketPath: string | undefined;
}

/** Longest path of a socket: `sun_path` of Linux has 108 bytes, the last of which is 0. */
const MAX_SOCKET_PATH_BYTES = 107;

/** What is said where something else was written. */
export const ENGINE_URL_HINT =
  'must be a URL such as http://127.0.0.1:8000 or unix:/run/vllm/a.sock, with nothing after the port and no password';

/** What may follow the port: many copy the base URL of a client. */
const NO_PATH = /^\/(v1\/?)?$/;

/**
 * Reads `http://HOST:PORT`, `https://…` or `unix:/PATH`; undefined for anything else. A path, as of several servers behind one proxy, is refused: vLLM's endpoints stand at the root, and
 * without it another server would be asked.
 */
export function parseEngineUrl(url: string): EngineAddress | undefined {
  const socket = /^unix:(?:\/\/)?(\/.*[^/])$/.exec(url)?.[1];
  if (socket !== undefined) {
    if (socket.includes('\0') || new TextEncoder().encode(socket).length > MAX_SOCKET_PATH_BYTES) return undefined;
    return { origin: 'http://localhost', host: 'localhost', port: 80, secure: false, socketPath: socket };
  }
  if (!/^https?:\/\//i.test(url) || !URL.canParse(url)) return undefined;
  const { protocol, hostname, port, origin, pathname, search, hash, username, password } = new URL(url);
  if (!NO_PATH.test(pathname) || search + hash + username + password !== '') return undefined;
  const secure = protocol === 'https:';
  const host = hostname.replace(/^\[|\]$/g, '');
  return { origin, host, port: Number(port) || (secure ? 443 : 80), secure, socketPath: undefined };
}

/** The same for a URL that was checked before. Throws for any other. */
export function engineAddress(url: string): EngineAddress {
  const address = parseEngineUrl(url);
  if (!address) throw new TypeError(`the url of an engine ${ENGINE_URL_HINT}, and is "${withoutPassword(url)}"`);
  return address;
}

/** What was written for a URL, fit to be shown. */
export function withoutPassword(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//********@');
}

/** Does the host name lead to this machine only? With or without the brackets of an address of version 6. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d+){3}|::1|\[::1\])$/.test(host);
}
