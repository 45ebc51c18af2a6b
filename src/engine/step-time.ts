import type { GpuSpec } from '../model/gpu.js';
import type { Dtype, LlmSpec } from '../model/llm.js';
import {
  growingLayers,
  type KvDtype,
  kvBytesPerTokenLayer,
  mlpParameters,
  routedParameters,
  WEIGHT_BYTES,
} from '../model/memory.js';
import { peakFlops, type StepConstants, stepConstants } from './step-constants.js';

/** What runs where: everything that the cost of a step depends on beside the batch. */
export interface StepShape {
  readonly llm: LlmSpec;
  readonly gpu: GpuSpec;
  readonly tp: number;
  readonly weightDtype: Dtype;
  readonly kvDtype: KvDtype;
  /** Gap that the engine's CPU work leaves between steps. Default 0: hidden by CUDA graphs and asynchronous scheduling. */
  readonly stepOverheadMs?: number;
}

/** What one step computes. */
export interface StepBatch {
  /** Sequences that decode one token each, and the tokens of context that they read together. */
  readonly decodeSeqs: number;
  readonly contextTokens: number;
  /** Tokens of all prefill chunks; the pairs that their attention multiplies: the sum of p (p + 2 k), p new and k prior tokens. */
  readonly prefillTokens: number;
  readonly prefillPairs: number;
  /** Prefills that end with this step and so sample a token. */
  readonly prefillSeqs: number;
}

/** Launches and small kernels between the matrix products of one layer. */
const LAYER_LAUNCH_MS = 0.009;
/** Routing, sorting and combining of tokens in one mixture-of-experts layer; from gpt-oss-120b on H100 under vLLM at low load. */
const MOE_LAYER_MS = 0.04;
/** Share of the bandwidth that element-wise kernels attain (AIConfigurator's convention). */
const ELEMENTWISE_BANDWIDTH = 0.8;

/**
 * The cost of the steps of one engine, in milliseconds: a roofline with a smooth corner over matrix products, plus attention,
 * element-wise kernels and all-reduces. A step is **one** matrix product over all its tokens, prefill and decode alike, plus both
 * attentions. Everything that does not depend on the batch is worked out once, so that a call costs some hundred nanoseconds.
 *
 * While the batch only decodes, the time of a step is affine in the context (piecewise so with sliding windows), and the time of a
 * run of steps has a closed form: {@link decodeRunMs}.
 */
export class StepCost {
  private readonly corner: number;
  private readonly inverseCorner: number;
  private readonly layers: number;
  private readonly denseReadMs: number;
  private readonly denseTokenMs: number;
  private readonly headReadMs: number;
  private readonly headSeqMs: number;
  private readonly expertCount: number;
  private readonly expertMissShare: number;
  private readonly expertReadMs: number;
  private readonly expertTokenMs: number;
  private readonly fixedMs: number;
  private readonly tokenMs: number;
  private readonly pairMs: number;
  private readonly windowedPairMs: number;
  private readonly stateMs: number;
  private readonly growingMs: number;
  private readonly windowedMs: number;
  private readonly windowTokens: number;
  /** Cost of a pure decode step without its context, by batch size; 0 where not yet worked out. */
  private decodeBase = new Float64Array(64);

