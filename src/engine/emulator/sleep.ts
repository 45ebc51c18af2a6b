import { readdir, statfs } from 'node:fs/promises';
import type { Clock } from '../../model/clock.js';
import type { WeightFiles } from '../../model/fleet.js';
import { TMPFS_MAGIC } from '../staging/ram-disk.js';
import { reloadMs, sleepMs, wakeMs } from '../weight-moves.js';
import type { DeviceHandle } from './device-host.js';
import type { EngineLoop } from './engine-loop.js';
import { internalError } from './http-error.js';
import type { VllmMetrics } from './metrics.js';
import type { EmulatorModel } from './options.js';

export type PauseMode = 'abort' | 'wait' | 'keep';
const TAGS = ['weights', 'kv_cache'] as const;
type Tag = (typeof TAGS)[number];

export interface SleepConfig {
  readonly model: EmulatorModel;
  readonly clock: Clock;
  readonly loop: EngineLoop;
  readonly metrics: VllmMetrics;
  readonly device: DeviceHandle;
  readonly partlyAwakeIsAwake: boolean;
  /** KV memory that is mapped while awake, per GPU: the pool, or kvcached's limit. */
  readonly kvBytes: () => number;
  /** --enable-sleep-mode; without it sleep pauses and frees nothing. */
  readonly enabled: boolean;
}

/**
 * Sleep, wake and pause as vLLM has them. What sleeps is a set of tags:
 * - awake: no tag sleeps; - asleep: both do, their HBM is free; - partly awake: one was woken by its tag;
 * - a wake that found no room: both tags still sleep, and what was mapped before the memory ran out stays mapped.
 *
 * Scheduling resumes only when nothing sleeps any more. No change of level is possible while asleep: a second sleep only pauses again
 * and overwrites the gauge.
 */
