import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Ticks of /proc/PID/stat a second: USER_HZ, which Linux fixes at 100. */
const TICKS_PER_SECOND = 100;
/** How long a program may take to answer, milliseconds. */
const READY_MS = 60_000;
/** A program that has not followed SIGTERM by then is killed, milliseconds. */
const TERM_MS = 3_000;

/** A program that runs until it is stopped. */
export interface Running {
  readonly pid: number;
  stop(): Promise<void>;
}

/** A port that nobody listened on a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Starts a server, its output into a file, and waits until `url` answers 200. */
export async function startServer(argv: readonly string[], url: string, logPath: string): Promise<Running> {
  const log = openSync(logPath, 'a');
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', log, log] });
  closeSync(log);
  const failed = new Promise<never>((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(new Error(`${argv[0]} ended with ${code} before ${url} answered; see ${logPath}`)),
    );
  });
  failed.catch(() => undefined);
  try {
    await Promise.race([failed, answers(url)]);
  } catch (error) {
    await end(child);
    throw error;
  }
  return { pid: child.pid!, stop: () => end(child) };
}

async function answers(url: string): Promise<void> {
  const untilMs = performance.now() + READY_MS;
  while (performance.now() < untilMs) {
    try {
      if ((await fetch(url)).ok) return;
    } catch {
      // It does not listen yet.
    }
    await sleep(100);
  }
  throw new Error(`${url} did not answer within ${READY_MS / 1000} s`);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), TERM_MS);
  await gone;
  clearTimeout(timer);
}

/** User and system CPU of processes and their descendants so far, milliseconds; 0 where there is no /proc. */
export function cpuMs(pids: readonly number[]): number {
  const own = new Map<number, { parent: number; ms: number }>();
  try {
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry)) continue;
      try {
        // After the name, which may hold spaces: state, parent, and as the 12th and 13th user and system ticks.
        const fields = readFileSync(`/proc/${entry}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
        const ms = ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
        own.set(Number(entry), { parent: Number(fields[1]), ms });
      } catch {
        // It ended between the listing and the read.
      }
    }
  } catch {
    return 0;
  }
  const counted = new Set(pids);
  for (let grown = true; grown; ) {
    grown = false;
    for (const [pid, { parent }] of own) {
      if (counted.has(pid) || !counted.has(parent)) continue;
      counted.add(pid);
      grown = true;
    }
  }
  return [...counted].reduce((sum, pid) => sum + (own.get(pid)?.ms ?? 0), 0);
}

/** Busy time of all cores so far, whoever caused it, milliseconds; 0 where there is no /proc. */
export function machineBusyMs(): number {
  try {
    const [user = 0, nice = 0, system = 0] = readFileSync('/proc/stat', 'utf8')
      .split('\n')[0]!
      .split(/\s+/)
      .slice(1)
      .map(Number);
    return ((user + nice + system) * 1000) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}
