import { execFile } from 'node:child_process';
import type { Logger } from '../observe/log.js';

/** Wall milliseconds: it waits until systemd has read the message, five seconds at most. */
const LONGEST_MS = 10_000;

/**
 * Tells systemd what this process is at (`Type=notify`, sd_notify(3)), in order. Node has no datagram sockets of that kind, so `systemd-notify` sends; with assignments in place of
 * flags, because `--stopping` and `--reloading` are those of systemd 253 and later.
 */
export class ServiceManager {
  private sending = false;
  /** What is to be told next: what it is at now, and not all that it has been. */
  private waiting: (readonly string[])[] = [];
  private stopped = false;
  private unheard = false;

  constructor(
    private readonly environment: NodeJS.ProcessEnv,
    private readonly logger: Pick<Logger, 'warn'>,
  ) {}

  /** It serves, or serves on after a reload. */
  ready(): void {
    this.tell([...this.waiting, ['READY=1']]);
  }

  /** To be followed by {@link ready}. */
  reloading(): void {
    // The time belongs to `Type=notify-reload`; both clocks are CLOCK_MONOTONIC.
    this.tell([['RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`]]);
  }

  /** Nothing can be told after it. */
  stopping(): void {
    this.tell([['STOPPING=1']]);
    this.stopped = true;
  }

  private tell(waiting: (readonly string[])[]): void {
    if (this.stopped || this.unheard) return;
    this.waiting = waiting;
    if (!this.sending) this.send();
  }

  private send(): void {
    const next = this.waiting.shift();
    this.sending = next !== undefined;
    if (next === undefined) return;
    execFile('systemd-notify', next, { env: this.environment, timeout: LONGEST_MS }, (err) => {
      if (!err) {
        this.send();
        return;
      }
      this.unheard = true;
      this.logger.warn(
        { err },
        'systemd cannot be told that Maestro is ready: systemd-notify failed; use Type=simple, or have it in PATH',
      );
    });
  }
}

/** The service manager that waits to hear from this process; undefined where none does. Engines are not told of it: what they say must not be taken for ours. */
export function takeServiceManager(logger: Pick<Logger, 'warn'>): ServiceManager | undefined {
  if (process.env['NOTIFY_SOCKET'] === undefined) return undefined;
  const environment = { ...process.env };
  delete process.env['NOTIFY_SOCKET'];
  return new ServiceManager(environment, logger);
}