export class SleepMachine {
  private readonly asleep = new Set<Tag>();
  private level: 1 | 2 = 1;
  private weightsLoaded = true;
  /** Folder of the last `reload_weights` that named one. */
  private weightsPath: string | undefined;
  /** Host memory is pinned at the first level-1 sleep and stays so until the process dies. */
  private pinned = false;
  /** Weight bytes that are in HBM now; less than all of them after a wake without room. */
  private mappedWeightBytes: number;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly config: SleepConfig) {
    this.mappedWeightBytes = config.model.weightBytes;
  }

  /** Level-2 sleep dropped the weights and nobody has loaded them again. */
  get garbage(): boolean {
    return !this.weightsLoaded;
  }

  get isSleeping(): boolean {
    return this.asleep.size > 0 || this.config.loop.paused;
  }

  get isPaused(): boolean {
    return this.config.loop.paused;
  }

  get sleepingTags(): readonly string[] {
    return TAGS.filter((tag) => this.asleep.has(tag));
  }

  /** Takes the process's HBM at its start. Asleep, it takes only the residue, and host memory for its weights. */
  async claim(startAsleep: boolean): Promise<void> {
    const { model, device, metrics, loop } = this.config;
    await this.mustTake('residue', model.residueBytes);
    if (!startAsleep) {
      await this.mustTake('weights', model.weightBytes);
      await this.mustTake('kv', model.kvPoolBytes);
      return;
    }
    if (!(await device.pin(this.hostBytes)))
      throw new Error('not enough host memory for the weights of a sleeping engine');
    this.pinned = true;
    loop.pause('keep', true);
    for (const tag of TAGS) this.asleep.add(tag);
    this.mappedWeightBytes = 0;
    metrics.setSleepState(1);
  }

  async pause(mode: PauseMode, clearCache: boolean): Promise<void> {
    this.config.loop.pause(mode, clearCache);
    if (mode === 'wait') await this.config.loop.whenIdle();
  }

  resume(): void {
    this.config.loop.resume();
  }

  async sleep(level: number, mode: PauseMode): Promise<void> {
    const { loop, metrics } = this.config;
    await this.pause(mode, level >= 1);
    await this.inTurn(async () => {
      if (level >= 1) {
        loop.sleepKv();
        if (this.asleep.size === 0) await this.fallAsleep(level === 1 ? 1 : 2);
      }
      metrics.setSleepState(level === 1 || level === 2 ? level : undefined);
    });
  }

  async wakeUp(tags: readonly string[] | undefined): Promise<void> {
    await this.inTurn(async () => {
      const { loop, metrics } = this.config;
      const asked = tags?.filter((tag) => tag !== 'scheduling');
      const wanted = TAGS.filter((tag) => this.asleep.has(tag) && (asked === undefined || asked.includes(tag)));
      if (wanted.length > 0) {
        await this.remap(wanted);
        for (const tag of wanted) this.asleep.delete(tag);
      }
      // 0.29 tells that it is awake when a part of it is; 0.32 waits for the rest.
      const told = this.config.partlyAwakeIsAwake || this.asleep.size === 0;
      if (told && (asked === undefined || asked.length > 0)) metrics.setSleepState(0);
      if (this.asleep.size === 0) loop.resume();
    });
  }

  /** The limit of an elastic pool has changed; what it does not hold any more is given back. */
  async remapKv(bytes: number): Promise<void> {
    await this.inTurn(async () => {
      if (this.asleep.has('kv_cache')) return;
      await this.config.device.free('kv');
      await this.config.device.take('kv', bytes);
    });
  }

  /** `reload_weights`: reads the checkpoint into mapped memory; a path takes the place of the engine's own from then on. */
  async reloadWeights(path?: string): Promise<void> {
    await this.inTurn(async () => {
      if (this.asleep.has('weights'))
        throw internalError(
          'Call to collective_rpc method failed: CUDA error: an illegal memory access was encountered',
        );
      this.weightsPath = path ?? this.weightsPath;
      const from = this.weightsPath === undefined ? 'disk' : await checkpointAt(this.weightsPath);
      await this.delay(reloadMs(this.config.model.weightBytes, from));
      this.weightsLoaded = true;
    });
  }

  private async fallAsleep(level: 1 | 2): Promise<void> {
    const { model, device, enabled } = this.config;
    this.level = level;
    for (const tag of TAGS) this.asleep.add(tag);
    if (!enabled) return;
    if (level === 1 && !(await device.pin(this.hostBytes))) {
      this.asleep.clear();
      throw internalError('Call to sleep method failed: CUDA error: out of memory (no host memory left to pin)');
    }
    if (level === 1) {
      // The first time the host buffers are still to be pinned, which is slower than the link.
      const alone = sleepMs(model.gpu, model.weightBytes, 1, { firstTime: !this.pinned, gpusMoving: model.gpuCount });
      this.pinned = true;
      await device.copy('to-host', model.weightBytes, (model.weightBytes / alone) * 1000);
    } else {
      this.weightsLoaded = false;
      await this.delay(sleepMs(model.gpu, model.weightBytes, 2));
    }
    await device.free('weights');
    await device.free('kv');
    this.mappedWeightBytes = 0;
  }

  /** Maps memory tag by tag, weights first. Without room for all of it, what fits stays mapped and the tags stay asleep. */
  private async remap(tags: readonly Tag[]): Promise<void> {
    const { model, device, enabled } = this.config;
    if (!enabled) return;
    await this.delay(wakeMs(model.gpu, 0));
    for (const tag of tags) {
      const weights = tag === 'weights';
      const taken = await device.take(weights ? 'weights' : 'kv', weights ? model.weightBytes : this.config.kvBytes());
      if (weights) {
        const copied = taken.missingBytes > 0 ? model.weightBytes - taken.missingBytes : model.weightBytes;
        const fresh = Math.max(0, copied - this.mappedWeightBytes);
        this.mappedWeightBytes = copied;
        if (this.level === 1) await device.copy('to-gpu', fresh);
      }
      if (taken.missingBytes > 0)
        throw internalError(
          'Call to wake_up method failed: CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:62',
        );
    }
  }

  /** Weights of every GPU, in the same host's memory. */
  private get hostBytes(): number {
    return this.config.model.weightBytes * this.config.model.gpuCount;
  }

  private async mustTake(kind: 'residue' | 'weights' | 'kv', bytes: number): Promise<void> {
    const taken = await this.config.device.take(kind, bytes);
    if (taken.missingBytes === 0) return;
    const mib = (taken.missingBytes / 1024 ** 2).toFixed(0);
    throw new Error(`torch.OutOfMemoryError: CUDA out of memory while taking ${kind}: ${mib} MiB are missing`);
  }

  private delay(emulatedMs: number): Promise<void> {
    return new Promise((resolve) => this.config.clock.after(emulatedMs, resolve));
  }

  /** One transition at a time, as the engine's single control thread does them. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.turn.then(work);
    this.turn = result.catch(() => undefined);
    return result;
  }
}

/** Reads nothing, but fails where vLLM's loader would find no weights. */
async function checkpointAt(folder: string): Promise<WeightFiles> {
  const files = await readdir(folder).catch(() => []);
  if (!files.some((name) => name.endsWith('.safetensors'))) {
    throw internalError(
      `Call to collective_rpc method failed: Worker failed with error 'Cannot find any model weights with \`${folder}\`', please check the stack trace above for the root cause`,
    );
  }
  return (await statfs(folder)).type === TMPFS_MAGIC ? 'host' : 'disk';
}

export function parsePauseMode(text: string): PauseMode | undefined {
  return text === 'abort' || text === 'wait' || text === 'keep' ? text : undefined;
}
