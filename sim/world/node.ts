import { EmulatedDevice } from '../../src/engine/device.js';
import { reloadMs, sleepMs, stageMs, wakeMs } from '../../src/engine/weight-moves.js';
import {
  type Demand,
  type EngineView,
  isAsleep,
  type KeptContext,
  type LeaseUse,
  type NodeSpec,
  type ReserveResult,
  type WeightFiles,
} from '../../src/model/fleet.js';
import { DEFAULT_BLOCK_TOKENS } from '../../src/model/memory.js';
import type { NodeAction } from '../../src/node/actions.js';
import type { NodeConfig } from '../../src/node/config.js';
import { isCrowded } from '../../src/node/first-sleep.js';
import { NodeManager } from '../../src/node/manager.js';
import type { EventLoop, Scheduled } from '../event-loop.js';
import { type EngineListener, SimEngine } from './engine.js';

export interface NodeListener extends EngineListener {
  /** A held stage got its lease, or is told to go. */
  granted(stageId: string, engineId: string, coldStartMs: number): void;
  released(stageId: string, engineId: string): void;
  /** A batch stage that runs is to make room and start again later. */
  requeue(stageId: string, engineId: string): void;
  /** Engines whose view has changed. */
  changed(node: SimNode, engineIds: readonly string[]): void;
}

interface EngineProcess {
  readonly engine: SimEngine;
  processId: number;
  /** Counts processes: what an earlier one was doing is dropped. */
  incarnation: number;
  /** Its host buffers are pinned; the first level-1 sleep is slower. */
  pinned: boolean;
  /** Its KV limit per GPU, where one has been set. */
  kvLimitBytes: number | undefined;
}

/** Gauges of a busy engine are read so often, as the live agent does. */
const POLL_MS = 1_000;
/** kvcached looks at its limit so often. */
const KV_LIMIT_MS = 100;
/** A canary is a few tokens on a warm engine. */
const CANARY_MS = 100;

/** One GPU host in virtual time: the node's own decisions, its engines, and its memory and links as a device. */
export class SimNode {
  readonly manager: NodeManager;
  readonly device: EmulatedDevice;
  private readonly processes = new Map<string, EngineProcess>();
  private pumpDue = false;
  private timer: Scheduled | undefined;
  private timerMs = Number.POSITIVE_INFINITY;
  private copyTimer: Scheduled | undefined;
  private readonly copies = new Map<number, () => void>();
  private polling = false;
  private readonly runPump = () => this.pump();
  private readonly timerFires = () => {
    this.timerMs = Number.POSITIVE_INFINITY;
    this.pumpSoon();
  };
  /** Windows of engine time, and those in which more was used than promised. */
  readonly overflow = { windows: 0, exceeded: 0 };

  readonly spec: NodeSpec;

  constructor(
    given: NodeSpec,
    config: Partial<NodeConfig>,
    private readonly loop: EventLoop,
    private readonly listener: NodeListener,
    startsAsleep: (engineId: string) => boolean,
  ) {
    const spec = given.staging ? withFolders(given) : given;
    this.spec = spec;
    this.manager = new NodeManager(spec, config);
    const pinnableBytes = spec.hostMemoryBytes - (spec.staging?.memoryBytes ?? 0);
    this.device = new EmulatedDevice({ gpus: spec.gpus, hostMemoryBytes: pinnableBytes });
    for (const engine of spec.engines) {
      this.processes.set(engine.engineId, {
        engine: new SimEngine(engine, loop, listener),
        processId: -1,
        incarnation: 0,
        pinned: false,
        kvLimitBytes: undefined,
      });
    }
    // Whoever begins asleep needs its host memory; those awake may have what is left.
    const asleep = spec.engines.filter(({ engineId }) => startsAsleep(engineId));
    for (const { engineId } of asleep) this.start(engineId, true);
    for (const engine of spec.engines.filter((each) => !asleep.includes(each))) {
      const { engineId, sleepCapable, pinned = false } = engine;
      const crowded = isCrowded(engine, spec.engines, (gpu) => spec.gpus[gpu]!.memoryBytes);
      this.start(engineId, false, config.firstSleep === true && sleepCapable && !pinned && crowded);
    }
    this.pumpSoon();
  }

