import type { FoundLevel, SleepLevel } from './actions.js';

/** What one engine takes, per GPU of its TP group. */
export interface EngineFootprint {
  readonly engineId: string;
  /** Empty when unknown: nothing is then charged. */
  readonly gpuIndices: readonly number[];
  readonly weightBytes: number;
  readonly kvPoolBytes: number;
  /** Stays in HBM while the engine sleeps (context, graphs, NCCL). */
  readonly residueBytes: number;
  /** Taken beside weights and KV while the engine is not asleep (activations, sampling). Default 0. */
  readonly workspaceBytes?: number;
}

/**
 * What an engine is charged for:
 * - `absent`: no process, nothing; - `asleep`: its residue;
 * - `falling-asleep`, `waking`, `awake`: residue, weights, workspace and KV pool, because a transition is charged on both sides until it is confirmed.
 */
export type MemoryPhase = 'absent' | 'asleep' | 'falling-asleep' | 'waking' | 'awake';

/** HBM that a GPU lacks for something. */
export interface GpuNeed {
  readonly gpu: number;
  readonly bytes: number;
}

interface Account {
  readonly gpuIndices: readonly number[];
  readonly residueBytes: number;
  /** Per GPU: weights and workspace. */
  readonly awakeBytes: number;
  readonly kvPoolBytes: number;
  /** Pinned host copies of all ranks. */
  readonly pinBytes: number;
  /** KV memory that it is charged for while it is not asleep, per GPU: its pool, or the limit where that can be moved. */
  kvBytes: number;
  phase: MemoryPhase;
  pinned: boolean;
  /** Its first pinned copy is being made, so that a reading of the host may or may not count it. */
  pinning: boolean;
}

/**
 * The exact account of a node's HBM and host RAM, in whole bytes. Nothing is woken, put to sleep or started without room here, so the totals never
 * exceed capacity, whatever the schedule. The pinned host copy of a level-1 sleep stays charged until the process dies, because PyTorch's
 * pinned-memory cache keeps the pages after the wake (vLLM issue 16663).
 */
export class MemoryLedger {
  private readonly accounts = new Map<string, Account>();
  private readonly gpuUsed: number[];
  private hostUsed = 0;
  /** Of the host's RAM by its own account, for copies that are not begun yet; Infinity where nobody tells. */
  private hostSeenFree = Number.POSITIVE_INFINITY;
  private hostIgnored = false;

  constructor(
    private readonly gpuCapacityBytes: readonly number[],
    private readonly hostCapacityBytes: number,
  ) {
    this.gpuUsed = gpuCapacityBytes.map(() => 0);
  }

  /** Opens the account of an engine, absent at first. */
  add(footprint: EngineFootprint): void {
    const { engineId, gpuIndices } = footprint;
    for (const gpu of gpuIndices) {
      if (this.gpuUsed[gpu] === undefined)
        throw new Error(`MemoryLedger: ${engineId} names GPU ${gpu}, which the node lacks`);
    }
    this.accounts.set(engineId, {
      gpuIndices,
      residueBytes: Math.ceil(footprint.residueBytes),
      awakeBytes: Math.ceil(footprint.weightBytes) + Math.ceil(footprint.workspaceBytes ?? 0),
      kvPoolBytes: Math.ceil(footprint.kvPoolBytes),
      kvBytes: Math.ceil(footprint.kvPoolBytes),
      pinBytes: Math.ceil(footprint.weightBytes) * gpuIndices.length,
      phase: 'absent',
      pinned: false,
      pinning: false,
    });
  }

  /** Closes the account: what its process still holds is nobody's here. */
  remove(engineId: string): void {
    this.gone(engineId);
    this.accounts.delete(engineId);
  }

  get gpuCount(): number {
    return this.gpuUsed.length;
  }

  gpuCapacity(gpu: number): number {
    return this.gpuCapacityBytes[gpu]!;
  }

  phase(engineId: string): MemoryPhase {
    return this.account(engineId).phase;
  }

  gpuFreeBytes(gpu: number): number {
    return this.gpuCapacityBytes[gpu]! - this.gpuUsed[gpu]!;
  }

  gpuUsedBytes(gpu: number): number {
    return this.gpuUsed[gpu]!;
  }

  /** For tests. */
  get hostUsedBytes(): number {
    return this.hostUsed;
  }

  /** KV memory that the engine is charged for while awake, per GPU. */
  kvBytes(engineId: string): number {
    return this.account(engineId).kvBytes;
  }

