import type { Clock } from '../../model/clock.js';
import type { Adapters } from './adapters.js';
import type { DeviceHandle } from './device-host.js';
import type { VllmVersion } from './dialect.js';
import type { EngineLoop } from './engine-loop.js';
import type { FaultPlan } from './faults.js';
import type { Generation } from './generation.js';
import type { Ledger } from './ledger.js';
import type { VllmMetrics } from './metrics.js';
import type { EmulatorModel, EmulatorOptions } from './options.js';
import type { SleepMachine } from './sleep.js';

/** Everything that the endpoints of one emulated server share. */
export interface EmulatorContext {
  readonly options: EmulatorOptions;
  readonly model: EmulatorModel;
  readonly clock: Clock;
  readonly loop: EngineLoop;
  readonly sleep: SleepMachine;
  readonly adapters: Adapters;
  readonly metrics: VllmMetrics;
  readonly ledger: Ledger;
  readonly faults: FaultPlan;
  readonly device: DeviceHandle;
  readonly version: VllmVersion;
  readonly fingerprint: string;
  readonly startedMs: number;
  /** Requests that have been accepted and have not ended. */
  readonly open: Set<Generation>;
  /** What /load tells, when it is tracked. */
  load: number;
  /** SIGTERM has come, and new requests are refused. */
  draining: boolean;
  die(how: 'cut' | 'error'): void;
}
