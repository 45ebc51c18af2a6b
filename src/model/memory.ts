import type { GpuSpec } from './gpu.js';
import type { Dtype, LlmSpec } from './llm.js';
import { GiB } from './units.js';

export type KvDtype = 'bf16' | 'fp8';

/**
 * Bytes of one stored weight. `int4` holds its scales and zero points (groups of 32 to 128), `mxfp4` one 8-bit scale for 32 weights.
 */
export const WEIGHT_BYTES: Readonly<Record<Dtype, number>> = { bf16: 2, fp8: 1, int4: 0.55, mxfp4: 0.53125 };

/** Tokens of a KV block in vLLM on GPUs. */
export const DEFAULT_BLOCK_TOKENS = 16;

/** Parameters of one expert (or of the dense MLP): gate, up and down projections. */
export function mlpParameters(llm: LlmSpec): number {
  return 3 * llm.hiddenSize * llm.ffnSize;
}

/** Parameters of the routed experts of all layers; 0 for dense models. */
export function routedParameters(llm: LlmSpec): number {
  const total = llm.parametersB * 1e9;
  if (!llm.moe) return 0;
  // Some models keep their first layers dense, so the product can exceed what is left beside the rest.
  return Math.min(llm.layers * llm.moe.experts * mlpParameters(llm), total * 0.99);
}

/** Parameters of the embedding and the output head, which quantised checkpoints leave in 16 bits. */
function embeddingParameters(llm: LlmSpec): number {
  return llm.vocabSize * llm.hiddenSize * (llm.tiedEmbeddings ? 1 : 2);
}

/**
 * Weight bytes of one of the `tp` GPUs of an engine. Quantised formats leave embeddings in 16 bits, and 4-bit mixtures of experts leave
 * everything but the routed experts so (gpt-oss, Kimi-K2.5). Each of `dataParallel` ranks has all but the routed experts, which are spread over
 * all GPUs.
 */
export function weightBytesPerGpu(llm: LlmSpec, dtype: Dtype, tp: number, dataParallel = 1): number {
  const total = llm.parametersB * 1e9;
  const fourBit = dtype === 'int4' || dtype === 'mxfp4';
  const routed = routedParameters(llm);
  const quantised = fourBit && llm.moe ? routed : Math.max(0, total - embeddingParameters(llm));
  const routedBytes = routed * WEIGHT_BYTES[dtype];
  const bytes = quantised * WEIGHT_BYTES[dtype] + (total - quantised) * WEIGHT_BYTES.bf16;
  return Math.ceil((bytes + (dataParallel - 1) * (bytes - routedBytes)) / tp);
}

/** KV bytes that one token takes in one full-attention layer on one GPU. Heads fewer than `tp` are replicated. */
export function kvBytesPerTokenLayer(llm: LlmSpec, kvDtype: KvDtype, tp: number): number {
  if (llm.mla) {
    const { kvLoraRank, ropeDim } = llm.mla;
    // vLLM's fp8_ds_mla: the latent part in 8 bits with one 32-bit scale for 128 values, the rope part in 16 bits.
    return kvDtype === 'fp8' ? kvLoraRank + kvLoraRank / 32 + 2 * ropeDim : 2 * (kvLoraRank + ropeDim);
  }
  return Math.max(1, llm.kvHeads / tp) * 2 * llm.headDim * (kvDtype === 'fp8' ? 1 : 2);
}

/** Layers whose KV grows with the context. */
export function growingLayers(llm: LlmSpec): number {
  return llm.fullAttentionLayers ?? llm.layers;
}

/**
 * KV bytes that each further token of a long sequence takes on one GPU: the growing layers only. What a sequence holds beside
 * that (sliding windows, recurrent state) is in {@link kvBytesForSequence}.
 */
export function kvBytesPerToken(llm: LlmSpec, kvDtype: KvDtype, tp: number): number {
  return growingLayers(llm) * kvBytesPerTokenLayer(llm, kvDtype, tp);
}

/**
 * KV bytes that a sequence of `tokens` holds on one GPU, in whole blocks. A sliding-window layer holds the blocks that its window
 * touches, a recurrent layer its state.
 */
