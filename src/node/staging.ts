import { isAsleep } from '../model/fleet.js';
import { weightBytesPerGpu } from '../model/memory.js';
import type { NodeAction, StagingEvent } from './actions.js';
import type { EngineRecord } from './engine-record.js';
import type { ReclaimContext } from './reclaim-step.js';
import { candidateOf } from './victims.js';

/** After a copy that failed (disk or RAM full, files that cannot be read); doubles with each further failure. */
const RETRY_MS = 60_000;
const MAX_RETRY_MS = 30 * 60_000;

/** One checkpoint, and the engines that read it. */
interface Checkpoint {
  readonly folder: string;
  readonly records: EngineRecord[];
  /** As estimated from the weights until a copy has told. */
  bytes: number;
  state: 'absent' | 'copying' | 'staged' | 'leaving';
  /** A wake from the copy has failed: it is to go. */
  suspect: boolean;
  failures: number;
  retryAtMs: number;
}

/**
 * Which checkpoints lie in RAM, for engines whose sleep has dropped their weights (level 2): a wake then reads the copy and not the disk. Unlike the pinned copy of a level-1
 * sleep it can be given up at any time. There is one copy of a checkpoint at most, all of them keep within a budget, and one is moved at a time, for the disk is what they share.
 * Which one goes is decided by the policy that decides which model stays in HBM.
 */
export class WeightStaging {
  private readonly checkpoints = new Map<string, Checkpoint>();
  private readonly memoryBytes: number;
  private readonly staged: boolean;

  /** @param memoryBytes What all copies may take; undefined where nothing is staged. */
  constructor(
    private readonly context: ReclaimContext,
    memoryBytes: number | undefined,
    private readonly changed: (record: EngineRecord) => void,
  ) {
    this.memoryBytes = memoryBytes ?? 0;
    this.staged = memoryBytes !== undefined;
  }

  /** A further engine of the node. */
  add(record: EngineRecord): void {
    const { weightsFolder: folder, sleepCapable } = record.spec;
    if (!this.staged || folder === undefined || !sleepCapable) return;
    const known = this.checkpoints.get(folder);
    if (!known) {
      this.checkpoints.set(folder, newCheckpoint(folder, record));
      return;
    }
    known.records.push(record);
    this.tell(known);
  }

  /** An engine that is gone. */
  remove(record: EngineRecord): void {
    for (const checkpoint of this.checkpoints.values()) {
      const at = checkpoint.records.indexOf(record);
      if (at >= 0) checkpoint.records.splice(at, 1);
      if (checkpoint.state === 'absent') this.dropUnread(checkpoint);
    }
  }

  /** RAM that copies take, those included that are being made or deleted. */
  get usedBytes(): number {
    let used = 0;
    for (const { state, bytes } of this.checkpoints.values()) if (state !== 'absent') used += bytes;
    return used;
  }

