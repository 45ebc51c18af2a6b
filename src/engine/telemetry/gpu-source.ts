/** One GPU at one moment, as some source tells it. What a source does not know is undefined, never a made-up zero. */
export interface GpuReading {
  /** Index on the node, as the driver counts. */
  readonly index: number;
  readonly uuid: string | undefined;
  readonly name: string | undefined;
  readonly usedBytes: number;
  readonly totalBytes: number;
  /** Share of the last sampling period in which a kernel ran, 0 to 1. */
  readonly utilization: number | undefined;
  readonly temperatureC: number | undefined;
  readonly powerW: number | undefined;
  /** Last Xid error of the driver; 0 when there was none. */
  readonly xid: number | undefined;
}

/** Somebody who can tell how much memory the GPUs of this node have in use. */
export interface GpuSource {
  readonly name: string;
  /** One look. Rejects with a message that says what to do when there is no telling; never hangs. */
  read(): Promise<readonly GpuReading[]>;
}

/** What the driver or the emulated device tells of a node's GPUs. */
export interface GpuTelemetry {
  /** HBM in use per GPU; undefined when there is no reading now. */
  readonly usedBytes: () => readonly number[] | undefined;
  /** Looks now and not at the next poll; resolves when `usedBytes` tells what that look saw. Never rejects. */
  readonly refresh: () => Promise<void>;
}
