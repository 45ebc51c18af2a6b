import { MaestroError } from '../../model/error.js';
import type { GpuSpec } from '../../model/gpu.js';
import { findGpu, GPU_NAMES } from '../../model/gpu-catalogue.js';
import type { Dtype, LlmSpec } from '../../model/llm.js';
import { findLlm, LLM_NAMES } from '../../model/llm-catalogue.js';
import {
  DEFAULT_BLOCK_TOKENS,
  type KvDtype,
  kvBytesForSequence,
  kvPoolBytes,
  kvPoolTokens,
  weightBytesPerGpu,
} from '../../model/memory.js';
import { GiB } from '../../model/units.js';
import type { VllmVersion } from './dialect.js';
import type { KvEventsConfig } from './kv-events/publisher.js';

/**
 * HBM that a sleeping engine keeps on each GPU: CUDA context, graphs, communication buffers. About 1 GiB (1.1 at TP 4 in vLLM issue
 * 32714); it varies little between models.
 */
export const DEFAULT_RESIDUE_BYTES = GiB;

/** One emulated vLLM server, as its command line describes it. Bytes are per GPU. */
export interface EmulatorOptions {
  /** Catalogue name or Hugging Face id; also the served name when none is given. */
  readonly model: string;
  readonly servedModelNames?: readonly string[];
  /** LoRA adapters from the start, each `NAME=PATH`. */
  readonly loraModules?: readonly string[];
  /** Adapters may be loaded and unloaded while it serves (VLLM_ALLOW_RUNTIME_LORA_UPDATING=1). */
  readonly runtimeLora?: boolean;
  readonly gpu: string;
  /** Shapes that the catalogues do not hold. */
  readonly llmSpec?: LlmSpec;
  readonly gpuSpec?: GpuSpec;
  /** GPUs of each data-parallel rank. */
  readonly tp?: number;
  readonly dataParallelSize?: number;
  readonly dtype?: Dtype;
  readonly kvDtype?: KvDtype;
  readonly maxNumSeqs?: number;
  readonly maxNumBatchedTokens?: number;
  readonly maxModelLen?: number;
  readonly blockSize?: number;
  readonly kvCacheMemoryBytes?: number;
  readonly gpuMemoryUtilization?: number;
  readonly residueBytes?: number;
  readonly schedulingPolicy?: 'fcfs' | 'priority';
  readonly enablePrefixCaching?: boolean;
  readonly enableSleepMode?: boolean;
  readonly startAsleep?: boolean;
  readonly devMode?: boolean;
  readonly enableRequestIdHeaders?: boolean;
  readonly enablePromptTokensDetails?: boolean;
  readonly enableForceIncludeUsage?: boolean;
  readonly enablePerRequestMetrics?: boolean;
  readonly enableServerLoadTracking?: boolean;
  readonly enableAutoToolChoice?: boolean;
  readonly toolCallParser?: string;
  readonly maxNumQueuedReqs?: number;
  /** Bound on prompt tokens whose prefill is not over. */
  readonly maxNumQueuedTokens?: number;
  readonly kvEvents?: KvEventsConfig;
  /** ENABLE_KVCACHED=true with this KVCACHED_IPC_NAME: the KV limit can be moved through shared memory. */
  readonly kvcachedName?: string;
  /** Where its segment is; default /dev/shm. */
  readonly kvcachedFolder?: string;
  /** Seconds that open requests get after SIGTERM; default 0. */
  readonly shutdownTimeoutS?: number;
  /** VLLM_KEEP_ALIVE_ON_ENGINE_DEATH=1: the API server outlives its engine, and answers errors. */
  readonly keepAliveOnEngineDeath?: boolean;
  /** Release whose behaviour is shown; default 0.29.0. */
  readonly vllmVersion?: VllmVersion;
  /** 0.32 and later: render endpoints, off by default there. */
  readonly enableScaleOut?: boolean;
  /** VLLM_ENABLE_RESPONSES_API_STORE=1: responses are kept, and can be asked for, continued and cancelled. */
  readonly responsesStore?: boolean;
  /** `pooling` serves embeddings and nothing else, as vLLM does. */
  readonly runner?: 'generate' | 'pooling';
  readonly apiKeys?: readonly string[];
  readonly seed?: number;
  /** Emulated milliseconds of start-up before the server listens. */
  readonly startupMs?: number;
  readonly host?: string;
  readonly port?: number;
  /** Unix socket to listen on, in place of host and port. */
  readonly uds?: string;
  /** Serve TLS: paths of PEM files. `certReqs` as in Python's `ssl`: 0 asks for no certificate of clients, 1 takes one, 2 insists. */
  readonly ssl?: {
    readonly keyfile: string;
    readonly certfile: string;
    readonly caCerts?: string;
    readonly certReqs?: number;
  };
  readonly timeScale?: number;
  /** Unix socket of the node's device, which other emulators share. Absent: a device of its own. */
  readonly deviceSocket?: string;
  /** GPUs of that device; their number is the TP degree. */
  readonly gpuIndices?: readonly number[];
  /** Frames are written at most once in this many wall milliseconds; see {@link defaultTickMs}. */
  readonly streamTickMs?: number;
}

