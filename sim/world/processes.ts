import { EmulatedDevice } from '../../src/engine/device.js';
import { reloadMs, sleepMs, wakeMs } from '../../src/engine/weight-moves.js';
import type { NodeSpec, WeightFiles } from '../../src/model/fleet.js';
import { DEFAULT_BLOCK_TOKENS } from '../../src/model/memory.js';
import type { EngineEvent } from '../../src/node/actions.js';
import type { NodeManager } from '../../src/node/manager.js';
import type { EventLoop, Scheduled } from '../event-loop.js';
import { type EngineListener, SimEngine } from './engine.js';

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

/** kvcached looks at its limit so often. */
const KV_LIMIT_MS = 100;
/** A canary is a few tokens on a warm engine. */
const CANARY_MS = 100;

/** The engine processes of a node, and its GPUs and links, which they share: they do what they are told, take the time for it, and tell how it went. */
export class EngineProcesses {
  readonly device: EmulatedDevice;
  private readonly byId = new Map<string, EngineProcess>();
  private copyTimer: Scheduled | undefined;
  private readonly copies = new Map<number, () => void>();

  constructor(
    spec: NodeSpec,
    private readonly manager: NodeManager,
    private readonly loop: EventLoop,
    listener: EngineListener,
    private readonly tell: (event: EngineEvent) => void,
  ) {
    const pinnableBytes = spec.hostMemoryBytes - (spec.staging?.memoryBytes ?? 0);
    this.device = new EmulatedDevice({ gpus: spec.gpus, hostMemoryBytes: pinnableBytes });
    for (const engine of spec.engines) {
      this.byId.set(engine.engineId, {
        engine: new SimEngine(engine, loop, listener),
        processId: -1,
        incarnation: 0,
        pinned: false,
        kvLimitBytes: undefined,
      });
    }
  }

  engine(engineId: string): SimEngine {
    return this.process(engineId).engine;
  }

  /** The process dies; what it was doing is dropped. */
  die(engineId: string): void {
    const process = this.process(engineId);
    process.incarnation += 1;
    process.pinned = false;
    process.kvLimitBytes = undefined;
    for (const copyId of this.device.detach(process.processId, this.loop.nowMs)) this.copies.delete(copyId);
    process.engine.restart();
  }

  /** A process starts where another has died: awake where there is room, asleep where somebody has taken its memory meanwhile. */
  startAgain(engineId: string): void {
    const { weightBytes, workspaceBytes = 0, kvPoolBytes, residueBytes, gpuIndices } = this.engine(engineId).spec;
    const needed = weightBytes + workspaceBytes + kvPoolBytes + residueBytes;
    const free = Math.min(...gpuIndices.map((gpu) => this.freeBytes(gpu, engineId)));
    this.start(engineId, free < needed);
  }

  /**
   * A process starts.
   *
   * @param slept Whether it has slept once before the run, as the node lets it after its start.
   */
  start(engineId: string, asleep: boolean, slept = false): void {
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
    this.tell({ kind: 'engine-up', engineId, level, slept: process.pinned });
  }

  /** kvcached applies a limit when it next looks at it; what is in use above it comes free when its requests end. */
  limitKv(engineId: string, bytes: number): void {
    const process = this.process(engineId);
    const { kvBytesPerToken } = process.engine.spec;
    process.kvLimitBytes = bytes;
    process.engine.limitKv(bytes / kvBytesPerToken);
    if (this.manager.view(engineId)!.state !== 'running') return;
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

  sleep(engineId: string, level: 1 | 2): void {
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

  wake(engineId: string, level: 1 | 2, from: WeightFiles): void {
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

  canary(engineId: string): void {
    this.after(engineId, CANARY_MS, () => this.tell({ kind: 'canary-passed', engineId }));
  }

  /** Runs `then` unless the process has died meanwhile. */
  after(engineId: string, delayMs: number, then: () => void): void {
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

  /** What nobody has and nobody has been promised: an engine that is waking up takes its memory in a moment, and one that is down its residue when it starts again. */
  private freeBytes(gpu: number, starting: string): number {
    const { ledger } = this.manager;
    const { totalBytes, usedBytes } = this.device.snapshot().gpus[gpu]!;
    let free = Math.min(totalBytes - usedBytes, ledger.gpuFreeBytes(gpu));
    for (const [engineId, { engine }] of this.byId) {
      const { gpuIndices, residueBytes } = engine.spec;
      if (engineId !== starting && gpuIndices.includes(gpu) && ledger.phase(engineId) === 'absent')
        free -= residueBytes;
    }
    return free;
  }

  private process(engineId: string): EngineProcess {
    return this.byId.get(engineId)!;
  }
}
