import type { GpuSpec } from '../model/gpu.js';
import { hostLinkBandwidth } from './weight-moves.js';

/** As many GPUs as no host has: what each of them would get, times their number, is what the host gives in all. */
const MANY = 1024;

/** What HBM is held for: `residue` stays while the engine sleeps (CUDA context, graphs, NCCL); the others come and go. */
export const HBM_KINDS = ['residue', 'weights', 'kv'] as const;
export type HbmKind = (typeof HBM_KINDS)[number];
export type CopyDirection = 'to-host' | 'to-gpu';

export interface DeviceConfig {
  readonly gpus: readonly GpuSpec[];
  readonly hostMemoryBytes: number;
  /**
   * What the host's memory and PCIe root feed to all GPUs together, bytes a second and direction. Default: as
   * {@link hostLinkBandwidth} has it, about two full links.
   */
  readonly hostTotalBandwidth?: number;
}

export type AttachResult =
  | { readonly kind: 'attached'; readonly processId: number }
  /** The start-up guard refuses: less memory is free than the fraction that the holder asked for. */
  | { readonly kind: 'refused'; readonly message: string };

export interface TakeResult {
  /** Bytes of this kind that the holder now holds on its fullest GPU. */
  readonly heldBytes: number;
  /** What was missing on the GPU with the least room; 0 when all of it was taken. */
  readonly missingBytes: number;
}

export interface CopyRequest {
  readonly direction: CopyDirection;
  /** Bytes to or from each GPU of the holder, all at once. */
  readonly bytesPerGpu: number;
  /** Upper limit of the rate of one GPU, bytes a second. */
  readonly maxBandwidth?: number;
}

export interface DeviceProcess {
  readonly processId: number;
  readonly name: string;
  readonly pid: number;
  readonly usedBytes: number;
}

/** The fake GPU telemetry: what nvidia-smi and the host would tell. */
export interface DeviceSnapshot {
  readonly gpus: readonly {
    readonly index: number;
    readonly name: string;
    readonly totalBytes: number;
    readonly usedBytes: number;
    /** How often memory was given back on this GPU; memory profiling of a starting engine must see no change. */
    readonly releases: number;
    readonly processes: readonly DeviceProcess[];
  }[];
  readonly host: { readonly totalBytes: number; readonly pinnedBytes: number };
  readonly copies: number;
}

interface ProcessState {
  readonly processId: number;
  readonly name: string;
  readonly pid: number;
  readonly gpuIndices: readonly number[];
  /** Per kind: bytes on each GPU of `gpuIndices`, in that order. */
  readonly held: Record<HbmKind, number[]>;
  pinnedBytes: number;
}

interface CopyState {
  readonly copyId: number;
  readonly processId: number;
  readonly gpuIndices: readonly number[];
  readonly direction: CopyDirection;
  readonly maxBandwidth: number;
  remainingBytes: number;
  /** Bytes a millisecond, as of the last change of the set of copies. */
  rate: number;
}

/**
 * One GPU host as its processes see it: HBM of every GPU, pinned host memory, and the links between them. Pure state: time comes
 * in as `nowMs`, and copies progress as a fluid that simultaneous copies share. It outlives every holder on it.
 */
export class EmulatedDevice {
  private readonly processes = new Map<number, ProcessState>();
  private copies: CopyState[] = [];
  private ended: number[] = [];
  private readonly releases: number[];
  private nextProcessId = 1;
  private nextCopyId = 1;
  private nowMs = 0;

  constructor(readonly config: DeviceConfig) {
    this.releases = config.gpus.map(() => 0);
  }

