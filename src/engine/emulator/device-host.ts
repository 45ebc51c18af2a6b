import type { Clock, Timer } from '../../model/clock.js';
import type {
  AttachResult,
  CopyDirection,
  CopyRequest,
  DeviceConfig,
  DeviceSnapshot,
  HbmKind,
  TakeResult,
} from '../device.js';
import { EmulatedDevice } from '../device.js';

export interface AttachRequest {
  readonly name: string;
  readonly pid: number;
  readonly gpuIndices: readonly number[];
  /** Fraction of each GPU that must be free at the start. */
  readonly memoryUtilization: number;
}

/** One process's hold on its device, in this process or over a socket. */
export interface DeviceHandle {
  attach(request: AttachRequest): Promise<AttachResult>;
  take(kind: HbmKind, bytesPerGpu: number): Promise<TakeResult>;
  free(kind: HbmKind): Promise<void>;
  pin(bytes: number): Promise<boolean>;
  /** Ends when the bytes are over, which is later when others use the same links. */
  copy(direction: CopyDirection, bytesPerGpu: number, maxBandwidth?: number): Promise<void>;
  snapshot(): Promise<DeviceSnapshot>;
  /** The process is gone: everything it held is freed. */
  close(): void;
}

/** Runs an {@link EmulatedDevice} on a clock and hands out holds on it. */
export class DeviceHost {
  readonly device: EmulatedDevice;
  private readonly waiting = new Map<number, () => void>();
  private timer: Timer | undefined;

  constructor(
    config: DeviceConfig,
    private readonly clock: Clock,
  ) {
    this.device = new EmulatedDevice(config);
  }

  snapshot(): DeviceSnapshot {
    this.settle();
    return this.device.snapshot();
  }

  open(): DeviceHandle {
    let processId: number | undefined;
    const attached = () => {
      if (processId === undefined) throw new Error('the process is not attached to the device');
      return processId;
    };
    return {
      attach: async (request) => {
        if (processId !== undefined) throw new Error('the process is attached already');
        const { name, pid, gpuIndices, memoryUtilization } = request;
        const result = this.device.attach(name, pid, gpuIndices, memoryUtilization);
        if (result.kind === 'attached') processId = result.processId;
        return result;
      },
      take: async (kind, bytesPerGpu) => this.device.take(attached(), kind, bytesPerGpu),
      free: async (kind) => this.device.free(attached(), kind),
      pin: async (bytes) => this.device.pin(attached(), bytes),
      copy: async (direction, bytesPerGpu, maxBandwidth) => {
        const request: CopyRequest = { direction, bytesPerGpu, ...(maxBandwidth ? { maxBandwidth } : {}) };
        if (bytesPerGpu > 0) await this.copy(attached(), request);
      },
      snapshot: async () => this.snapshot(),
      close: () => {
        if (processId === undefined) return;
        for (const copyId of this.device.detach(processId, this.clock.nowMs())) this.waiting.delete(copyId);
        processId = undefined;
        this.settle();
      },
    };
  }

  private copy(processId: number, request: CopyRequest): Promise<void> {
    this.settle();
    const copyId = this.device.startCopy(processId, request, this.clock.nowMs());
    return new Promise((resolve) => {
      this.waiting.set(copyId, resolve);
      this.settle();
    });
  }

  /** Brings the device to now, tells those whose copies ended, and sleeps until the next end. */
  private settle(): void {
    for (const copyId of this.device.advance(this.clock.nowMs())) {
      this.waiting.get(copyId)?.();
      this.waiting.delete(copyId);
    }
    this.timer?.cancel();
    this.timer = undefined;
    const nextMs = this.device.nextCopyEndMs();
    if (nextMs < Number.POSITIVE_INFINITY) {
      this.timer = this.clock.after(nextMs - this.clock.nowMs(), () => this.settle());
    }
  }
}
