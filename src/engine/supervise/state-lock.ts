import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { MaestroError, systemCodeOf } from '../../model/error.js';
import { makeFolder } from '../../observe/make-folder.js';
import { processEntry } from './process-table.js';
import { bootId, isSameProcess } from './run-record.js';

const ownerSchema = z.object({ pid: z.int().positive(), startTicks: z.number(), bootId: z.string() });

/**
 * Claims a folder of logs and run records for this process. Two processes with one folder would take over each other's engines, and whichever ends first would
 * end those of the other. Throws where a process that still runs has the folder; what a killed one has left does not count. A folder that cannot be
 * written is nobody's: engines are worth more than the claim.
 *
 * @returns Gives the folder back.
 */
export function claimStateDir(stateDir: string): () => void {
  const path = join(stateDir, 'owner.json');
  const mine = `${path}.${process.pid}`;
  const startTicks = processEntry(process.pid)?.startTicks;
  if (startTicks === undefined) return () => undefined;
  try {
    makeFolder(stateDir);
    writeFileSync(mine, JSON.stringify({ pid: process.pid, startTicks, bootId: bootId() }), { mode: 0o640 });
  } catch {
    return () => undefined;
  }
  try {
    // A link is there whole or not at all, and never replaces another.
    if (!link(mine, path) && !takeOver(mine, path)) throw taken(stateDir, liveOwner(path));
  } finally {
    rmSync(mine, { force: true });
  }
  return () => {
    if (liveOwner(path) === process.pid) rmSync(path, { force: true });
  };
}

/** One process at a time takes over what a dead one has left: two would both find it dead, and the second would remove what the first has claimed. */
function takeOver(mine: string, path: string): boolean {
  const turn = `${path}.turn`;
  if (!link(mine, turn) && !replaceDead(mine, turn)) return false;
  try {
    return replaceDead(mine, path);
  } finally {
    rmSync(turn, { force: true });
  }
}

/** False where a process that lives has the name. */
function replaceDead(mine: string, path: string): boolean {
  if (liveOwner(path) !== undefined) return false;
  rmSync(path, { force: true });
  return link(mine, path);
}

function taken(stateDir: string, pid: number | undefined): MaestroError {
  const who = pid === undefined ? 'Another process' : `Process ${pid}`;
  return new MaestroError(
    'invalid_request',
    `${who} runs the engines of ${stateDir} (fleet.stateDir) already. End it first, or give this one a stateDir and engines of its own.`,
  );
}

/** False where the name is taken. Where links cannot be made at all, nobody can take it. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    return systemCodeOf(error) !== 'EEXIST';
  }
}

function liveOwner(path: string): number | undefined {
  try {
    const owner = ownerSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
    return isSameProcess(owner) ? owner.pid : undefined;
  } catch {
    return undefined;
  }
}
