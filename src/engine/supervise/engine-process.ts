import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync } from 'node:fs';
import type { Clock } from '../../model/clock.js';
import { systemCodeOf } from '../../model/error.js';
import { groupMembers, processEntry } from './process-table.js';

/** A process that this one has started or found again. It leads a process group of its own. */
export interface EngineProcess {
  readonly pid: number;
  /** Settles when the process is gone; code and signal are known only to whoever started it. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

const ADOPTED_POLL_MS = 500;

export interface SpawnOptions {
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** File to which it writes what it prints; closed here after the start. */
  readonly logFile: number;
}

/** Starts a process at the head of its own group and session, so that it outlives this one and can be ended with all its children. */
export async function spawnEngine({ command, env, logFile }: SpawnOptions): Promise<EngineProcess> {
  const [file, ...args] = command;
  try {
    const child = spawn(file!, args, { detached: true, env, stdio: ['ignore', logFile, logFile] });
    const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
    await once(child, 'spawn');
    child.unref();
    return { pid: child.pid!, ended };
  } finally {
    closeSync(logFile);
  }
}

/**
 * A process that an earlier run of this program has started. It is not our child, so its end is seen by looking.
 *
 * @param wanted Once it is false nobody looks any more.
 */
export function adoptEngine(pid: number, startTicks: number, clock: Clock, wanted: () => boolean): EngineProcess {
  const ended = new Promise<{ code: null; signal: null }>((resolve) => {
    const look = () => {
      if (!wanted()) return;
      const entry = processEntry(pid);
      if (entry?.startTicks === startTicks && entry.state !== 'Z') clock.after(ADOPTED_POLL_MS, look);
      else resolve({ code: null, signal: null });
    };
    look();
  });
  return { pid, ended };
}

const GROUP_POLL_MS = 50;

/**
 * Ends a whole process group: SIGTERM, then SIGKILL for what is left after the grace. An API server that is killed alone leaves its engine and workers behind,
 * with the GPU's memory. Resolves when no member is left; false when some would not go.
 */
export async function endGroup(group: number, graceMs: number, clock: Clock): Promise<boolean> {
  signalGroup(group, 'SIGTERM');
  if (await groupGone(group, graceMs, clock)) return true;
  signalGroup(group, 'SIGKILL');
  return groupGone(group, graceMs, clock);
}

/** A killed process gives its memory back before it is gone, which took a real engine more than five seconds on two busy cores; the next one would come into memory that is still taken. */
const SWEEP_LIMIT_MS = 30_000;

/** What is left of a group whose leader has ended is killed: nobody speaks for it any more. Resolves when it is gone, will not go, or is not ours to kill. */
export async function sweepGroup(group: number, clock: Clock): Promise<number> {
  const left = groupMembers(group).length;
  if (left === 0) return 0;
  try {
    signalGroup(group, 'SIGKILL');
  } catch (error) {
    if (systemCodeOf(error) === 'EPERM') return left;
    throw error;
  }
  await groupGone(group, SWEEP_LIMIT_MS, clock);
  return left;
}

async function groupGone(group: number, withinMs: number, clock: Clock): Promise<boolean> {
  const untilMs = clock.nowMs() + withinMs;
  for (;;) {
    if (groupMembers(group).length === 0) return true;
    if (clock.nowMs() >= untilMs) return false;
    await new Promise<void>((resolve) => clock.after(GROUP_POLL_MS, resolve));
  }
}

/** To a whole process group; one that is gone does not matter. */
export function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch (error) {
    if (systemCodeOf(error) !== 'ESRCH') throw error;
  }
}