  constructor(shape: StepShape) {
    const { llm, gpu, tp } = shape;
    const constants: StepConstants = stepConstants(gpu, shape.weightDtype, tp);
    const readRate = (gpu.memoryBandwidth * constants.weightBandwidthShare) / 1000;
    const gemmRate = (peakFlops(gpu, shape.weightDtype) * constants.gemmShare) / 1000;
    const bf16Rate = (gpu.bf16Flops * constants.gemmShare) / 1000;
    const weights = layerParameters(llm);
    // 4-bit mixtures of experts keep everything but the routed experts in 16 bits.
    const fourBit = shape.weightDtype === 'int4' || shape.weightDtype === 'mxfp4';
    const denseBytes = fourBit && llm.moe ? WEIGHT_BYTES.bf16 : WEIGHT_BYTES[shape.weightDtype];
    const denseRate = fourBit && llm.moe ? bf16Rate : gemmRate;
    const headParameters = llm.vocabSize * llm.hiddenSize;

    this.corner = constants.corner;
    this.inverseCorner = 1 / constants.corner;
    this.layers = llm.layers;
    this.denseReadMs = (weights.dense * denseBytes) / tp / readRate;
    this.denseTokenMs = (2 * weights.dense) / tp / denseRate;
    this.headReadMs = (headParameters * WEIGHT_BYTES.bf16) / tp / readRate;
    this.headSeqMs = (2 * headParameters) / tp / bf16Rate;
    this.expertCount = llm.moe?.experts ?? 0;
    this.expertMissShare = llm.moe ? 1 - llm.moe.expertsPerToken / llm.moe.experts : 0;
    this.expertReadMs = (weights.expert * WEIGHT_BYTES[shape.weightDtype]) / tp / readRate;
    this.expertTokenMs = (2 * weights.expert * (llm.moe?.expertsPerToken ?? 0)) / tp / gemmRate;

    const activeFfn = llm.moe ? llm.ffnSize * (llm.moe.expertsPerToken + llm.moe.sharedExperts) : llm.ffnSize;
    const elementwiseRate = (gpu.memoryBandwidth * ELEMENTWISE_BANDWIDTH) / 1000;
    const reduceRate = constants.allReduceBandwidth / 1000;
    const reduces = tp > 1 ? 2 : 0;
    this.fixedMs =
      (shape.stepOverheadMs ?? 0) +
      llm.layers *
        (LAYER_LAUNCH_MS +
          (llm.moe ? MOE_LAYER_MS : 0) +
          constants.attentionLaunchMs +
          reduces * constants.allReduceMs);
    this.tokenMs =
      llm.layers *
      ((16 * llm.hiddenSize + (6 * activeFfn) / tp) / elementwiseRate + (reduces * llm.hiddenSize * 2) / reduceRate);

    const kvRate = (gpu.memoryBandwidth * constants.kvBandwidthShare) / 1000;
    const growing = growingLayers(llm);
    const kvMs = kvBytesPerTokenLayer(llm, shape.kvDtype, tp) / kvRate;
    this.growingMs = growing * kvMs;
    this.windowedMs = llm.slidingWindowTokens === undefined ? 0 : (llm.layers - growing) * kvMs;
    this.windowTokens = llm.slidingWindowTokens ?? 0;
    // A recurrent state is read and written once a step.
    this.stateMs =
      llm.slidingWindowTokens === undefined
        ? (2 * (llm.layers - growing) * (llm.stateBytesPerLayer ?? 0)) / tp / kvRate
        : 0;
    const headWidth = llm.mla ? llm.headDim + llm.mla.ropeDim / 2 : llm.headDim;
    const attentionRate = (gpu.bf16Flops * constants.attentionShare) / 1000;
    const pairMs = (2 * Math.max(1, llm.attentionHeads / tp) * headWidth) / attentionRate;
    this.pairMs = growing * pairMs;
    this.windowedPairMs = llm.slidingWindowTokens === undefined ? 0 : (llm.layers - growing) * pairMs;
  }

  /** One step of a mixed batch. */
  stepMs(batch: StepBatch): number {
    const { decodeSeqs, contextTokens, prefillTokens } = batch;
    const tokens = decodeSeqs + prefillTokens;
    if (tokens === 0) return 0;
    return (
      this.tokensMs(tokens, decodeSeqs + batch.prefillSeqs) +
      decodeSeqs * this.stateMs +
      this.contextMs(decodeSeqs, contextTokens) +
      this.pairMs * batch.prefillPairs +
      // Windowed layers multiply each new token with its window only.
      this.windowedPairMs * Math.min(batch.prefillPairs, 2 * prefillTokens * this.windowTokens)
    );
  }

  /** One decode step of `seqs` sequences with `meanContext` tokens each. */
  decodeMs(seqs: number, meanContext: number): number {
    return seqs === 0 ? 0 : this.decodeBaseMs(seqs) + this.contextMs(seqs, seqs * meanContext);
  }

  /** A prompt of `tokens` alone on the engine, of which `cachedTokens` need no computing; chunks of `chunkTokens`. */
  prefillMs(tokens: number, cachedTokens = 0, chunkTokens = 8192): number {
    let total = 0;
    for (let done = cachedTokens; done < tokens; ) {
      const chunk = Math.min(chunkTokens, tokens - done);
      total += this.stepMs({
        decodeSeqs: 0,
        contextTokens: 0,
        prefillTokens: chunk,
        prefillPairs: chunk * (chunk + 2 * done),
        prefillSeqs: done + chunk === tokens ? 1 : 0,
      });
      done += chunk;
    }
    return total;
  }