  report(event: StagingEvent, nowMs: number): void {
    const checkpoint = this.checkpoints.get(event.folder);
    if (!checkpoint) return;
    checkpoint.state = event.kind === 'staged' ? 'staged' : 'absent';
    if (checkpoint.state === 'absent') this.dropUnread(checkpoint);
    if ('bytes' in event && event.bytes !== undefined) checkpoint.bytes = event.bytes;
    if (event.kind === 'staged') checkpoint.failures = 0;
    else if (event.kind === 'stage-failed') {
      checkpoint.retryAtMs = nowMs + Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** checkpoint.failures);
      checkpoint.failures += 1;
    }
    this.tell(checkpoint);
  }

  /** A wake that read the copy has failed, or what it woke answered wrongly: the next one reads the disk. */
  suspect(record: EngineRecord): void {
    const { weightsFolder } = record.spec;
    const checkpoint = weightsFolder === undefined ? undefined : this.checkpoints.get(weightsFolder);
    if (checkpoint?.state !== 'staged') return;
    checkpoint.suspect = true;
    this.tell(checkpoint);
  }

  /** The next copy to make or to delete, if any, and when to look again. */
  plan(nowMs: number): { readonly actions: readonly NodeAction[]; readonly nextMs: number } {
    const all = [...this.checkpoints.values()];
    const never = { actions: [], nextMs: Number.POSITIVE_INFINITY };
    if (all.some(({ state }) => state === 'copying' || state === 'leaving')) return never;
    const spoilt = all.filter((each) => isUnwanted(each) && !isRead(each));
    if (spoilt.length > 0) return { ...never, actions: spoilt.map((each) => this.leave(each)) };
    const wanted = all
      .filter(({ state, bytes, records }) => {
        return state === 'absent' && bytes <= this.memoryBytes && records.some(isDeepAsleep);
      })
      .sort((a, b) => ascending(this.worth(b, nowMs), this.worth(a, nowMs)));
    let nextMs = Number.POSITIVE_INFINITY;
    for (const checkpoint of wanted) {
      if (nowMs < checkpoint.retryAtMs) {
        nextMs = Math.min(nextMs, checkpoint.retryAtMs);
        continue;
      }
      const victims = this.victims(checkpoint, all, nowMs);
      if (!victims) continue;
      if (victims.length > 0) return { actions: victims.map((each) => this.leave(each)), nextMs };
      checkpoint.state = 'copying';
      return { actions: [{ kind: 'stage', folder: checkpoint.folder, bytes: checkpoint.bytes }], nextMs };
    }
    return { actions: [], nextMs };
  }

  /** Copies worth less than this one that have to go for it, the least worth first; undefined when it does not fit even so. */
  private victims(wanted: Checkpoint, all: readonly Checkpoint[], nowMs: number): Checkpoint[] | undefined {
    let missingBytes = wanted.bytes - (this.memoryBytes - this.usedBytes);
    const worth = this.worth(wanted, nowMs);
    const victims: Checkpoint[] = [];
    const staged = all
      .filter((each) => each.state === 'staged' && !isRead(each) && this.worth(each, nowMs) < worth)
      .sort((a, b) => ascending(this.worth(a, nowMs), this.worth(b, nowMs)));
    for (const victim of staged) {
      if (missingBytes <= 0) break;
      victims.push(victim);
      missingBytes -= victim.bytes;
    }
    return missingBytes > 0 ? undefined : victims;
  }

  /** What the copy is worth to the engine that needs it most; less than anything where all are awake or hold their weights pinned. */
  private worth({ records, bytes }: Checkpoint, nowMs: number): number {
    const { ledger, config } = this.context;
    return Math.max(
      ...records.filter(isDeepAsleep).map((record) => {
        const savedMs = record.durations.wakeMs(2, 'disk') - record.durations.wakeMs(2, 'host');
        return config.eviction.worth({ ...candidateOf(record, ledger, nowMs), bytesFreed: bytes, reloadMs: savedMs });
      }),
    );
  }

  private dropUnread({ folder, records }: Checkpoint): void {
    if (records.length === 0) this.checkpoints.delete(folder);
  }

  private leave(checkpoint: Checkpoint): NodeAction {
    checkpoint.state = 'leaving';
    checkpoint.suspect = false;
    this.tell(checkpoint);
    return { kind: 'unstage', folder: checkpoint.folder };
  }

  private tell({ state, suspect, records }: Checkpoint): void {
    const weightFiles = state === 'staged' && !suspect ? 'host' : 'disk';
    for (const record of records) {
      if (record.weightFiles === weightFiles) continue;
      record.weightFiles = weightFiles;
      this.changed(record);
    }
  }
}

function newCheckpoint(folder: string, record: EngineRecord): Checkpoint {
  const { weightBytes, gpuIndices, dataParallel = 1, llm, weightDtype = 'bf16' } = record.spec;
  // Ranks hold the same weights, and all read one checkpoint.
  const bytes =
    dataParallel > 1 && llm
      ? weightBytesPerGpu(llm, weightDtype, 1)
      : Math.ceil(weightBytes) * Math.max(1, gpuIndices.length);
  return {
    ...{ folder, records: [record], bytes },
    ...{ state: 'absent', suspect: false, failures: 0, retryAtMs: 0 },
  };
}

/** Of two equal infinities neither is less. */
function ascending(a: number, b: number): number {
  return a === b ? 0 : a - b;
}

function isDeepAsleep({ residency }: EngineRecord): boolean {
  return isAsleep(residency.state) && residency.level === 2;
}

/** Is the copy spoilt, or of no engine any more? */
function isUnwanted({ state, suspect, records }: Checkpoint): boolean {
  return suspect || (state === 'staged' && records.length === 0);
}

/** Is some engine waking from it? */
function isRead({ records }: Checkpoint): boolean {
  return records.some(({ residency }) => residency.state === 'waking' && residency.level === 2);
}
