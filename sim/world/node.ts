import type { EmulatedDevice } from '../../src/engine/device.js';
import { stageMs } from '../../src/engine/weight-moves.js';
import {
  type Demand,
  type EngineView,
  isAsleep,
  type KeptContext,
  type LeaseUse,
  type NodeSpec,
  type ReserveResult,
} from '../../src/model/fleet.js';
import type { EngineEvent, NodeAction } from '../../src/node/actions.js';
import type { NodeConfig } from '../../src/node/config.js';
import { isCrowded } from '../../src/node/first-sleep.js';
import { NodeManager } from '../../src/node/manager.js';
import type { EventLoop, Scheduled } from '../event-loop.js';
import type { EngineListener, SimEngine } from './engine.js';
import { EngineProcesses } from './processes.js';

export interface NodeListener extends EngineListener {
  /** A held stage got its lease, or is told to go. */
  granted(stageId: string, engineId: string, coldStartMs: number): void;
  released(stageId: string, engineId: string): void;
  /** A stage that runs is to make room, and to start again later. */
  requeue(stageId: string, engineId: string): void;
  /** Engines whose view has changed. */
  changed(node: SimNode, engineIds: readonly string[]): void;
}

/** Gauges of a busy engine are read so often. The live agent reads them twice as often; half as many events tell the same. */
const POLL_MS = 1_000;

/** One GPU host in virtual time: the node's own decisions, its engines, and its memory and links as a device. */
export class SimNode {
  readonly manager: NodeManager;
  private readonly processes: EngineProcesses;
  private pumpDue = false;
  private timer: Scheduled | undefined;
  private timerMs = Number.POSITIVE_INFINITY;
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
    this.processes = new EngineProcesses(spec, this.manager, loop, listener, (event) => this.tell(event));
    // Whoever begins asleep needs its host memory; those awake may have what is left.
    const asleep = spec.engines.filter(({ engineId }) => startsAsleep(engineId));
    for (const { engineId } of asleep) this.processes.start(engineId, true);
    for (const engine of spec.engines.filter((each) => !asleep.includes(each))) {
      const { engineId, sleepCapable, pinned = false } = engine;
      const crowded = isCrowded(engine, spec.engines, (gpu) => spec.gpus[gpu]!.memoryBytes);
      this.processes.start(engineId, false, config.firstSleep === true && sleepCapable && !pinned && crowded);
    }
    this.pumpSoon();
  }

  get device(): EmulatedDevice {
    return this.processes.device;
  }

  engine(engineId: string): SimEngine {
    return this.processes.engine(engineId);
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
    this.processes.die(engineId);
    this.tell({ kind: 'engine-down', engineId, reason: 'refused' });
    // If it dies again meanwhile, that death decides when it comes back.
    this.processes.after(engineId, downMs, () => this.processes.startAgain(engineId));
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
        this.processes.sleep(action.engineId, action.level);
        break;
      case 'wake':
        this.processes.wake(action.engineId, action.level, action.from);
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
        this.processes.limitKv(action.engineId, action.bytes);
        break;
      case 'canary':
        this.processes.canary(action.engineId);
        break;
    }
  }

  private tell(event: EngineEvent): void {
    this.manager.engineEvent(event, this.loop.nowMs);
    this.pumpSoon();
  }

  /** While any engine has work, all that have are read at every interval. */
  private poll(): void {
    if (this.polling) return;
    this.polling = true;
    this.loop.after(POLL_MS, () => {
      this.polling = false;
      let busy = false;
      for (const { engineId } of this.spec.engines) {
        const view = this.view(engineId);
        if (view.leases === 0 || isAsleep(view.state)) continue;
        busy = true;
        const stats = this.engine(engineId).stats();
        const { running, waiting, preemptions, kvUsage, generatedTokens, usedBlocks, totalBlocks } = stats;
        this.overflow.windows += 1;
        const { heldKvTokens } = this.manager.gauges(engineId)!;
        if ((usedBlocks / totalBlocks) * view.spec.kvPoolTokens > heldKvTokens) this.overflow.exceeded += 1;
        const ranks = view.ranks && this.engine(engineId).rankStats();
        const counters = { running, waiting, preemptionsTotal: preemptions, kvUsage, generatedTokens, ranks };
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
