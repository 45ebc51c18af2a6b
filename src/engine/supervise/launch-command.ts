import { engineAddress } from '../../model/engine-address.js';
import { kvcachedEnvironment } from '../kvcached/segment.js';
import { loraFlags } from '../lora-flags.js';

/** How to start a vLLM server: the contract between the fleet file and the process. */
export interface EngineLaunch {
  readonly engineId: string;
  /** Program and arguments before ours, such as `['vllm', 'serve']`. */
  readonly program: readonly string[];
  /** Path or Hugging Face id of the weights. */
  readonly weights: string;
  /** Command that brings them into that folder where they are not there. */
  readonly fetch?: readonly string[];
  readonly servedName: string;
  /** Folders or Hugging Face ids of its LoRA adapters, by their names. */
  readonly adapters?: Readonly<Record<string, string>>;
  /** Base URL at which it will answer; loopback, or a socket. */
  readonly url: string;
  readonly gpuIndices: readonly number[];
  /** Data-parallel ranks that they are divided into. Default 1. */
  readonly dataParallel?: number;
  readonly sleep: boolean;
  readonly maxNumSeqs: number;
  readonly maxModelLen?: number;
  readonly kvMemoryBytes?: number;
  readonly kvDtype: 'bf16' | 'fp8';
  /** Run with kvcached, under this name in shared memory. */
  readonly kvcachedName?: string;
  /** What its clients have to send; goes into its environment, for a command line can be read by all. */
  readonly apiKey?: string;
  readonly toolCallParser?: string;
  readonly reasoningParser?: string;
  /** Further flags, after ours, so that they win. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Share of the GPU that must be free at the start: vLLM refuses to start below it even where the KV pool is given in bytes, so on a shared GPU it is small.
 */
const SHARED_GPU_UTILIZATION = 0.1;

/**
 * The command line. Sleep mode and the development endpoints for the weight cache; `priority` so that what waits inside follows our order; cached tokens,
 * times and request ids in the answers, which the predictors learn from.
 */
export function launchCommand(launch: EngineLaunch): string[] {
  const { host, port, socketPath } = engineAddress(launch.url);
  const { gpuIndices, dataParallel = 1 } = launch;
  const command = [
    ...launch.program,
    launch.weights,
    '--served-model-name',
    launch.servedName,
    ...(socketPath === undefined ? ['--host', host, '--port', String(port)] : ['--uds', socketPath]),
    '--tensor-parallel-size',
    String(Math.max(1, gpuIndices.length / dataParallel)),
    ...(dataParallel > 1 ? ['--data-parallel-size', String(dataParallel)] : []),
    '--max-num-seqs',
    String(launch.maxNumSeqs),
    '--scheduling-policy',
    'priority',
    '--enable-prompt-tokens-details',
    '--enable-request-id-headers',
    '--enable-server-load-tracking',
  ];
  if (launch.sleep) command.push('--enable-sleep-mode');
  if (launch.maxModelLen !== undefined) command.push('--max-model-len', String(launch.maxModelLen));
  if (launch.kvMemoryBytes !== undefined) {
    command.push('--kv-cache-memory-bytes', String(launch.kvMemoryBytes));
    command.push('--gpu-memory-utilization', String(SHARED_GPU_UTILIZATION));
  }
  if (launch.kvDtype === 'fp8') command.push('--kv-cache-dtype', 'fp8');
  if (launch.toolCallParser !== undefined) {
    command.push('--enable-auto-tool-choice', '--tool-call-parser', launch.toolCallParser);
  }
  command.push(...loraFlags(launch.adapters));
  if (launch.reasoningParser !== undefined) command.push('--reasoning-parser', launch.reasoningParser);
  return [...command, ...launch.args];
}

/** Whether a command line, of an earlier fleet file perhaps, starts the same weights under the same name as `launch`. */
export function servesTheSame(command: readonly string[], { weights, servedName }: EngineLaunch): boolean {
  const flag = command.indexOf('--served-model-name');
  return command[flag - 1] === weights && command[flag + 1] === servedName;
}

/** The environment, on top of `base`: the engine's GPUs, and the endpoints by which it is put to sleep. */
export function launchEnvironment(
  launch: EngineLaunch,
  base: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  return {
    ...base,
    VLLM_SERVER_DEV_MODE: '1',
    ...visibleGpus(launch.gpuIndices),
    ...(launch.apiKey === undefined ? {} : { VLLM_API_KEY: launch.apiKey }),
    ...kvcachedEnvironment(launch.kvcachedName),
    ...launch.env,
  };
}

/** The GPUs by their numbers in `nvidia-smi`, as the fleet file and the telemetry have them: left to itself CUDA counts the fastest first. */
function visibleGpus(indices: readonly number[]): Record<string, string> {
  return indices.length === 0 ? {} : { CUDA_DEVICE_ORDER: 'PCI_BUS_ID', CUDA_VISIBLE_DEVICES: indices.join(',') };
}
