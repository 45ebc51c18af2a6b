import type { Clock } from '../../model/clock.js';
import { GiB } from '../../model/units.js';
import { connectDevice } from './device-client.js';
import { type DeviceHandle, DeviceHost } from './device-host.js';
import { type EmulatorOptions, resolveModel } from './options.js';
import { EmulatedVllm } from './server.js';

/** Host memory of a device that an emulator makes for itself. */
const PRIVATE_HOST_BYTES = 1024 * GiB;

export interface LaunchHooks {
  onDeath?(how: 'cut' | 'error'): void;
  /** The device's process has gone, and with it the GPUs. */
  onDeviceLost?(): void;
}

export interface RunningEmulator {
  readonly url: string;
  readonly server: EmulatedVllm;
  /** What SIGTERM does; resolves when the process may end. */
  terminate(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts one emulated server: finds its device, passes the start-up guard, takes its memory, listens. Throws what vLLM would print
 * when the GPU has too little room.
 */
export async function launchEmulator(
  options: EmulatorOptions,
  clock: Clock,
  hooks: LaunchHooks = {},
): Promise<RunningEmulator> {
  const model = resolveModel(options);
  const gpuIndices = options.gpuIndices ?? Array.from({ length: model.gpuCount }, (_, index) => index);
  const device: DeviceHandle = options.deviceSocket
    ? await connectDevice(options.deviceSocket, () => hooks.onDeviceLost?.())
    : new DeviceHost({ gpus: gpuIndices.map(() => model.gpu), hostMemoryBytes: PRIVATE_HOST_BYTES }, clock).open();
  try {
    const attached = await device.attach({
      name: model.servedModelNames[0]!,
      pid: process.pid,
      gpuIndices,
      memoryUtilization: model.gpuMemoryUtilization,
    });
    if (attached.kind === 'refused') throw new Error(attached.message);
    await profile(options, device, gpuIndices, clock);
    const server = new EmulatedVllm({
      options,
      clock,
      device,
      ...(hooks.onDeath ? { onDeath: hooks.onDeath } : {}),
    });
    const url = await server.start();
    return { url, server, terminate: () => server.terminate(), close: () => server.close() };
  } catch (error) {
    device.close();
    throw error;
  }
}

/** The time before serving. vLLM's memory profiling fails when others give memory back meanwhile. */
async function profile(
  options: EmulatorOptions,
  device: DeviceHandle,
  gpuIndices: readonly number[],
  clock: Clock,
): Promise<void> {
  const startupMs = options.startupMs ?? 0;
  if (startupMs <= 0) return;
  const releases = async () => {
    const { gpus } = await device.snapshot();
    return gpuIndices.reduce((sum, index) => sum + (gpus[index]?.releases ?? 0), 0);
  };
  const before = await releases();
  await new Promise<void>((resolve) => clock.after(startupMs, resolve));
  if ((await releases()) !== before) {
    throw new Error(
      'AssertionError: Error in memory profiling. This happens when other processes sharing the same container release GPU memory ' +
        'while vLLM is profiling during initialization.',
    );
  }
}
