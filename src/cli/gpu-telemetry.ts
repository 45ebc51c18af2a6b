import type { MaestroConfig } from '../config/schema.js';
import type { EmulatedFleet } from '../engine/emulator/fleet.js';
import { DcgmSource } from '../engine/telemetry/dcgm.js';
import type { GpuSource, GpuTelemetry } from '../engine/telemetry/gpu-source.js';
import { NvidiaSmiSource } from '../engine/telemetry/nvidia-smi.js';
import { TelemetryWatch } from '../engine/telemetry/telemetry-watch.js';
import type { Clock } from '../model/clock.js';
import type { NodeSpec } from '../model/fleet.js';
import type { Logger } from '../observe/log.js';

/** Begins to watch the GPUs of every node that names a source; resolves when each has been looked at once. */
export async function watchGpus(
  config: MaestroConfig,
  nodes: readonly NodeSpec[],
  wallClock: Clock,
  logger: Logger,
): Promise<ReadonlyMap<string, TelemetryWatch>> {
  const watches = new Map<string, TelemetryWatch>();
  for (const { nodeId, gpus } of nodes) {
    const named = config.fleet.nodes.find(({ id }) => id === nodeId)?.telemetry ?? 'none';
    if (named === 'none' || gpus.length === 0) continue;
    const source: GpuSource = named === 'nvidia-smi' ? new NvidiaSmiSource() : new DcgmSource(named);
    const watch = new TelemetryWatch({
      source,
      clock: wallClock,
      gpuBytes: gpus.map(({ memoryBytes }) => memoryBytes),
      onProblem: (refusal, message) =>
        logger.warn({ node: nodeId, source: source.name, refusal }, `GPU telemetry is not used: ${message}`),
    });
    watches.set(nodeId, watch);
  }
  await Promise.all([...watches.values()].map((watch) => watch.start()));
  return watches;
}

/** What the emulated device of a node tells: always, and as it is. */
export function emulatedTelemetry(fleet: EmulatedFleet, nodeId: string): GpuTelemetry {
  return {
    usedBytes: () => fleet.device(nodeId).gpus.map(({ usedBytes }) => usedBytes),
    refresh: async () => {},
  };
}