  /** A holder starts on these GPUs. vLLM refuses when less than `memoryUtilization` of the total is free, whatever it needs. */
  attach(name: string, pid: number, gpuIndices: readonly number[], memoryUtilization: number): AttachResult {
    for (const index of gpuIndices) {
      const gpu = this.config.gpus[index];
      if (!gpu) return { kind: 'refused', message: `CUDA error: invalid device ordinal ${index}` };
      const free = gpu.memoryBytes - this.usedBytes(index);
      const wanted = Math.ceil(gpu.memoryBytes * memoryUtilization);
      if (free < wanted) {
        const gib = (bytes: number) => (bytes / 1024 ** 3).toFixed(2);
        return {
          kind: 'refused',
          message:
            `ValueError: Free memory on device cuda:${index} (${gib(free)}/${gib(gpu.memoryBytes)} GiB) on startup is less than desired ` +
            `GPU memory utilization (${memoryUtilization}, ${gib(wanted)} GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.`,
        };
      }
    }
    const processId = this.nextProcessId++;
    const none = () => gpuIndices.map(() => 0);
    this.processes.set(processId, {
      processId,
      name,
      pid,
      gpuIndices,
      held: { residue: none(), weights: none(), kv: none() },
      pinnedBytes: 0,
    });
    return { kind: 'attached', processId };
  }

  /** The holder died: everything it held is free. Returns its copies, which are gone without an end. */
  detach(processId: number, nowMs: number): number[] {
    this.progress(nowMs);
    if (!this.processes.has(processId)) return [];
    for (const kind of HBM_KINDS) this.free(processId, kind);
    this.processes.delete(processId);
    const dropped = this.copies.filter((copy) => copy.processId === processId).map((copy) => copy.copyId);
    this.copies = this.copies.filter((copy) => copy.processId !== processId);
    this.shareLinks();
    return dropped;
  }

  /**
   * Raises what the holder holds of `kind` to `bytesPerGpu` on each of its GPUs. Where that does not fit, what fits is taken and
   * stays taken, as mapped memory does after an out-of-memory error.
   */
  take(processId: number, kind: HbmKind, bytesPerGpu: number): TakeResult {
    const holder = this.processOf(processId);
    let missingBytes = 0;
    let heldBytes = 0;
    for (const [position, gpuIndex] of holder.gpuIndices.entries()) {
      const held = holder.held[kind][position]!;
      const wanted = Math.max(0, bytesPerGpu - held);
      const taken = Math.min(wanted, this.config.gpus[gpuIndex]!.memoryBytes - this.usedBytes(gpuIndex));
      holder.held[kind][position] = held + taken;
      heldBytes = Math.max(heldBytes, held + taken);
      missingBytes = Math.max(missingBytes, wanted - taken);
    }
    return { heldBytes, missingBytes };
  }

  free(processId: number, kind: HbmKind): void {
    const holder = this.processOf(processId);
    for (const [position, gpuIndex] of holder.gpuIndices.entries()) {
      if (holder.held[kind][position]! > 0) this.releases[gpuIndex]! += 1;
      holder.held[kind][position] = 0;
    }
  }

  /** Pins host memory up to `bytes` in total; false when the host has not enough. It stays pinned until the holder dies. */
  pin(processId: number, bytes: number): boolean {
    const holder = this.processOf(processId);
    const more = Math.max(0, bytes - holder.pinnedBytes);
    if (this.pinnedBytes() + more > this.config.hostMemoryBytes) return false;
    holder.pinnedBytes += more;
    return true;
  }

  startCopy(processId: number, request: CopyRequest, nowMs: number): number {
    this.progress(nowMs);
    const copyId = this.nextCopyId++;
    this.copies.push({
      copyId,
      processId,
      gpuIndices: this.processOf(processId).gpuIndices,
      direction: request.direction,
      maxBandwidth: request.maxBandwidth ?? Number.POSITIVE_INFINITY,
      remainingBytes: request.bytesPerGpu,
      rate: 0,
    });
    this.shareLinks();
    return copyId;
  }

  /** Brings all copies to `nowMs`; returns those that have ended since the last call, in order of their end. */
  advance(nowMs: number): number[] {
    this.progress(nowMs);
    const ended = this.ended;
    this.ended = [];
    return ended;
  }

