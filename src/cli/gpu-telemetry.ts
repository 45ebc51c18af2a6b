import type { EmulatedFleet } from '../engine/emulator/fleet.js';
import { DcgmSource } from '../engine/telemetry/dcgm.js';
import type { GpuSource, GpuTelemetry } from '../engine/telemetry/gpu-source.js';
import { NvidiaSmiSource } from '../engine/telemetry/nvidia-smi.js';
import { TelemetryWatch } from '../engine/telemetry/telemetry-watch.js';
import type { Clock } from '../model/clock.js';
import type { NodeSpec } from '../model/fleet.js';
import type { Logger } from '../observe/log.js';

/** Watches over the GPUs of the nodes that name a source. */
export class GpuWatches {
  private readonly byNode = new Map<string, TelemetryWatch>();
  /** Of watches that are over. */
  private refusedBefore = 0;

  constructor(
    private readonly wallClock: Clock,
    private readonly logger: Logger,
  ) {}

  get(nodeId: string): TelemetryWatch | undefined {
    return this.byNode.get(nodeId);
  }

  /** Begins to watch the GPUs of the node; resolves when they have been looked at once. */
  async begin({ nodeId, gpus }: NodeSpec, telemetry: string): Promise<void> {
    if (telemetry === 'none' || gpus.length === 0) return;
    const source: GpuSource = telemetry === 'nvidia-smi' ? new NvidiaSmiSource() : new DcgmSource(telemetry);
    const watch = new TelemetryWatch({
      source,
      clock: this.wallClock,
      gpuBytes: gpus.map(({ memoryBytes }) => memoryBytes),
      onProblem: (refusal, message) =>
        this.logger.warn({ node: nodeId, source: source.name, refusal }, `GPU telemetry is not used: ${message}`),
    });
    this.byNode.set(nodeId, watch);
    await watch.start();
  }

  end(nodeId: string): void {
    const watch = this.byNode.get(nodeId);
    if (!watch) return;
    watch.stop();
    this.refusedBefore += refusedBy(watch);
    this.byNode.delete(nodeId);
  }

  endAll(): void {
    for (const watch of this.byNode.values()) watch.stop();
  }

  /** Readings that were refused since the start. */
  refused(): number {
    return [...this.byNode.values()].reduce((sum, watch) => sum + refusedBy(watch), this.refusedBefore);
  }
}

function refusedBy({ refused }: TelemetryWatch): number {
  return Object.values(refused).reduce((a, b) => a + b, 0);
}

/** What the emulated device of a node tells: always, and as it is. */
export function emulatedTelemetry(fleet: EmulatedFleet, nodeId: string): GpuTelemetry {
  return {
    usedBytes: () => fleet.device(nodeId).gpus.map(({ usedBytes }) => usedBytes),
    refresh: async () => {},
  };
}