  engine(engineId: string): SimEngine {
    return this.process(engineId).engine;
  }

  reserve(demand: Demand): ReserveResult {
    const result = this.manager.reserve(demand, this.loop.nowMs);
    this.pumpSoon();
    this.poll();
    return result;
  }

  keep(engineId: string, context: KeptContext): void {
    this.manager.keep(engineId, context, this.loop.nowMs);
    this.pumpSoon();
  }

  cancel(stageId: string): void {
    this.manager.cancel(stageId, this.loop.nowMs);
    this.manager.release(stageId, {}, this.loop.nowMs);
    this.pumpSoon();
  }

  firstToken(stageId: string): void {
    this.manager.firstToken(stageId, this.loop.nowMs);
    this.pumpSoon();
  }

  release(stageId: string, use: LeaseUse): void {
    this.manager.release(stageId, use, this.loop.nowMs);
    this.pumpSoon();
  }

  view(engineId: string): EngineView {
    return this.manager.view(engineId)!;
  }

  /** The process dies; it serves again, awake, after `downMs`. */
  crash(engineId: string, downMs: number): void {
    const process = this.process(engineId);
    process.incarnation += 1;
    process.pinned = false;
    process.kvLimitBytes = undefined;
    for (const copyId of this.device.detach(process.processId, this.loop.nowMs)) this.copies.delete(copyId);
    process.engine.restart();
    this.manager.engineEvent({ kind: 'engine-down', engineId, reason: 'refused' }, this.loop.nowMs);
    this.pumpSoon();
    const { incarnation } = process;
    this.loop.after(downMs, () => {
      // It died again meanwhile: then that death decides when it comes back.
      if (process.incarnation !== incarnation) return;
      // Whoever has taken its memory meanwhile keeps it: then it comes up asleep.
      const { weightBytes, workspaceBytes = 0, kvPoolBytes, residueBytes, gpuIndices } = process.engine.spec;
      const needed = weightBytes + workspaceBytes + kvPoolBytes + residueBytes;
      const free = Math.min(...gpuIndices.map((gpu) => this.freeBytes(gpu)));
      this.start(engineId, free < needed);
      this.pumpSoon();
    });
  }

  /** What nobody has and nobody has been promised: an engine that is waking up takes its memory in a moment. */
  private freeBytes(gpu: number): number {
    const { totalBytes, usedBytes } = this.device.snapshot().gpus[gpu]!;
    return Math.min(totalBytes - usedBytes, this.manager.ledger.gpuFreeBytes(gpu));
  }

  private process(engineId: string): EngineProcess {
    return this.processes.get(engineId)!;
  }

  /** @param slept Whether it has slept once before the run, as the node lets it after its start. */
  private start(engineId: string, asleep: boolean, slept = false): void {
    const process = this.process(engineId);
    const { spec } = process.engine;
    const attached = this.device.attach(engineId, 0, spec.gpuIndices, 0);
    if (attached.kind === 'refused') throw new Error(attached.message);
    process.processId = attached.processId;
    this.device.take(process.processId, 'residue', spec.residueBytes);
    if (asleep || slept) {
      process.pinned = this.device.pin(process.processId, spec.weightBytes * Math.max(1, spec.gpuIndices.length));
    }
    // Without host memory for its weights it begins as after a level-2 sleep.
    const level = asleep ? (process.pinned ? 1 : 2) : 0;
    if (level === 0) {
      this.device.take(process.processId, 'weights', spec.weightBytes);
      this.device.take(process.processId, 'kv', spec.kvPoolBytes);
    }
    this.manager.engineEvent({ kind: 'engine-up', engineId, level, slept: process.pinned }, this.loop.nowMs);
  }

