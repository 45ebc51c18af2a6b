import { lookup } from 'node:dns/promises';
import { isIPv6 } from 'node:net';
import type { Clock, Timer } from '../model/clock.js';
import { messageOf } from '../model/error.js';
import type { Logger } from '../observe/log.js';

/** Before a URL whose host name stands for several servers, each at an address of its own. */
const PREFIX = 'dns+';

/** Between two looks at the names, wall milliseconds: a pod of Kubernetes that is ready is named within seconds. */
const LOOK_AGAIN_MS = 10_000;

/** All addresses of a host name. */
export type LookUp = (host: string) => Promise<readonly { readonly address: string; readonly family: number }[]>;

/** The URL after the prefix, where there is one. */
export function behindName(url: string): string | undefined {
  return url.startsWith(PREFIX) ? url.slice(PREFIX.length) : undefined;
}

/** The servers that `--vllm` names, some by a name with an address for each of them; looked up again now and then. */
export class ServerNames {
  /** URLs of the servers behind each name, as of the last look that brought any. */
  private readonly known = new Map<string, readonly string[]>();
  private readonly failing = new Set<string>();
  private timer: Timer | undefined;
  private stopped = false;

  constructor(
    private readonly urls: readonly string[],
    private readonly lookUp: LookUp = (host) => lookup(host, { all: true }),
  ) {}

  /** URLs of all servers, each once. Of a name that has no address now, those that it had. `onFailure` hears of such a name once, until it has one again. */
  async look(onFailure: (url: string, message: string) => void = () => {}): Promise<string[]> {
    const each = this.urls.map(async (url) => {
      const named = behindName(url);
      if (named === undefined) return [url];
      try {
        this.known.set(url, await this.serversAt(named));
        this.failing.delete(url);
      } catch (error) {
        if (!this.failing.has(url)) onFailure(url, messageOf(error));
        this.failing.add(url);
      }
      return this.known.get(url) ?? [];
    });
    return [...new Set((await Promise.all(each)).flat())];
  }

  /** Looks again and again; `onLook` hears what was found. Nothing where all servers are named one by one. */
  watch(clock: Clock, logger: Pick<Logger, 'warn'>, onLook: (urls: readonly string[]) => void): void {
    if (this.stopped || !this.urls.some((url) => behindName(url) !== undefined)) return;
    const onFailure = (url: string, message: string) =>
      logger.warn({ url, message }, 'no server is found under this name; those that were found before serve on');
    this.timer = clock.after(LOOK_AGAIN_MS, async () => {
      const urls = await this.look(onFailure);
      if (this.stopped) return;
      onLook(urls);
      this.watch(clock, logger, onLook);
    });
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  /** A host of both families is one server, so only one of them counts. */
  private async serversAt(url: string): Promise<string[]> {
    const { hostname, port } = new URL(url);
    const all = await this.lookUp(hostname);
    const family = all.some((each) => each.family === 4) ? 4 : 6;
    const addresses = all.filter((each) => each.family === family).map(({ address }) => address);
    return [...new Set(addresses)].sort().map((address) => {
      const host = isIPv6(address) ? `[${address}]` : address;
      return port === '' ? `http://${host}` : `http://${host}:${port}`;
    });
  }
}
