import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { dirname, join } from 'node:path';

/** What the control groups of a process (a container, a systemd unit with `MemoryMax`) let it and its neighbours in them take, bytes. */
export interface MemoryLimit {
  readonly limitBytes: number;
  /** What is left of it. The page cache counts as free, for the kernel takes that back: a group that has read a checkpoint would else look full. */
  readonly availableBytes: number;
}

/** The text of a file; undefined where there is none. */
type ReadText = (path: string) => string | undefined;

const MOUNT = '/sys/fs/cgroup';

/** Where a version of control groups keeps what is asked here. `high` of version 2 throttles before `max` kills, so the lower one counts. */
const VERSIONS = {
  v1: {
    mount: `${MOUNT}/memory`,
    limits: ['memory.limit_in_bytes'],
    usage: 'memory.usage_in_bytes',
    pageCache: ['total_inactive_file', 'total_active_file'],
  },
  v2: {
    mount: MOUNT,
    limits: ['memory.max', 'memory.high'],
    usage: 'memory.current',
    pageCache: ['inactive_file', 'active_file'],
  },
} as const;

/** The tightest limit of the groups that this process is in, those around its own included; undefined where none is below the memory of the host. */
export function memoryLimit(read: ReadText = readText, hostBytes = totalmem()): MemoryLimit | undefined {
  const own = ownGroup(read('/proc/self/cgroup') ?? '');
  if (!own) return undefined;
  const { mount, limits, usage, pageCache } = VERSIONS[own.version];
  let tightest: MemoryLimit | undefined;
  // In a container the path may be that of the host, of which only the end can be seen: what is not there limits nothing.
  for (let path = own.path; ; path = dirname(path)) {
    const folder = join(mount, path);
    const limitBytes = Math.min(...limits.map((name) => bytesIn(read(join(folder, name)))));
    const usedBytes = bytesIn(read(join(folder, usage)));
    if (limitBytes < hostBytes && Number.isFinite(usedBytes)) {
      const stat = read(join(folder, 'memory.stat')) ?? '';
      const cachedBytes = pageCache.reduce((sum, name) => sum + statBytes(stat, name), 0);
      const availableBytes = Math.max(0, Math.min(limitBytes, limitBytes - usedBytes + cachedBytes));
      tightest = {
        limitBytes: Math.min(limitBytes, tightest?.limitBytes ?? limitBytes),
        availableBytes: Math.min(availableBytes, tightest?.availableBytes ?? availableBytes),
      };
    }
    if (path === dirname(path)) return tightest;
  }
}

/** RAM that is left to everybody else: copies of weights, pinned or in a RAM disk, take what is not there, and the kernel then ends processes. */
export const SPARE_BYTES = 2 * 1024 ** 3;

/** RAM that this process and what it starts could still get, bytes: what the host has left, within the limits of its control groups. */
export function availableMemory(): number {
  return Math.min(freemem(), memoryLimit()?.availableBytes ?? Number.POSITIVE_INFINITY);
}

/** Lines are `id:controllers:path`; where version 1 has no memory controller, version 2 has it. */
function ownGroup(text: string): { readonly version: 'v1' | 'v2'; readonly path: string } | undefined {
  let unified: string | undefined;
  for (const line of text.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (path === undefined) continue;
    if (controllers!.split(',').includes('memory')) return { version: 'v1', path };
    if (controllers === '') unified = path;
  }
  return unified === undefined ? undefined : { version: 'v2', path: unified };
}

/** Infinity where the file is missing or says `max`. */
function bytesIn(text: string | undefined): number {
  const trimmed = text?.trim() ?? '';
  return /^\d+$/.test(trimmed) ? Number(trimmed) : Number.POSITIVE_INFINITY;
}

function statBytes(stat: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0);
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