  private pumpSoon(): void {
    if (this.pumpDue) return;
    this.pumpDue = true;
    this.loop.soon(this.runPump);
  }

  private pump(): void {
    this.pumpDue = false;
    const { manager, loop, listener } = this;
    for (const action of manager.tick(loop.nowMs)) this.carryOut(action);
    const changed = manager.changed();
    if (changed.length > 0) listener.changed(this, changed);
    const nextMs = manager.nextTickMs();
    if (nextMs === this.timerMs) return;
    this.timerMs = nextMs;
    if (nextMs === Number.POSITIVE_INFINITY) loop.cancel(this.timer);
    else if (this.timer) loop.move(this.timer, nextMs);
    else this.timer = loop.at(nextMs, this.timerFires);
  }

  private carryOut(action: NodeAction): void {
    switch (action.kind) {
      case 'grant':
        if (this.manager.holdsLease(action.lease)) {
          this.listener.granted(action.lease.stageId, action.lease.engineId, action.lease.coldStartMs);
        }
        break;
      case 'release-hold':
        this.listener.released(action.stageId, action.engineId);
        break;
      case 'sleep':
        this.sleep(action.engineId, action.level);
        break;
      case 'wake':
        this.wake(action.engineId, action.level, action.from);
        break;
      case 'stage': {
        const { folder, bytes } = action;
        this.loop.after(stageMs(bytes), () => this.tell({ kind: 'staged', folder, bytes }));
        break;
      }
      case 'unstage':
        this.tell({ kind: 'unstaged', folder: action.folder });
        break;
      case 'requeue':
        this.listener.requeue(action.stageId, action.engineId);
        break;
      case 'kv-limit':
        this.limitKv(action.engineId, action.bytes);
        break;
      case 'canary':
        this.after(action.engineId, CANARY_MS, () => this.tell({ kind: 'canary-passed', engineId: action.engineId }));
        break;
    }
  }

  private tell(event: Parameters<NodeManager['engineEvent']>[0]): void {
    this.manager.engineEvent(event, this.loop.nowMs);
    this.pumpSoon();
  }

  /** kvcached applies a limit when it next looks at it; what is in use above it comes free when its requests end. */
  private limitKv(engineId: string, bytes: number): void {
    const process = this.process(engineId);
    const { kvBytesPerToken } = process.engine.spec;
    process.kvLimitBytes = bytes;
    process.engine.limitKv(bytes / kvBytesPerToken);
    if (this.view(engineId).state !== 'running') return;
    if (this.device.take(process.processId, 'kv', bytes).heldBytes > bytes) this.awaitShrink(engineId, bytes);
  }

  private awaitShrink(engineId: string, bytes: number): void {
    this.after(engineId, KV_LIMIT_MS, () => {
      const process = this.process(engineId);
      if (process.kvLimitBytes !== bytes) return;
      const usedTokens = process.engine.stats().usedBlocks * DEFAULT_BLOCK_TOKENS;
      if (usedTokens * process.engine.spec.kvBytesPerToken > bytes) return this.awaitShrink(engineId, bytes);
      this.device.free(process.processId, 'kv');
      this.device.take(process.processId, 'kv', bytes);
      this.tell({ kind: 'kv-limited', engineId, bytes });
    });
  }

  private sleep(engineId: string, level: 1 | 2): void {
    const process = this.process(engineId);
    const { spec } = process.engine;
    const tp = Math.max(1, spec.gpuIndices.length);
    const done = () => {
      this.device.free(process.processId, 'weights');
      this.device.free(process.processId, 'kv');
      process.engine.forgetCache();
      this.tell({ kind: 'slept', engineId });
    };
    if (level === 2) {
      this.after(engineId, sleepMs(spec.gpu!, spec.weightBytes, 2), done);
      return;
    }
    if (!this.device.pin(process.processId, spec.weightBytes * tp)) {
      this.tell({ kind: 'sleep-failed', engineId });
      return;
    }
    const aloneMs = sleepMs(spec.gpu!, spec.weightBytes, 1, { firstTime: !process.pinned, gpusMoving: tp });
    process.pinned = true;
    this.copy(engineId, 'to-host', (spec.weightBytes / aloneMs) * 1000, done);
  }

