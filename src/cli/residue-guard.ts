import { processEntry } from '../engine/supervise/process-table.js';
import { ResidueWatch } from '../engine/supervise/residue-watch.js';
import type { EngineSupervisor } from '../engine/supervise/supervisor.js';
import type { GpuDetail } from '../engine/telemetry/nvidia-smi-xml.js';
import type { Clock, Timer } from '../model/clock.js';
import { type EngineState, isAsleep } from '../model/fleet.js';
import type { Logger } from '../observe/log.js';

export interface ResidueGuardOptions {
  /** Those that run now. */
  readonly supervisors: () => readonly Pick<EngineSupervisor, 'engineId' | 'pid' | 'retire'>[];
  readonly stateOf: (engineId: string) => EngineState | undefined;
  readonly readDetails: () => Promise<readonly GpuDetail[]>;
  readonly clock: Clock;
  readonly logger: Pick<Logger, 'warn'>;
  /** Process group of a process; default: as `/proc` says. */
  readonly groupOf?: (pid: number) => number | undefined;
}

const INTERVAL_MS = 30_000;

/**
 * Looks from time to time at what the processes of sleeping engines hold of the GPUs, and has those replaced that hold ever more. Where the driver does not tell
 * processes apart (in containers without the host's process ids, under MIG) nothing is judged.
 */
export class ResidueGuard {
  private readonly watch = new ResidueWatch();
  private timer: Timer | undefined;
  private stopped = false;

  constructor(private readonly options: ResidueGuardOptions) {}

  start(): void {
    if (this.stopped) return;
    this.timer = this.options.clock.after(INTERVAL_MS, () => void this.look().then(() => this.start()));
  }

  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  /** One look. A reading that fails is the telemetry's to report; here it only means that nothing is judged. */
  async look(): Promise<void> {
    const { supervisors, stateOf, readDetails, logger } = this.options;
    const asleep = supervisors().filter(({ engineId }) => isAsleep(stateOf(engineId)));
    if (asleep.length === 0) return;
    const details = await readDetails().catch(() => []);
    for (const supervisor of asleep) {
      const { engineId, pid } = supervisor;
      const usedBytes = pid === undefined ? undefined : this.usedBytes(details, pid);
      if (usedBytes === undefined || pid === undefined) continue;
      const growth = this.watch.observe(engineId, pid, usedBytes);
      // It may have begun to wake since.
      if (growth === 0 || !isAsleep(stateOf(engineId))) continue;
      logger.warn(
        { engine: engineId, pid, usedBytes, growth },
        'the sleeping engine holds ever more GPU memory, and is replaced by a new process',
      );
      await supervisor.retire().catch((err: unknown) => {
        logger.warn({ engine: engineId, pid, err }, 'the engine could not be replaced; it is tried again');
      });
    }
  }

  /** GPU memory of a process group; undefined where none of its processes is listed, or what they hold is not told. */
  private usedBytes(details: readonly GpuDetail[], group: number): number | undefined {
    const groupOf = this.options.groupOf ?? ((pid) => processEntry(pid)?.group);
    const own = details.flatMap(({ processes }) => processes.filter(({ pid }) => groupOf(pid) === group));
    if (own.length === 0) return undefined;
    return own.reduce<number | undefined>(
      (sum, { usedBytes }) => (sum === undefined || usedBytes === undefined ? undefined : sum + usedBytes),
      0,
    );
  }
}
