import type { WeightFiles } from '../model/fleet.js';
import type { GpuSpec } from '../model/gpu.js';
import type { Dtype, LlmSpec } from '../model/llm.js';
import { weightBytesPerGpu } from '../model/memory.js';
import { GB } from '../model/units.js';

/** Remapping of virtual memory, RPC and the rest of a wake that does not grow with the weights (vLLM sleep-mode measurements). */
const WAKE_FIXED_MS = 150;
/** The same for a level-2 wake with its reload. */
const RELOAD_FIXED_MS = 500;
/** A level-2 sleep only drops memory; measured 0.1 to 0.5 s. */
const DEEP_SLEEP_MS = 300;
/** First level-1 sleep of a process: its host buffers are still to be pinned (vLLM PR 48337: 8B in 10.6 s; 27.5 GiB in 25.6 s on one H200 machine). */
const FIRST_SLEEP_BANDWIDTH = 2 * GB;
/** What all GPUs of a host move together, in units of one link: 43 GB/s on a host of four A100 with 21 GB/s each. */
const HOST_LINKS = 43 / 21;
/** Safetensors through vLLM's default loader: from NVMe, and from the page cache or a RAM disk. */
const DISK_LOAD_BANDWIDTH = 3.5 * GB;
const HOST_LOAD_BANDWIDTH = 5.3 * GB;
/** Engine start with a warm compile cache: what does not grow with the model (vllm-startup-profiler, vLLM 0.10, R2 0.91). */
const START_FIXED_MS = 33_600;
/** Per 1e9 parameters that a token passes: tracing, graphs, profiling. */
const START_PER_ACTIVE_B_MS = 850;
/** Loading at engine start from the page cache: 1.093 s per 1e9 bf16 parameters. */
const START_LOAD_BANDWIDTH = 1.83 * GB;
/** Compilation and capture when nothing is cached: 20 to 70 s. Mixtures of experts in fp8 add JIT and warm-up of their kernels. */
const COMPILE_MS = 45_000;
const MOE_FP8_WARM_UP_MS = 130_000;

/** Bytes a second that one GPU gets of the host while `gpusMoving` GPUs of its node copy at once. */
export function hostLinkBandwidth(gpu: GpuSpec, gpusMoving: number): number {
  return Math.min(gpu.hostBandwidth, (gpu.hostBandwidth * HOST_LINKS) / Math.max(1, gpusMoving));
}

/**
 * Wake from level 1: weights come back from pinned host memory. `gpusMoving` counts all GPUs of the node that copy meanwhile, the
 * engine's own TP group included.
 */
export function wakeMs(gpu: GpuSpec, weightBytes: number, gpusMoving = 1): number {
  return WAKE_FIXED_MS + (weightBytes / hostLinkBandwidth(gpu, gpusMoving)) * 1000;
}

/** Falling asleep. `firstTime`: the process has never slept at level 1, so its host buffers are not pinned yet. */
export function sleepMs(
  gpu: GpuSpec,
  weightBytes: number,
  level: 1 | 2,
  { firstTime = false, gpusMoving = 1 }: { readonly firstTime?: boolean; readonly gpusMoving?: number } = {},
): number {
  if (level === 2) return DEEP_SLEEP_MS;
  const bandwidth = hostLinkBandwidth(gpu, gpusMoving);
  return (weightBytes / (firstTime ? Math.min(FIRST_SLEEP_BANDWIDTH, bandwidth) : bandwidth)) * 1000;
}

/** Wake from level 2 with its reload of the weights from `disk` or from files in `host` memory; every GPU reads its own share. */
export function reloadMs(weightBytes: number, from: WeightFiles): number {
  return RELOAD_FIXED_MS + (weightBytes / (from === 'host' ? HOST_LOAD_BANDWIDTH : DISK_LOAD_BANDWIDTH)) * 1000;
}

/** Copying a checkpoint from disk into RAM: what the disk gives. */
export function stageMs(bytes: number): number {
  return (bytes / DISK_LOAD_BANDWIDTH) * 1000;
}

/** Start of an engine process until it serves. The weights are on local disk; a download comes on top. */
export function coldStartMs(llm: LlmSpec, dtype: Dtype, tp: number, { compileCached = true } = {}): number {
  const cached =
    START_FIXED_MS +
    START_PER_ACTIVE_B_MS * llm.activeParametersB +
    (weightBytesPerGpu(llm, dtype, tp) / START_LOAD_BANDWIDTH) * 1000;
  if (compileCached) return cached;
  return cached + COMPILE_MS + (llm.moe && dtype === 'fp8' ? MOE_FP8_WARM_UP_MS : 0);
}