  private progress(nowMs: number): void {
    while (this.nowMs < nowMs) {
      const nextMs = Math.min(nowMs, this.nextCopyEndMs());
      const elapsedMs = nextMs - this.nowMs;
      for (const copy of this.copies) copy.remainingBytes -= copy.rate * elapsedMs;
      this.nowMs = nextMs;
      // Half a byte is less than any rounding of the sums above leaves behind.
      const done = this.copies.filter((copy) => copy.remainingBytes <= 0.5);
      if (done.length === 0) continue;
      this.ended.push(...done.map((copy) => copy.copyId));
      this.copies = this.copies.filter((copy) => copy.remainingBytes > 0.5);
      this.shareLinks();
    }
  }

  /** When the next copy ends if no other starts; Infinity when there is none. */
  nextCopyEndMs(): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const copy of this.copies) {
      nextMs = Math.min(nextMs, this.nowMs + Math.max(0, copy.remainingBytes) / copy.rate);
    }
    return nextMs;
  }

  snapshot(): DeviceSnapshot {
    const all = [...this.processes.values()];
    return {
      gpus: this.config.gpus.map((gpu, index) => ({
        index,
        name: gpu.name,
        totalBytes: gpu.memoryBytes,
        usedBytes: this.usedBytes(index),
        releases: this.releases[index]!,
        processes: all
          .filter((holder) => holder.gpuIndices.includes(index))
          .map((holder) => ({
            processId: holder.processId,
            name: holder.name,
            pid: holder.pid,
            usedBytes: heldOn(holder, index),
          })),
      })),
      host: { totalBytes: this.config.hostMemoryBytes, pinnedBytes: this.pinnedBytes() },
      copies: this.copies.length,
    };
  }

  private processOf(processId: number): ProcessState {
    const holder = this.processes.get(processId);
    if (!holder) throw new Error(`EmulatedDevice: holder ${processId} is not attached`);
    return holder;
  }

  private usedBytes(gpuIndex: number): number {
    let used = 0;
    for (const holder of this.processes.values()) used += heldOn(holder, gpuIndex);
    return used;
  }

  private pinnedBytes(): number {
    let pinned = 0;
    for (const holder of this.processes.values()) pinned += holder.pinnedBytes;
    return pinned;
  }

  /**
   * Copies over the same link of a GPU share it evenly; a copy to several GPUs runs at the pace of its slowest link; and all copies
   * of a direction together get no more than the host can feed.
   */
  private shareLinks(): void {
    const onLink = new Map<string, number>();
    for (const copy of this.copies) {
      for (const gpu of copy.gpuIndices) {
        const link = `${gpu} ${copy.direction}`;
        onLink.set(link, (onLink.get(link) ?? 0) + 1);
      }
    }
    const total = { 'to-host': 0, 'to-gpu': 0 };
    for (const copy of this.copies) {
      let rate = copy.maxBandwidth;
      for (const gpu of copy.gpuIndices) {
        rate = Math.min(rate, this.config.gpus[gpu]!.hostBandwidth / onLink.get(`${gpu} ${copy.direction}`)!);
      }
      copy.rate = rate / 1000;
      total[copy.direction] += rate * copy.gpuIndices.length;
    }
    const limit =
      this.config.hostTotalBandwidth ??
      Math.max(0, ...this.config.gpus.map((gpu) => hostLinkBandwidth(gpu, MANY) * MANY));
    for (const copy of this.copies) copy.rate *= Math.min(1, limit / total[copy.direction]);
  }
}

function heldOn(holder: ProcessState, gpuIndex: number): number {
  const position = holder.gpuIndices.indexOf(gpuIndex);
  if (position < 0) return 0;
  return HBM_KINDS.reduce((sum, kind) => sum + holder.held[kind][position]!, 0);
}