  /** HBM per GPU that a wake of this engine with so much KV still has to find: 0 when it is charged already. */
  wakeBytes(engineId: string, kvBytes = this.account(engineId).kvBytes): number {
    const { phase, awakeBytes } = this.account(engineId);
    return phase === 'asleep' ? awakeBytes + kvBytes : 0;
  }

  /** HBM per GPU that comes free when the engine has gone to sleep. */
  sleepFreesBytes(engineId: string): number {
    const account = this.account(engineId);
    return account.phase === 'absent' || account.phase === 'asleep' ? 0 : account.awakeBytes + account.kvBytes;
  }

  canWake(engineId: string, kvBytes = this.account(engineId).kvBytes): boolean {
    const account = this.account(engineId);
    if (account.phase === 'waking') return true;
    if (account.phase !== 'asleep') return false;
    return account.gpuIndices.every((gpu) => account.awakeBytes + kvBytes <= this.gpuFreeBytes(gpu));
  }

  /** Is there host RAM for this level of sleep? */
  canSleep(engineId: string, level: SleepLevel): boolean {
    const account = this.account(engineId);
    if (account.phase !== 'awake') return false;
    return level === 2 || account.pinned || account.pinBytes <= this.hostFreeBytes();
  }

  /** Host RAM for further pinned copies: within the node's share, and within what the host has left. */
  private hostFreeBytes(): number {
    return Math.min(this.hostCapacityBytes - this.hostUsed, this.hostSeenFree);
  }

  /** The node is emulated: what its host has left says nothing. */
  ignoreHost(): void {
    this.hostIgnored = true;
    this.hostSeenFree = Number.POSITIVE_INFINITY;
  }

  /** What the host says it has left. Copies that are being made count in full, whatever of them the host has counted already. */
  hostSeen(availableBytes: number): void {
    if (!this.hostIgnored) this.hostSeenFree = availableBytes - this.pinningBytes;
  }

  /** Of first pinned copies that are being made. */
  get pinningBytes(): number {
    let bytes = 0;
    for (const { pinning, pinBytes } of this.accounts.values()) if (pinning) bytes += pinBytes;
    return bytes;
  }

  /** HBM per GPU that its process takes even while it sleeps. */
  residueBytes(engineId: string): number {
    return this.account(engineId).residueBytes;
  }

  /** HBM per GPU that a process takes at its start, which ends awake. */
  startBytes(engineId: string): number {
    const { residueBytes, awakeBytes, kvPoolBytes } = this.account(engineId);
    return residueBytes + awakeBytes + kvPoolBytes;
  }

  /** Charges a process that is to start. It may do so without room, where nothing makes room and vLLM itself is to judge. */
  beginStart(engineId: string): void {
    const account = this.account(engineId);
    this.setKv(account, account.kvPoolBytes);
    this.setPhase(account, 'waking');
  }

  /** Would a process that is found at this level fit? For tests: vLLM starts where its own guard finds room, and what runs is a fact. */
  canStart(engineId: string, level: FoundLevel): boolean {
    const account = this.account(engineId);
    if (account.phase !== 'absent') return false;
    const hbmBytes = account.residueBytes + (level === 0 ? account.awakeBytes + account.kvPoolBytes : 0);
    const hostBytes = level === 1 ? account.pinBytes : 0;
    return (
      hostBytes <= this.hostCapacityBytes - this.hostUsed &&
      account.gpuIndices.every((gpu) => hbmBytes <= this.gpuFreeBytes(gpu))
    );
  }

  /** Charges the wake; false and no change without room. A wake that failed stays charged, so it may begin again. */
  beginWake(engineId: string, kvBytes = this.account(engineId).kvBytes): boolean {
    if (!this.canWake(engineId, kvBytes)) return false;
    const account = this.account(engineId);
    if (account.phase === 'asleep') account.kvBytes = kvBytes;
    this.setPhase(account, 'waking');
    return true;
  }

  /** Lends an awake engine more KV memory; false and no change without room. Charged before the engine hears of it. */
  growKv(engineId: string, kvBytes: number): boolean {
    const account = this.account(engineId);
    const more = kvBytes - account.kvBytes;
    if (account.phase !== 'awake' || more < 0 || kvBytes > account.kvPoolBytes) return false;
    if (account.gpuIndices.some((gpu) => more > this.gpuFreeBytes(gpu))) return false;
    this.setKv(account, kvBytes);
    return true;
  }