  private wake(engineId: string, level: 1 | 2, from: WeightFiles): void {
    const process = this.process(engineId);
    const { spec } = process.engine;
    const finish = () => {
      const { missingBytes } = this.device.take(process.processId, 'kv', this.manager.ledger.kvBytes(engineId));
      this.tell({ kind: missingBytes > 0 ? 'wake-failed' : 'woke', engineId });
    };
    const takeWeights = (then: () => void) => {
      const { missingBytes } = this.device.take(process.processId, 'weights', spec.weightBytes);
      if (missingBytes > 0) this.tell({ kind: 'wake-failed', engineId });
      else then();
    };
    if (level === 2) {
      takeWeights(() => this.after(engineId, reloadMs(spec.weightBytes, from), finish));
      return;
    }
    this.after(engineId, wakeMs(spec.gpu!, 0), () =>
      takeWeights(() => this.copy(engineId, 'to-gpu', Number.POSITIVE_INFINITY, finish)),
    );
  }

  /** Runs `then` unless the process has died meanwhile. */
  private after(engineId: string, delayMs: number, then: () => void): void {
    const process = this.process(engineId);
    const { incarnation } = process;
    this.loop.after(delayMs, () => {
      if (process.incarnation === incarnation) then();
    });
  }

  /** Copies the weights over the links of the host, which simultaneous moves share. */
  private copy(engineId: string, direction: 'to-host' | 'to-gpu', maxBandwidth: number, then: () => void): void {
    const { processId, engine } = this.process(engineId);
    const request = { direction, bytesPerGpu: engine.spec.weightBytes, maxBandwidth };
    this.copies.set(this.device.startCopy(processId, request, this.loop.nowMs), then);
    this.watchCopies();
  }

  private watchCopies(): void {
    this.loop.cancel(this.copyTimer);
    this.copyTimer = undefined;
    const nextMs = this.device.nextCopyEndMs();
    if (nextMs === Number.POSITIVE_INFINITY) return;
    // A hair late, so that rounding never makes an endless row of events just before the end.
    this.copyTimer = this.loop.at(nextMs + 1e-6, () => {
      this.copyTimer = undefined;
      for (const copyId of this.device.advance(this.loop.nowMs)) {
        const then = this.copies.get(copyId);
        this.copies.delete(copyId);
        then?.();
      }
      this.watchCopies();
    });
  }

  /** While any engine has work, all that have are read at every interval. */
  private poll(): void {
    if (this.polling) return;
    this.polling = true;
    this.loop.after(POLL_MS, () => {
      this.polling = false;
      let busy = false;
      for (const [engineId, { engine }] of this.processes) {
        const view = this.view(engineId);
        if (view.leases === 0 || isAsleep(view.state)) continue;
        busy = true;
        const { running, waiting, preemptions, kvUsage, generatedTokens } = engine.stats();
        this.overflow.windows += 1;
        const { heldKvTokens } = this.manager.gauges(engineId)!;
        if (kvUsage * view.kvPoolTokens > heldKvTokens) this.overflow.exceeded += 1;
        const counters = { running, waiting, preemptionsTotal: preemptions, kvUsage, generatedTokens };
        this.manager.engineEvent({ kind: 'counters', engineId, ...counters }, this.loop.nowMs);
      }
      this.pumpSoon();
      if (busy) this.poll();
    });
  }
}

/** Engines of one model in one number format read one checkpoint. */
function withFolders(node: NodeSpec): NodeSpec {
  return {
    ...node,
    engines: node.engines.map((engine) => ({
      ...engine,
      weightsFolder: engine.weightsFolder ?? `${engine.model} ${engine.weightDtype ?? 'bf16'}`,
    })),
  };
}
