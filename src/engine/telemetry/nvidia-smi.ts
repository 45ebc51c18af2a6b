import type { GpuReading, GpuSource } from './gpu-source.js';
import { type RunCommand, runCommand } from './run-command.js';

const MIB = 1024 * 1024;

/** Columns asked for, in this order. Names are those of `nvidia-smi --help-query-gpu`. */
const COLUMNS = [
  'index',
  'uuid',
  'name',
  'memory.used',
  'memory.total',
  'utilization.gpu',
  'temperature.gpu',
  'power.draw',
] as const;

export interface NvidiaSmiOptions {
  readonly path?: string;
  readonly timeoutMs?: number;
  readonly run?: RunCommand;
}

/** Reads GPUs by `nvidia-smi --query-gpu`: works wherever the driver is, needs no daemon and no native module. */
export class NvidiaSmiSource implements GpuSource {
  readonly name = 'nvidia-smi';
  private readonly path: string;
  private readonly timeoutMs: number;
  private readonly run: RunCommand;

  constructor(options: NvidiaSmiOptions = {}) {
    this.path = options.path ?? 'nvidia-smi';
    this.timeoutMs = options.timeoutMs ?? 5_000;
    this.run = options.run ?? runCommand;
  }

  async read(): Promise<readonly GpuReading[]> {
    const query = [`--query-gpu=${COLUMNS.join(',')}`, '--format=csv,noheader,nounits'];
    return parseGpuCsv(await this.run(this.path, query, this.timeoutMs));
  }
}

/**
 * Parses the CSV of `--query-gpu` with `noheader,nounits`: memory in MiB, utilisation in percent, power in watts. `[N/A]`, `[Not Supported]` and the like are
 * unknown values; a GPU without its memory is an error, because nothing could be decided by it.
 */
export function parseGpuCsv(text: string): GpuReading[] {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  if (lines.length === 0) throw new Error('nvidia-smi lists no GPU');
  return lines.map((line) => {
    const cells = line.split(',').map((cell) => cell.trim());
    if (cells.length !== COLUMNS.length) {
      throw new Error(`nvidia-smi printed ${cells.length} columns where ${COLUMNS.length} were asked for: ${line}`);
    }
    const [index, uuid, name, used, total, utilization, temperature, power] = cells as [string, ...string[]];
    const usedMiB = number(used);
    const totalMiB = number(total);
    if (usedMiB === undefined || totalMiB === undefined) {
      throw new Error(`nvidia-smi does not tell the memory of GPU ${index} (${used} of ${total})`);
    }
    const percent = number(utilization);
    return {
      index: number(index) ?? 0,
      uuid: word(uuid),
      name: word(name),
      usedBytes: usedMiB * MIB,
      totalBytes: totalMiB * MIB,
      utilization: percent === undefined ? undefined : percent / 100,
      temperatureC: number(temperature),
      powerW: number(power),
      xid: undefined,
    };
  });
}

function word(cell: string | undefined): string | undefined {
  return cell === undefined || cell === '' || cell.startsWith('[') || cell === 'N/A' ? undefined : cell;
}

function number(cell: string | undefined): number | undefined {
  const text = word(cell);
  const value = text === undefined ? Number.NaN : Number(text);
  return Number.isFinite(value) ? value : undefined;
}
