import type { GpuNeed } from './ledger.js';

/** An awake engine whose memory could be given back. */
export interface EvictionCandidate {
  readonly engineId: string;
  readonly gpuIndices: readonly number[];
  /** HBM that its sleep gives back on each of its GPUs. */
  readonly bytesFreed: number;
  /** Leases on it; 0 for an idle engine. */
  readonly leases: number;
  /** When its last lease was granted or ended. */
  readonly lastUsedMs: number;
  /** Order key of the newest lease that it was granted: what it works on now, in the global order. */
  readonly lastGrantOrderKey: number;
  /** What bringing it back costs: its sleep and its wake. */
  readonly reloadMs: number;
}

/** Chooses which idle engines go to sleep to make room. Adding one means this interface and an entry in the node's configuration. */
export interface EvictionPolicy {
  readonly name: string;
  /** Engine ids whose sleep covers `need` on every GPU, or undefined when all `candidates` (all idle) together do not. */
  victims(
    need: readonly GpuNeed[],
    candidates: readonly EvictionCandidate[],
    nowMs: number,
  ): readonly string[] | undefined;
}

/** Least recently used first: the baseline. */
export const lruEviction: EvictionPolicy = {
  name: 'lru',
  victims: (need, candidates) =>
    cover(
      need,
      [...candidates].sort((a, b) => a.lastUsedMs - b.lastUsedMs),
    ),
};

/**
 * Which engines to empty when idle ones alone do not suffice: all the idle ones that help, then busy ones, the one that works latest in the global
 * order first, fewer leases first among equals. Undefined when that is not enough either.
 */
export function drainVictims(
  need: readonly GpuNeed[],
  candidates: readonly EvictionCandidate[],
): readonly string[] | undefined {
  const ordered = [...candidates].sort(
    (a, b) =>
      Number(a.leases > 0) - Number(b.leases > 0) ||
      (a.leases === 0 ? a.lastUsedMs - b.lastUsedMs : b.lastGrantOrderKey - a.lastGrantOrderKey || a.leases - b.leases),
  );
  return cover(need, ordered);
}

/** Takes candidates in order until the need is covered on every GPU, then leaves out, latest taken first, whichever proves needless. */
function cover(need: readonly GpuNeed[], ordered: readonly EvictionCandidate[]): readonly string[] | undefined {
  const missing = new Map(need.map(({ gpu, bytes }) => [gpu, bytes]));
  const isOpen = () => [...missing.values()].some((bytes) => bytes > 0);
  const change = (candidate: EvictionCandidate, sign: 1 | -1) => {
    for (const gpu of candidate.gpuIndices) {
      const bytes = missing.get(gpu);
      if (bytes !== undefined) missing.set(gpu, bytes - sign * candidate.bytesFreed);
    }
  };
  const taken: EvictionCandidate[] = [];
  for (const candidate of ordered) {
    if (!isOpen()) break;
    if (!candidate.gpuIndices.some((gpu) => (missing.get(gpu) ?? 0) > 0)) continue;
    change(candidate, 1);
    taken.push(candidate);
  }
  if (isOpen()) return undefined;
  for (let index = taken.length - 1; index >= 0; index--) {
    const candidate = taken[index]!;
    change(candidate, -1);
    if (isOpen()) change(candidate, 1);
    else taken.splice(index, 1);
  }
  return taken.map(({ engineId }) => engineId);
}