export function kvBytesForSequence(
  llm: LlmSpec,
  tokens: number,
  kvDtype: KvDtype,
  tp: number,
  blockTokens: number = DEFAULT_BLOCK_TOKENS,
): number {
  if (tokens <= 0) return 0;
  const blocks = Math.ceil(tokens / blockTokens);
  const blockBytes = blockTokens * kvBytesPerTokenLayer(llm, kvDtype, tp);
  const otherLayers = llm.layers - growingLayers(llm);
  let bytes = blocks * blockBytes * growingLayers(llm);
  if (llm.slidingWindowTokens !== undefined) {
    const windowBlocks = Math.ceil((llm.slidingWindowTokens - 1) / blockTokens) + 1;
    bytes += Math.min(blocks, windowBlocks) * blockBytes * otherLayers;
  } else {
    bytes += (otherLayers * (llm.stateBytesPerLayer ?? 0)) / tp;
  }
  return Math.ceil(bytes);
}

export interface PoolOptions {
  /** Token budget of a step, for which vLLM profiles its activations. Default 8192, its choice on large GPUs. */
  readonly maxNumBatchedTokens?: number;
  /** Sequences sampled at once. Default 256. */
  readonly maxNumSeqs?: number;
  /** Ranks that the GPUs are divided into. Default 1. */
  readonly dataParallel?: number;
}

/**
 * HBM that an engine of `tp` GPUs takes on each beside weights and KV: peak activations, sampling, CUDA graphs, context and communication buffers.
 * Checked against vLLM 0.19 on an RTX 4090 with Llama-3.1-8B (1.7 GB) and against the usual 2.5 GB of an 8B model on an H100.
 */
export function overheadBytesPerGpu(llm: LlmSpec, tp: number, options: PoolOptions = {}): number {
  const tokens = options.maxNumBatchedTokens ?? 8192;
  const seqs = options.maxNumSeqs ?? 256;
  // Ranks of a dense model have nothing to do with each other.
  const group = llm.moe ? tp : tp / (options.dataParallel ?? 1);
  // A token meets its routed experts and the shared ones; their inputs and outputs are spread out at once.
  const experts = llm.moe ? llm.moe.expertsPerToken + llm.moe.sharedExperts : 1;
  const mlp = experts * ((3 * llm.ffnSize) / group + (llm.moe ? llm.hiddenSize : 0));
  const activations = tokens * 2 * (mlp + 6 * llm.hiddenSize);
  const logits = seqs * llm.vocabSize * 12;
  const context = (group > 1 ? 0.6 : 0.15) * GiB;
  const graphs = 0.7 * GiB;
  return Math.ceil(activations + logits + context + graphs);
}

/** KV pool of one GPU as vLLM would size it: its share of the memory less weights and overheads; 0 when the model does not fit. */
export function kvPoolBytes(
  gpu: GpuSpec,
  llm: LlmSpec,
  dtype: Dtype,
  tp: number,
  gpuMemoryUtilization: number,
  options: PoolOptions = {},
): number {
  const usable = gpu.memoryBytes * gpuMemoryUtilization;
  const weightBytes = weightBytesPerGpu(llm, dtype, tp, options.dataParallel);
  return Math.max(0, Math.floor(usable - weightBytes - overheadBytesPerGpu(llm, tp, options)));
}

/**
 * Tokens that a pool of `poolBytes` a GPU holds, in whole blocks. Where layers hold more than a growing part, capacity depends
 * on the length of the sequences; as vLLM does, it is then stated for sequences of `maxModelLen`.
 */
export function kvPoolTokens(
  poolBytes: number,
  llm: LlmSpec,
  kvDtype: KvDtype,
  tp: number,
  maxModelLen: number,
  blockTokens: number = DEFAULT_BLOCK_TOKENS,
): number {
  const blockBytes = blockTokens * kvBytesPerToken(llm, kvDtype, tp);
  if (growingLayers(llm) === llm.layers) return Math.floor(poolBytes / blockBytes) * blockTokens;
  const sequenceTokens = Math.max(blockTokens, maxModelLen);
  const sequences = poolBytes / kvBytesForSequence(llm, sequenceTokens, kvDtype, tp, blockTokens);
  return Math.floor((sequences * sequenceTokens) / blockTokens) * blockTokens;
}
