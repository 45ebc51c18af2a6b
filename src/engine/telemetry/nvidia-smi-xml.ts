import { XMLParser } from 'fast-xml-parser';
import { type RunCommand, runCommand } from './run-command.js';

const MIB = 1024 * 1024;

/** A process that holds memory of a GPU. */
export interface GpuProcess {
  readonly pid: number;
  readonly name: string;
  /** Undefined where the driver does not tell, as inside containers and under MIG. */
  readonly usedBytes: number | undefined;
}

/** The parts of a GPU that the CSV query does not have. */
export interface GpuDetail {
  readonly uuid: string;
  readonly name: string;
  readonly migMode: 'enabled' | 'disabled' | 'unknown';
  readonly migDevices: readonly {
    readonly gpuInstance: number;
    readonly usedBytes: number;
    readonly totalBytes: number;
  }[];
  readonly processes: readonly GpuProcess[];
  readonly driverVersion: string | undefined;
}

/**
 * Looks at processes and MIG slices by `nvidia-smi -q -x`. The npm package node-nvidia-smi runs the same command, but without a time limit, and takes any
 * warning on stderr for a failure; so only its way of asking is kept here.
 */
export async function readGpuDetails(
  options: { readonly path?: string; readonly timeoutMs?: number; readonly run?: RunCommand } = {},
): Promise<readonly GpuDetail[]> {
  const run = options.run ?? runCommand;
  return parseGpuXml(await run(options.path ?? 'nvidia-smi', ['-q', '-x'], options.timeoutMs ?? 10_000));
}

/** Elements that may stand once or many times; one of them must not turn a list into an object. */
const LISTS = new Set(['gpu', 'process_info', 'mig_device']);

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  parseTagValue: false,
  processEntities: true,
  isArray: (name) => LISTS.has(name),
});

type Node = { readonly [name: string]: unknown };

export function parseGpuXml(text: string): GpuDetail[] {
  const log = child(parser.parse(text) as Node, 'nvidia_smi_log');
  const gpus = list(log, 'gpu');
  if (gpus.length === 0) throw new Error('nvidia-smi -q -x lists no GPU');
  return gpus.map((gpu) => ({
    uuid: string(gpu, 'uuid') ?? '',
    name: string(gpu, 'product_name') ?? '',
    migMode: migMode(string(child(gpu, 'mig_mode'), 'current_mig')),
    migDevices: list(child(gpu, 'mig_devices'), 'mig_device').map((device) => {
      const memory = child(device, 'fb_memory_usage');
      return {
        gpuInstance: Number(string(device, 'gpu_instance_id') ?? -1),
        usedBytes: mebibytes(string(memory, 'used')) ?? 0,
        totalBytes: mebibytes(string(memory, 'total')) ?? 0,
      };
    }),
    processes: list(child(gpu, 'processes'), 'process_info').map((info) => ({
      pid: Number(string(info, 'pid') ?? -1),
      name: string(info, 'process_name') ?? '',
      usedBytes: mebibytes(string(info, 'used_memory')),
    })),
    driverVersion: string(log, 'driver_version'),
  }));
}

function child(node: Node, name: string): Node {
  const value = node[name];
  return typeof value === 'object' && value !== null ? (value as Node) : {};
}

function list(node: Node, name: string): readonly Node[] {
  const value = node[name];
  return Array.isArray(value)
    ? value.filter((entry): entry is Node => typeof entry === 'object' && entry !== null)
    : [];
}

function string(node: Node, name: string): string | undefined {
  const value = node[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function mebibytes(text: string | undefined): number | undefined {
  const match = /^(\d+(?:\.\d+)?) MiB$/.exec(text ?? '');
  return match ? Number(match[1]) * MIB : undefined;
}

function migMode(text: string | undefined): GpuDetail['migMode'] {
  if (text === 'Enabled') return 'enabled';
  return text === 'Disabled' ? 'disabled' : 'unknown';
}