  /** `steps` decode steps of `seqs` sequences that start with `contextTokens` together and grow by one each a step. */
  decodeRunMs(seqs: number, contextTokens: number, steps: number): number {
    if (seqs === 0 || steps === 0) return 0;
    let total =
      steps * this.decodeBaseMs(seqs) + this.growingMs * (steps * contextTokens + (seqs * steps * (steps - 1)) / 2);
    if (this.windowedMs > 0) {
      const full = seqs * this.windowTokens;
      const growth = Math.min(steps, Math.max(0, Math.ceil((full - contextTokens) / seqs)));
      const windowed = growth * contextTokens + (seqs * growth * (growth - 1)) / 2 + (steps - growth) * full;
      total += this.windowedMs * windowed;
    }
    return total;
  }

  private decodeBaseMs(seqs: number): number {
    if (seqs >= this.decodeBase.length) {
      const larger = new Float64Array(Math.max(seqs + 1, 2 * this.decodeBase.length));
      larger.set(this.decodeBase);
      this.decodeBase = larger;
    }
    const known = this.decodeBase[seqs]!;
    if (known > 0) return known;
    const base = this.tokensMs(seqs, seqs) + seqs * this.stateMs;
    this.decodeBase[seqs] = base;
    return base;
  }

  private contextMs(seqs: number, contextTokens: number): number {
    const growing = this.growingMs * contextTokens;
    return this.windowedMs === 0
      ? growing
      : growing + this.windowedMs * Math.min(contextTokens, seqs * this.windowTokens);
  }

  /** Matrix products, element-wise kernels, all-reduces and launches of a step of `tokens`, of which `samples` reach the head. */
  private tokensMs(tokens: number, samples: number): number {
    let layerMs = this.norm(this.denseReadMs, this.denseTokenMs * tokens);
    if (this.expertCount > 0) {
      const touched = this.expertCount * (1 - this.expertMissShare ** tokens);
      layerMs += this.norm(this.expertReadMs * touched, this.expertTokenMs * tokens);
    }
    return (
      this.layers * layerMs +
      this.norm(this.headReadMs, this.headSeqMs * samples) +
      this.fixedMs +
      this.tokenMs * tokens
    );
  }

  /** The smooth roofline: the p-norm of the time to move and the time to compute. */
  private norm(a: number, b: number): number {
    const larger = Math.max(a, b);
    if (larger === 0) return 0;
    const ratio = Math.min(a, b) / larger;
    return larger * (1 + ratio ** this.corner) ** this.inverseCorner;
  }
}

/** Parameters of one layer that every token passes, and of one routed expert. */
function layerParameters(llm: LlmSpec): { dense: number; expert: number } {
  const expert = llm.moe ? routedParameters(llm) / llm.layers / llm.moe.experts : 0;
  if (llm.mla || (llm.fullAttentionLayers !== undefined && llm.slidingWindowTokens === undefined)) {
    // Latent and recurrent attention have projections that the shape does not tell; what is left of the active parameters is theirs.
    const perToken = llm.activeParametersB * 1e9 - llm.vocabSize * llm.hiddenSize * (llm.moe ? 1 : 2);
    const routed = llm.layers * expert * (llm.moe?.expertsPerToken ?? 0);
    return { dense: Math.max(0, perToken - routed) / llm.layers, expert };
  }
  const attention = 2 * llm.hiddenSize * llm.headDim * (llm.attentionHeads + llm.kvHeads);
  const mlp = mlpParameters(llm) * (llm.moe ? llm.moe.sharedExperts : 1);
  return { dense: attention + mlp, expert };
}

const compiled = new WeakMap<StepShape, StepCost>();

/** One step of `shape`, in milliseconds. Callers that ask often keep a {@link StepCost}; the last one of a shape object is reused. */
export function stepTimeMs(shape: StepShape, batch: StepBatch): number {
  let cost = compiled.get(shape);
  if (!cost) {
    cost = new StepCost(shape);
    compiled.set(shape, cost);
  }
  return cost.stepMs(batch);
}
