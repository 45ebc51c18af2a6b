import { readdirSync, readFileSync } from 'node:fs';

/** A process as `/proc/PID/stat` tells it. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly state: string;
  /** Clock ticks from boot to its start: with the pid, an identity that is not used twice. */
  readonly startTicks: number;
}

/** One process; undefined when it is gone, or where there is no `/proc`. */
export function processEntry(pid: number): ProcessEntry | undefined {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Members of a process group that are not zombies. */
export function groupMembers(group: number): number[] {
  const members: number[] = [];
  for (const name of readProc()) {
    const entry = /^\d+$/.test(name) ? processEntry(Number(name)) : undefined;
    if (entry && entry.group === group && entry.state !== 'Z') members.push(entry.pid);
  }
  return members;
}

function readProc(): string[] {
  try {
    return readdirSync('/proc');
  } catch {
    return [];
  }
}

/** The name stands in parentheses and may itself hold spaces and parentheses. */
export function parseStat(text: string): ProcessEntry | undefined {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  if (open < 0 || close < open) return undefined;
  const fields = text.slice(close + 2).split(' ');
  const entry = {
    pid: Number(text.slice(0, open)),
    state: fields[0] ?? '',
    parent: Number(fields[1]),
    group: Number(fields[2]),
    startTicks: Number(fields[19]),
  };
  return Number.isFinite(entry.startTicks) ? entry : undefined;
}
