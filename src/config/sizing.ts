import type { StepShape } from '../engine/step-time.js';
import type { GpuSpec } from '../model/gpu.js';
import type { LlmSpec } from '../model/llm.js';
import {
  kvBytesForSequence,
  kvBytesPerToken,
  kvPoolBytes,
  kvPoolTokens,
  overheadBytesPerGpu,
  weightBytesPerGpu,
} from '../model/memory.js';
import type { Catalogue } from './catalogue.js';
import type { EngineConfig, NodeConfig } from './schema.js';

/** vLLM's default share of a GPU (`--gpu-memory-utilization`). */
const GPU_MEMORY_UTILIZATION = 0.92;

/** What a configured engine takes and holds, where its model and GPU are known. Bytes are per GPU. */
export interface EngineSizing {
  readonly llm: LlmSpec;
  readonly gpu: GpuSpec;
  /** GPUs of the engine. */
  readonly gpuCount: number;
  /** Data-parallel ranks that they are divided into. */
  readonly dataParallel: number;
  /** Tensor-parallel degree: GPUs of a rank. */
  readonly tp: number;
  readonly weightBytes: number;
  readonly kvPoolBytes: number;
  /** Taken while it is awake, beside weights, KV pool and residue. */
  readonly workspaceBytes: number;
  /** Of one rank, as is what follows. */
  readonly kvBytesPerToken: number;
  readonly kvPoolTokens: number;
  readonly maxModelLen: number;
}

/** Whether the engine runs with sleep mode. */
export function isSleepCapable(engine: EngineConfig): boolean {
  return engine.sleep ?? (engine.url === undefined || engine.launch !== undefined);
}

/** GPU memory that the other engines of a GPU hold while this one is awake alone. */
function residueOfOthers(engine: EngineConfig, node: NodeConfig): number {
  const sums = engine.gpus.map((gpu) =>
    node.engines
      .filter((other) => other !== engine && other.gpus.includes(gpu))
      .reduce((sum, other) => sum + other.residueBytes, 0),
  );
  return Math.max(0, ...sums);
}

/** Sizes an engine; undefined when its model or GPU is unknown, or when it names no GPU. */
export function sizeEngine(engine: EngineConfig, node: NodeConfig, catalogue: Catalogue): EngineSizing | undefined {
  const llm = catalogue.llm(engine.model);
  const gpuType = node.gpus[engine.gpus[0] ?? -1];
  const gpu = gpuType === undefined ? undefined : catalogue.gpu(gpuType);
  if (!llm || !gpu) return undefined;
  const { dataParallel, maxNumSeqs } = engine;
  const gpuCount = engine.gpus.length;
  const tp = gpuCount / dataParallel;
  const defaultPoolBytes = () =>
    kvPoolBytes(gpu, llm, engine.dtype, gpuCount, GPU_MEMORY_UTILIZATION, { maxNumSeqs, dataParallel }) -
    residueOfOthers(engine, node);
  const poolBytes = Math.max(0, engine.kvMemoryBytes ?? defaultPoolBytes());
  const weightBytes = weightBytesPerGpu(llm, engine.dtype, gpuCount, dataParallel);
  const leftBytes = gpu.memoryBytes - weightBytes - poolBytes - residueOfOthers(engine, node) - engine.residueBytes;
  const maxModelLen = engine.maxModelLen ?? longestSequence(llm, poolBytes, engine.kvDtype, tp);
  return {
    llm,
    gpu,
    gpuCount,
    dataParallel,
    tp,
    weightBytes,
    kvPoolBytes: poolBytes,
    workspaceBytes: engine.workspaceBytes ?? defaultWorkspaceBytes(engine, llm, leftBytes),
    kvBytesPerToken: kvBytesPerToken(llm, engine.kvDtype, tp),
    kvPoolTokens: kvPoolTokens(poolBytes, llm, engine.kvDtype, tp, maxModelLen),
    maxModelLen,
  };
}

/** What the steps of a sized engine cost by. */
export function stepShape({ llm, gpu, gpuCount, dataParallel }: EngineSizing, engine: EngineConfig): StepShape {
  return { llm, gpu, tp: gpuCount, dataParallel, weightDtype: engine.dtype, kvDtype: engine.kvDtype };
}

/**
 * What vLLM takes beside weights and KV is not all given back by a sleep; what is, is the workspace. An emulated engine takes none. The estimate never makes an engine unfit
 * for its GPU: a server that has started fits.
 */
function defaultWorkspaceBytes(engine: EngineConfig, llm: LlmSpec, leftBytes: number): number {
  if (engine.url === undefined) return 0;
  const { gpus, maxNumSeqs, dataParallel } = engine;
  const overheadBytes = overheadBytesPerGpu(llm, gpus.length, { maxNumSeqs, dataParallel });
  return Math.max(0, Math.min(overheadBytes - engine.residueBytes, leftBytes));
}

/** The longest sequence that the model allows and the pool holds, as `--max-model-len auto` finds it. */
function longestSequence(llm: LlmSpec, poolBytes: number, kvDtype: EngineConfig['kvDtype'], tp: number): number {
  const fits = (tokens: number) => kvBytesForSequence(llm, tokens, kvDtype, tp) <= poolBytes;
  if (fits(llm.maxContextTokens)) return llm.maxContextTokens;
  let low = 0;
  let high = llm.maxContextTokens;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}
