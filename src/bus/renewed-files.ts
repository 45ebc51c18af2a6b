import { readFileSync, statSync } from 'node:fs';
import type { Clock } from '../model/clock.js';
import { MaestroError, unreadableFile } from '../model/error.js';

/** New files are looked for at most so often, wall milliseconds. Tools that renew certificates do so hours before the old ones end. */
const LOOK_EVERY_MS = 10_000;

/** What is made of files that others replace while this process runs: read again once they have changed. */
export class RenewedFiles<T> {
  private made: T;
  private versions: string;
  private lookedMs: number;

  /**
   * @param paths Of the files; undefined where there is none.
   * @param read Makes it of them. Throws where they cannot be used, the first time out of this constructor.
   * @param onStale Told when files that have changed cannot be used; what was made of the former ones goes on.
   */
  constructor(
    private readonly paths: readonly (string | undefined)[],
    private readonly read: () => T,
    private readonly clock: Clock,
    private readonly onStale: (error: MaestroError) => void,
  ) {
    this.versions = versionsOf(paths);
    this.made = read();
    this.lookedMs = clock.nowMs();
  }

  /** The same object until the files have changed. */
  current(): T {
    return this.clock.nowMs() - this.lookedMs < LOOK_EVERY_MS ? this.made : this.look();
  }

  /** The same, looked at now. */
  look(): T {
    this.lookedMs = this.clock.nowMs();
    try {
      const versions = versionsOf(this.paths);
      if (versions === this.versions) return this.made;
      this.made = this.read();
      this.versions = versions;
    } catch (thrown) {
      this.onStale(MaestroError.from(thrown));
    }
    return this.made;
  }
}

/** Reads a file in PEM form; `what` says in the error what it should hold. */
export function readPem(path: string, what: string): Buffer {
  let pem: Buffer;
  try {
    pem = readFileSync(path);
  } catch (cause) {
    throw unreadableFile(path, what, cause);
  }
  // OpenSSL takes a file of authorities without any certificate for one that trusts nobody.
  if (pem.includes('-----BEGIN ')) return pem;
  throw new MaestroError('invalid_request', `The file ${path} should hold ${what} in PEM form, and does not.`);
}

/** Changes whenever a file does. A file that is being replaced may be missing for a moment. */
function versionsOf(paths: readonly (string | undefined)[]): string {
  return paths
    .map((path) => {
      const stat = path === undefined ? undefined : statSync(path, { throwIfNoEntry: false });
      return stat ? `${stat.ino}:${stat.mtimeMs}:${stat.size}` : '';
    })
    .join(' ');
}
