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
  /** Demands for it since the start. */
  readonly uses: number;
  /** Demands that are to be expected while it would be away and come back, by its past and by the workflows that run. */
  readonly expectedUses: number;
}

/** What stays in HBM. Adding one means this interface and a line in {@link EVICTION_POLICIES}. */
export interface EvictionPolicy {
  readonly name: string;
  /** What keeping an idle engine awake is worth; the lowest goes first. */
  worth(candidate: EvictionCandidate): number;
  /**
   * Milliseconds of waiting, summed over requests, that an idle engine's eviction is expected to cause. Its room is taken once the held stages have waited as
   * long together: rent until the rent has reached the price. 0 gives way at once.
   */
  costMs(candidate: EvictionCandidate): number;
}

/** Least recently used first, at once: the usual baseline. */
const lru: EvictionPolicy = { name: 'lru', worth: ({ lastUsedMs }) => lastUsedMs, costMs: () => 0 };

/** Least frequently used first, at once. */
const lfu: EvictionPolicy = { name: 'lfu', worth: ({ uses }) => uses, costMs: () => 0 };

/**
 * Share of the expected harm that is waited for. On the one-gpu workload of `bench/slo` (five seeds) the whole of it makes a fifth fewer cold starts and cost
 * up to 3 points of attainment (load 0.9, fcfs); with a third, attainment is that of evicting at once, with a tenth fewer cold starts.
 */
const RENT_SHARE = 0.3;

/** Chance of a use soon × what the reload costs ÷ bytes that the sleep frees. */
const value: EvictionPolicy = {
  name: 'value',
  worth: ({ expectedUses, reloadMs, bytesFreed }) =>
    ((1 - Math.exp(-expectedUses)) * reloadMs) / Math.max(1, bytesFreed),
  costMs: ({ expectedUses, reloadMs }) => RENT_SHARE * expectedUses * reloadMs,
};

export const EVICTION_POLICIES = { value, lru, lfu } as const satisfies Record<string, EvictionPolicy>;
export const EVICTION_POLICY_NAMES = ['value', 'lru', 'lfu'] as const;

/** Engine ids whose sleep covers `need` on every GPU, those worth least first; undefined when all `candidates` (all idle) together do not. */
export function idleVictims(
  policy: EvictionPolicy,
  need: readonly GpuNeed[],
  candidates: readonly EvictionCandidate[],
): readonly string[] | undefined {
  return cover(
    need,
    [...candidates].sort((a, b) => policy.worth(a) - policy.worth(b)),
  );
}

/**
 * Which engines to empty when idle ones alone do not suffice: all the idle ones that help, then busy ones, the one that works latest in the global
 * order first, fewer leases first among equals. Undefined when that is not enough either.
 */
export function drainVictims(
  policy: EvictionPolicy,
  need: readonly GpuNeed[],
  candidates: readonly EvictionCandidate[],
): readonly string[] | undefined {
  const ordered = [...candidates].sort(
    (a, b) =>
      Number(a.leases > 0) - Number(b.leases > 0) ||
      (a.leases === 0
        ? policy.worth(a) - policy.worth(b)
        : b.lastGrantOrderKey - a.lastGrantOrderKey || a.leases - b.leases),
  );
  return cover(need, ordered);
}

/** Takes candidates in order until the need is covered on every GPU, then leaves out, latest taken first, whichever proves needless. */
function cover(need: readonly GpuNeed[], ordered: readonly EvictionCandidate[]): readonly string[] | undefined {
  const missing = new Map(need.map(({ gpu, bytes }) => [gpu, bytes]));
  const taken: EvictionCandidate[] = [];
  for (const candidate of ordered) {
    if (!isOpen(missing)) break;
    if (!candidate.gpuIndices.some((gpu) => (missing.get(gpu) ?? 0) > 0)) continue;
    change(missing, candidate, 1);
    taken.push(candidate);
  }
  if (isOpen(missing)) return undefined;
  for (let index = taken.length - 1; index >= 0; index--) {
    const candidate = taken[index]!;
    change(missing, candidate, -1);
    if (isOpen(missing)) change(missing, candidate, 1);
    else taken.splice(index, 1);
  }
  return taken.map(({ engineId }) => engineId);
}

function isOpen(missing: ReadonlyMap<number, number>): boolean {
  for (const bytes of missing.values()) if (bytes > 0) return true;
  return false;
}

/** Takes what the candidate frees off what is missing, or puts it back. */
function change(missing: Map<number, number>, { gpuIndices, bytesFreed }: EvictionCandidate, sign: 1 | -1): void {
  for (const gpu of gpuIndices) {
    const bytes = missing.get(gpu);
    if (bytes !== undefined) missing.set(gpu, bytes - sign * bytesFreed);
  }
}