/** Everything that follows from the options, computed once. Limits and pool are of one data-parallel rank. */
export interface EmulatorModel {
  readonly llm: LlmSpec;
  readonly gpu: GpuSpec;
  readonly tp: number;
  readonly dataParallel: number;
  /** Of all ranks. */
  readonly gpuCount: number;
  readonly dtype: Dtype;
  readonly kvDtype: KvDtype;
  readonly servedModelNames: readonly string[];
  readonly blockSize: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  readonly maxModelLen: number;
  readonly weightBytes: number;
  readonly kvPoolBytes: number;
  readonly kvPoolTokens: number;
  readonly numGpuBlocks: number;
  readonly residueBytes: number;
  readonly gpuMemoryUtilization: number;
}

export function resolveModel(options: EmulatorOptions): EmulatorModel {
  const llm = options.llmSpec ?? findLlm(options.model);
  if (!llm) throw unknown('model', options.model, LLM_NAMES);
  const gpu = options.gpuSpec ?? findGpu(options.gpu);
  if (!gpu) throw unknown('GPU', options.gpu, GPU_NAMES);
  const dataParallel = options.dataParallelSize ?? 1;
  const tp = options.tp ?? (options.gpuIndices ? options.gpuIndices.length / dataParallel : 1);
  const gpuCount = tp * dataParallel;
  if (dataParallel > 1) checkRanks(options, tp, gpuCount);
  const dtype = options.dtype ?? (/fp8/i.test(options.model) ? 'fp8' : 'bf16');
  const kvDtype = options.kvDtype ?? 'bf16';
  const blockSize = options.blockSize ?? DEFAULT_BLOCK_TOKENS;
  const maxNumSeqs = options.maxNumSeqs ?? 256;
  const maxNumBatchedTokens = options.maxNumBatchedTokens ?? 8192;
  const gpuMemoryUtilization = options.gpuMemoryUtilization ?? 0.92;
  const residueBytes = Math.round(options.residueBytes ?? DEFAULT_RESIDUE_BYTES);
  const weightBytes = weightBytesPerGpu(llm, dtype, gpuCount, dataParallel);
  const poolOptions = { maxNumBatchedTokens, maxNumSeqs, dataParallel };
  const poolBytes =
    options.kvCacheMemoryBytes ?? kvPoolBytes(gpu, llm, dtype, gpuCount, gpuMemoryUtilization, poolOptions);
  const contextTokens = options.maxModelLen ?? llm.maxContextTokens;
  const poolTokens = kvPoolTokens(poolBytes, llm, kvDtype, tp, contextTokens, blockSize);
  const maxModelLen = options.maxModelLen ?? Math.min(contextTokens, poolTokens);
  const neededBytes = kvBytesForSequence(llm, maxModelLen, kvDtype, tp, blockSize);
  if (poolTokens < blockSize || neededBytes > poolBytes) {
    const needed = neededBytes / GiB;
    throw new MaestroError(
      'invalid_request',
      `To serve at least one request with ${options.model}'s max seq len (${maxModelLen}), ${needed.toFixed(2)} GiB KV cache is needed, ` +
        `which is larger than the available KV cache memory (${(poolBytes / GiB).toFixed(2)} GiB) on ${tp} x ${gpu.name}. ` +
        'Decrease --max-model-len, or give more with --kv-cache-memory-bytes, a smaller --dtype or a larger --tp.',
    );
  }
  return {
    llm,
    gpu,
    tp,
    dataParallel,
    gpuCount,
    dtype,
    kvDtype,
    servedModelNames: options.servedModelNames?.length ? options.servedModelNames : [options.model],
    blockSize,
    maxNumSeqs,
    maxNumBatchedTokens,
    maxModelLen,
    weightBytes,
    kvPoolBytes: poolBytes,
    kvPoolTokens: poolTokens,
    numGpuBlocks: Math.floor(poolTokens / blockSize),
    residueBytes,
    gpuMemoryUtilization,
  };
}

function checkRanks(
  { gpuIndices, kvEvents, kvcachedName, dataParallelSize }: EmulatorOptions,
  tp: number,
  gpuCount: number,
): void {
  const refuse = (why: string) => {
    throw new MaestroError('invalid_request', why);
  };
  if (!Number.isInteger(tp) || (gpuIndices && gpuIndices.length !== gpuCount)) {
    refuse(`${gpuIndices?.length} GPUs are not --tp for each of ${dataParallelSize} data-parallel ranks.`);
  }
  if (kvEvents) refuse('KV events of data-parallel ranks are not emulated: leave out --kv-events-config.');
  if (kvcachedName) refuse('kvcached under data-parallel ranks is not emulated: unset ENABLE_KVCACHED.');
}

/**
 * How often streams are written, wall milliseconds. At real time every token has its own frame; on a faster clock tokens that fell
 * due together share one, so that the cost of a stream stays that of about 40 frames a second.
 */
export function defaultTickMs(timeScale: number): number {
  return Math.min(25, 4 + timeScale);
}

function unknown(what: string, name: string, known: readonly string[]): MaestroError {
  return new MaestroError('invalid_request', `No ${what} "${name}" in the catalogue. Known: ${known.join(', ')}.`);
}
