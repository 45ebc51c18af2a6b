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
  /** GPUs of the engine. */
  readonly tp: number;
  /**
   * Data-parallel ranks that those GPUs are divided into (vLLM's `--data-parallel-size`). Each has attention, the head and KV memory of its own on
   * `tp / dataParallel` GPUs; the routed experts are spread over all, and take the tokens of all. Costs are of one rank. Default 1.
   */
  readonly dataParallel?: number;
  readonly weightDtype: Dtype;
  readonly kvDtype: KvDtype;
  /**
   * The engine's own work on the CPU for each step: scheduling, input tensors, sampling, output tokens. `overlapped` (default): done while
   * the GPU computes, vLLM's asynchronous scheduling, on by default from 0.14; `serial`: between steps, as before; `none`: kernels alone.
   */
  readonly hostWork?: HostWork;
  /** A further gap between steps, whatever the batch. Default 0. */
  readonly stepOverheadMs?: number;
  /** Measured values that go before those of {@link stepConstants}. */
  readonly constants?: Partial<StepConstants>;
}

export type HostWork = 'overlapped' | 'serial' | 'none';

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
/** Tokens choose alike: a batch touches as many experts as this share of it would with choices at random. From gpt-oss-120b and MiniMax-M2.5. */
const ROUTING_SPREAD = 0.7;
/** Rows that the product of one touched expert computes in vain: its tiles have 16 rows and are half full on average. */
const EXPERT_PAD_ROWS = 8;
/** Steps of fewer tokens, and fewer samples, are worked out once: vLLM's token budget, and its seats. 64 KiB for each shape. */
const KEPT_TOKENS = 8193;
const KEPT_SAMPLES = 257;
/** Steps of up to so many tokens run as a CUDA graph (vLLM's largest), for which data-parallel ranks are all padded to the tokens of the fullest. */
export const GRAPH_TOKENS = 512;
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
  private readonly expertsPerToken: number;
  /** Ranks whose tokens meet in the routed experts. */
  private readonly ranks: number;
  private readonly expertRowMs: number;
  private readonly fixedMs: number;
  private readonly tokenMs: number;
  /** Of it, what is for each token that any rank brings to the experts. */
  private readonly routedTokenMs: number;
  private readonly pairMs: number;
  private readonly windowedPairMs: number;
  private readonly stateMs: number;
  private readonly growingMs: number;
  private readonly windowedMs: number;
  private readonly windowTokens: number;
  private readonly overheadMs: number;
  private readonly prefillFixedMs: number;
  private readonly hostWork: HostWork;
  private readonly hostStepMs: number;
  private readonly hostSeqMs: number;
  /** Cost of a pure decode step without its context, by batch size; 0 where not yet worked out. */
  private decodeBase = new Float64Array(64);
  /** Matrix products of one layer by tokens of the step, and of the head by samples; 0 where not yet worked out. */
  private readonly layerProducts = new Float64Array(KEPT_TOKENS);
  private readonly headProducts = new Float64Array(KEPT_SAMPLES);

  constructor(shape: StepShape) {
    const { llm, gpu, tp: gpus } = shape;
    const ranks = shape.dataParallel ?? 1;
    const tp = gpus / ranks;
    const expertGpus = llm.moe ? gpus : tp;
    const constants = { ...stepConstants(gpu, shape.weightDtype, expertGpus), ...shape.constants };
    const readRate = (gpu.memoryBandwidth * constants.weightBandwidthShare) / 1000;
    const expertReadRate = (gpu.memoryBandwidth * constants.expertBandwidthShare) / 1000;
    const peak = peakFlops(gpu, shape.weightDtype);
    const gemmRate = (peak * constants.gemmShare) / 1000;
    const bf16Rate = (gpu.bf16Flops * constants.gemmShare) / 1000;
    const weights = layerParameters(llm);
    // 4-bit mixtures of experts keep everything but the routed experts in 16 bits.
    const fourBit = shape.weightDtype === 'int4' || shape.weightDtype === 'mxfp4';
    const denseBytes = fourBit && llm.moe ? WEIGHT_BYTES.bf16 : WEIGHT_BYTES[shape.weightDtype];
    const denseRate = fourBit && llm.moe ? bf16Rate : gemmRate;
    const headParameters = llm.vocabSize * llm.hiddenSize;

    this.hostWork = shape.hostWork ?? 'overlapped';
    this.hostStepMs = constants.hostStepMs;
    this.hostSeqMs = constants.hostSeqMs;
    this.prefillFixedMs = this.hostWork === 'none' ? 0 : llm.layers * constants.prefillLayerMs;
    this.overheadMs = shape.stepOverheadMs ?? 0;
    this.corner = constants.corner;
    this.inverseCorner = 1 / constants.corner;
    this.layers = llm.layers;
    this.denseReadMs = (weights.dense * denseBytes) / tp / readRate;
    this.denseTokenMs = (2 * weights.dense) / tp / denseRate;
    this.headReadMs = (headParameters * WEIGHT_BYTES.bf16) / tp / readRate;
    this.headSeqMs = (2 * headParameters) / tp / bf16Rate;
    this.expertCount = llm.moe?.experts ?? 0;
    this.expertMissShare = llm.moe ? (1 - llm.moe.expertsPerToken / llm.moe.experts) ** ROUTING_SPREAD : 0;
    this.ranks = ranks;
    this.expertReadMs = (weights.expert * WEIGHT_BYTES[shape.weightDtype]) / gpus / expertReadRate;
    this.expertsPerToken = llm.moe?.expertsPerToken ?? 0;
    this.expertRowMs = (2 * weights.expert) / gpus / ((peak * constants.expertGemmShare) / 1000);

    const activeFfn = llm.moe ? llm.ffnSize * (llm.moe.expertsPerToken + llm.moe.sharedExperts) : llm.ffnSize;
    const elementwiseRate = (gpu.memoryBandwidth * ELEMENTWISE_BANDWIDTH) / 1000;
    const reduceRate = constants.allReduceBandwidth / 1000;
    // One after attention, within the rank; one after the MLP. What ranks send each other of a mixture (gather, then scatter the sums) is as much as an all-reduce.
    const attentionReduces = tp > 1 ? 1 : 0;
    const mlpReduces = expertGpus > 1 ? 1 : 0;
    this.fixedMs =
      llm.layers *
      (LAYER_LAUNCH_MS +
        (llm.moe ? constants.moeLayerMs : 0) +
        constants.attentionLaunchMs +
        (attentionReduces + mlpReduces) * constants.allReduceMs);
    const mlpTokens = llm.moe ? ranks : 1;
    this.tokenMs =
      llm.layers *
      ((16 * llm.hiddenSize + (6 * activeFfn * mlpTokens) / expertGpus) / elementwiseRate +
        ((attentionReduces + mlpReduces * mlpTokens) * llm.hiddenSize * 2) / reduceRate);
    this.routedTokenMs = llm.moe
      ? llm.layers * ((6 * activeFfn) / expertGpus / elementwiseRate + (mlpReduces * llm.hiddenSize * 2) / reduceRate)
      : 0;

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
  stepMs({ decodeSeqs, contextTokens, prefillTokens, prefillPairs, prefillSeqs }: StepBatch): number {
    return this.mixedMs(decodeSeqs, contextTokens, prefillTokens, prefillPairs, prefillSeqs);
  }

  /**
   * The same of a batch in numbers: the engine asks at every prompt, and would make an object for each.
   *
   * @param routedTokens Tokens that all ranks together bring to the experts. Default: as if each brought as many as this one.
   */
  mixedMs(
    decodeSeqs: number,
    contextTokens: number,
    prefillTokens: number,
    prefillPairs: number,
    prefillSeqs: number,
    routedTokens = this.ranks * (decodeSeqs + prefillTokens),
  ): number {
    const tokens = decodeSeqs + prefillTokens;
    if (tokens === 0) return 0;
    return (
      this.tokensMs(tokens, decodeSeqs + prefillSeqs, routedTokens) +
      (prefillTokens > 0 ? this.prefillFixedMs : 0) +
      decodeSeqs * this.stateMs +
      this.contextMs(decodeSeqs, contextTokens) +
      this.pairMs * prefillPairs +
      // Windowed layers multiply each new token with its window only.
      this.windowedPairMs * Math.min(prefillPairs, 2 * prefillTokens * this.windowTokens)
    );
  }

  /** One decode step of `seqs` sequences with `meanContext` tokens each. */
  decodeMs(seqs: number, meanContext: number): number {
    return seqs === 0 ? 0 : this.decodeBaseMs(seqs) + this.contextMs(seqs, seqs * meanContext);
  }

  /** A prompt of `tokens` alone on the engine (other ranks make dummy passes), of which `cachedTokens` need no computing; chunks of `chunkTokens`. */
  prefillMs(tokens: number, cachedTokens = 0, chunkTokens = 8192): number {
    let total = 0;
    for (let done = cachedTokens; done < tokens; ) {
      const chunk = Math.min(chunkTokens, tokens - done);
      const routedTokens = chunk <= GRAPH_TOKENS ? this.ranks * chunk : chunk + this.ranks - 1;
      total += this.mixedMs(0, 0, chunk, chunk * (chunk + 2 * done), done + chunk === tokens ? 1 : 0, routedTokens);
      done += chunk;
    }
    return total;
  }

  /**
   * `steps` decode steps of `seqs` sequences that start with `contextTokens` together and grow by one each a step.
   *
   * @param baseMs A step of theirs without its context, as {@link decodeBaseMs} tells.
   */
  decodeRunMs(seqs: number, contextTokens: number, steps: number, baseMs = this.decodeBaseMs(seqs)): number {
    if (seqs === 0 || steps === 0) return 0;
    let total = steps * baseMs + this.growingMs * (steps * contextTokens + (seqs * steps * (steps - 1)) / 2);
    if (this.windowedMs > 0) {
      const full = seqs * this.windowTokens;
      const growth = Math.min(steps, Math.max(0, Math.ceil((full - contextTokens) / seqs)));
      const windowed = growth * contextTokens + (seqs * growth * (growth - 1)) / 2 + (steps - growth) * full;
      total += this.windowedMs * windowed;
    }
    return total;
  }

  /** A decode step of `seqs` sequences without its context. `routedTokens` as in {@link mixedMs}. */
  decodeBaseMs(seqs: number, routedTokens = this.ranks * seqs): number {
    if (routedTokens !== this.ranks * seqs) return this.tokensMs(seqs, seqs, routedTokens) + seqs * this.stateMs;
    if (seqs >= this.decodeBase.length) {
      const larger = new Float64Array(Math.max(seqs + 1, 2 * this.decodeBase.length));
      larger.set(this.decodeBase);
      this.decodeBase = larger;
    }
    const known = this.decodeBase[seqs]!;
    if (known > 0) return known;
    const base = this.tokensMs(seqs, seqs, routedTokens) + seqs * this.stateMs;
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
  private tokensMs(tokens: number, samples: number, routedTokens: number): number {
    const deviceMs =
      this.layers * this.layerProductsMs(tokens, routedTokens) +
      this.headProductsMs(samples) +
      this.fixedMs +
      this.tokenMs * tokens +
      this.routedTokenMs * (routedTokens - this.ranks * tokens);
    if (this.hostWork === 'none') return this.overheadMs + deviceMs;
    const hostMs = this.hostStepMs + this.hostSeqMs * samples;
    return this.overheadMs + (this.hostWork === 'serial' ? deviceMs + hostMs : hypotenuse(deviceMs, hostMs));
  }

  private layerProductsMs(tokens: number, routedTokens: number): number {
    const kept = routedTokens === this.ranks * tokens && isPlace(tokens, KEPT_TOKENS);
    if (kept) {
      const known = this.layerProducts[tokens]!;
      if (known > 0) return known;
    }
    let layerMs = this.norm(this.denseReadMs, this.denseTokenMs * tokens);
    if (this.expertCount > 0) {
      const touched = this.expertCount * (1 - this.expertMissShare ** routedTokens);
      layerMs += this.norm(
        this.expertReadMs * touched,
        this.expertRowMs * (this.expertsPerToken * routedTokens + EXPERT_PAD_ROWS * touched),
      );
    }
    if (kept) this.layerProducts[tokens] = layerMs;
    return layerMs;
  }

  private headProductsMs(samples: number): number {
    const kept = isPlace(samples, KEPT_SAMPLES);
    if (kept) {
      const known = this.headProducts[samples]!;
      if (known > 0) return known;
    }
    const headMs = this.norm(this.headReadMs, this.headSeqMs * samples);
    if (kept) this.headProducts[samples] = headMs;
    return headMs;
  }

  /** The smooth roofline: the p-norm of the time to move and the time to compute. */
  private norm(a: number, b: number): number {
    const larger = Math.max(a, b);
    if (larger === 0) return 0;
    const ratio = Math.min(a, b) / larger;
    return larger * (1 + ratio ** this.corner) ** this.inverseCorner;
  }
}

/**
 * Mixes of calls have fractions of tokens. An array that is asked for such a place once is slow at every place from then on: V8 gives up what it knew of that line.
 */
function isPlace(place: number, length: number): boolean {
  return place < length && Number.isInteger(place);
}

/** To the last bit what `Math.hypot` gives of two numbers that are not negative, which makes a list of them first. */
function hypotenuse(a: number, b: number): number {
  const larger = Math.max(a, b);
  const first = a / larger;
  const second = b / larger;
  return Math.sqrt(first * first + second * second) * larger;
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

const shared = new WeakMap<LlmSpec, WeakMap<GpuSpec, Map<string, StepCost>>>();

/** The costs of a shape; engines of one kind share them, and with them what has been worked out. */
export function stepCostOf(shape: StepShape): StepCost {
  const { llm, gpu, tp, dataParallel = 1, weightDtype, kvDtype, hostWork, stepOverheadMs, constants } = shape;
  if (constants) return new StepCost(shape);
  let byGpu = shared.get(llm);
  if (!byGpu) {
    byGpu = new WeakMap();
    shared.set(llm, byGpu);
  }
  let byRest = byGpu.get(gpu);
  if (!byRest) {
    byRest = new Map();
    byGpu.set(gpu, byRest);
  }
  const rest = [tp, dataParallel, weightDtype, kvDtype, hostWork, stepOverheadMs].join(' ');
  let cost = byRest.get(rest);
  if (!cost) {
    cost = new StepCost(shape);
    byRest.set(rest, cost);
  }
  return cost;
}
