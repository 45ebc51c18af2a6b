import { collectDefaultMetrics, Gauge, type Registry } from 'prom-client';
import type { LocalLevels } from '../bus/local.js';
import { exportFleet } from '../observe/fleet-metrics.js';
import { exportTotal } from '../observe/metrics.js';
import type { TextVectors } from '../predict/text-vectors/service.js';
import type { GpuWatches } from './gpu-telemetry.js';
import { packageVersion } from './package-files.js';

/** What the levels and this process know, for the metrics page. */
export function exportLevels(
  registry: Registry,
  levels: LocalLevels,
  watches: GpuWatches,
  textVectors: TextVectors | undefined,
): void {
  exportFleet(registry, () => levels.scheduling.fleet());
  // CPU, memory, open files and the delay of the event loop, under prom-client's usual names.
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'maestro_build_info',
    help: '1, with the version of Maestro that serves; compare it before and after an upgrade',
    labelNames: ['version'],
    registers: [registry],
  }).set({ version: packageVersion() }, 1);
  exportTotal(
    registry,
    'maestro_decision_log_lost_total',
    'Decisions that the log file does not have; when it rises, look at the disk under observe.decisionLog',
    levels.lostDecisions,
  );
  exportTotal(
    registry,
    'maestro_telemetry_refused_total',
    'GPU readings that cannot be true or came too late; when it rises, look at nvidia-smi or the DCGM exporter',
    () => watches.refused(),
  );
  exportTotal(
    registry,
    'maestro_embedder_late_total',
    'Texts that the sentence embedder did not answer in time; when it rises, raise prediction.embedderWait or leave prediction.embedder out',
    () => textVectors?.late ?? 0,
  );
}
