import systeminformation from 'systeminformation';
import { type MemoryLimit, memoryLimit } from './memory-limit.js';

/** CPU, memory and disk of the host. Bytes; shares from 0 to 1. */
export interface HostReading {
  readonly cpuCores: number;
  readonly cpuLoad: number;
  readonly memoryTotalBytes: number;
  /** What programs could still get, the page cache included. */
  readonly memoryAvailableBytes: number;
  /** What this process and what it starts may take of that; undefined where nothing limits them. */
  readonly memoryLimit?: MemoryLimit | undefined;
  readonly swapUsedBytes: number;
  readonly disks: readonly { readonly mount: string; readonly totalBytes: number; readonly freeBytes: number }[];
}

/**
 * Looks at the host once. systeminformation knows the systems apart; its own GPU call is not used, because it blocks the event loop while it runs
 * nvidia-smi. Absurd values (more available than there is, no memory at all) reject.
 */
export async function readHost(): Promise<HostReading> {
  const [cpu, load, memory, disks] = await Promise.all([
    systeminformation.cpu(),
    systeminformation.currentLoad(),
    systeminformation.mem(),
    systeminformation.fsSize(),
  ]);
  return checkHost({
    cpuCores: cpu.cores,
    cpuLoad: load.currentLoad / 100,
    memoryTotalBytes: memory.total,
    memoryAvailableBytes: memory.available,
    memoryLimit: memoryLimit(),
    swapUsedBytes: memory.swapused,
    disks: disks.map(({ mount, size, available }) => ({ mount, totalBytes: size, freeBytes: available })),
  });
}

export function checkHost(reading: HostReading): HostReading {
  const { memoryTotalBytes, memoryAvailableBytes } = reading;
  if (!(memoryTotalBytes > 0)) throw new Error(`the host tells ${memoryTotalBytes} bytes of memory`);
  if (!(memoryAvailableBytes >= 0 && memoryAvailableBytes <= memoryTotalBytes)) {
    throw new Error(`the host tells ${memoryAvailableBytes} bytes available of ${memoryTotalBytes}`);
  }
  return reading;
}