  /** The engine has been seen to hold no more than this: the rest is free. */
  shrinkKv(engineId: string, kvBytes: number): void {
    const account = this.account(engineId);
    if (kvBytes < account.kvBytes) this.setKv(account, kvBytes);
  }

  wakeDone(engineId: string): void {
    this.move(engineId, 'waking', 'awake');
  }

  /** Charges the pinned copy; false and no change without host RAM. */
  beginSleep(engineId: string, level: SleepLevel): boolean {
    if (!this.canSleep(engineId, level)) return false;
    const account = this.account(engineId);
    if (level === 1 && !account.pinned) {
      this.hostSeenFree -= account.pinBytes;
      account.pinning = true;
      this.pin(account);
    }
    this.setPhase(account, 'falling-asleep');
    return true;
  }

  sleepDone(engineId: string): void {
    this.account(engineId).pinning = false;
    this.move(engineId, 'falling-asleep', 'asleep');
  }

  /** The sleep did not happen; a pinned copy that may have been begun stays charged. */
  sleepFailed(engineId: string): void {
    this.account(engineId).pinning = false;
    this.move(engineId, 'falling-asleep', 'awake');
  }

  /** A process was found running. This is a fact, so it is charged even where it overflows: see {@link overcommittedBytes}. */
  found(engineId: string, level: FoundLevel, slept = false): void {
    const account = this.account(engineId);
    if (level === 1 || slept) this.pin(account);
    // Nobody knows what limit it has been given: it may use its whole pool.
    this.setKv(account, account.kvPoolBytes);
    this.setPhase(account, level === 0 ? 'awake' : 'asleep');
  }

  /** The process died: everything it held is free. */
  gone(engineId: string): void {
    const account = this.account(engineId);
    if (account.pinned) this.hostUsed -= account.pinBytes;
    account.pinned = false;
    account.pinning = false;
    this.setPhase(account, 'absent');
  }

  /** How far found processes exceed the capacity of GPUs and host; 0 as long as only this ledger's permissions were followed. */
  overcommittedBytes(): number {
    let over = Math.max(0, this.hostUsed - this.hostCapacityBytes);
    for (let gpu = 0; gpu < this.gpuUsed.length; gpu++) over += Math.max(0, -this.gpuFreeBytes(gpu));
    return over;
  }

  /** Counts everything anew; throws when a running total is wrong. For tests. */
  checkIntegrity(): void {
    const gpu = this.gpuUsed.map(() => 0);
    let host = 0;
    for (const account of this.accounts.values()) {
      for (const index of account.gpuIndices) gpu[index]! += hbmCharge(account, account.phase);
      if (account.pinned) host += account.pinBytes;
    }
    if (host !== this.hostUsed || gpu.some((bytes, index) => bytes !== this.gpuUsed[index])) {
      throw new Error(
        `MemoryLedger: totals ${this.gpuUsed} / ${this.hostUsed} differ from the recount ${gpu} / ${host}`,
      );
    }
  }

  private account(engineId: string): Account {
    const account = this.accounts.get(engineId);
    if (!account) throw new Error(`MemoryLedger: unknown engine ${engineId}`);
    return account;
  }

  private move(engineId: string, from: MemoryPhase, to: MemoryPhase): void {
    const account = this.account(engineId);
    if (account.phase !== from) throw new Error(`MemoryLedger: ${engineId} is ${account.phase}, not ${from}`);
    this.setPhase(account, to);
  }

  private setPhase(account: Account, phase: MemoryPhase): void {
    const delta = hbmCharge(account, phase) - hbmCharge(account, account.phase);
    for (const gpu of account.gpuIndices) this.gpuUsed[gpu]! += delta;
    account.phase = phase;
  }

  private setKv(account: Account, kvBytes: number): void {
    const before = hbmCharge(account, account.phase);
    account.kvBytes = kvBytes;
    const delta = hbmCharge(account, account.phase) - before;
    for (const gpu of account.gpuIndices) this.gpuUsed[gpu]! += delta;
  }

  private pin(account: Account): void {
    if (account.pinned) return;
    account.pinned = true;
    this.hostUsed += account.pinBytes;
  }
}

function hbmCharge(account: Account, phase: MemoryPhase): number {
  if (phase === 'absent') return 0;
  return phase === 'asleep' ? account.residueBytes : account.residueBytes + account.awakeBytes + account.kvBytes;
}
