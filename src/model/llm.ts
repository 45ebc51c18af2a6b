/** How numbers are stored: weights in 16, 8 or 4 bits (4-bit formats carry scales, see {@link WEIGHT_BYTES}). */
export type Dtype = 'bf16' | 'fp8' | 'int4' | 'mxfp4';

/** The shape of a language model, as far as memory and time depend on it. Source of the entries: each model's config.json. */
export interface LlmSpec {
  /** Catalogue name, for example `llama-3.1-8b`. */
  readonly name: string;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly attentionHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of the dense MLP, or of one expert when `moe` is set. */
  readonly ffnSize: number;
  readonly vocabSize: number;
  /** Parameters in units of 1e9. */
  readonly parametersB: number;
  /** Parameters that one token passes through, in units of 1e9 (equal to `parametersB` for dense models). */
  readonly activeParametersB: number;
  readonly maxContextTokens: number;
  /** Multi-head latent attention caches one compressed vector a token and layer, the same on every GPU of a TP group. */
  readonly mla?: { readonly kvLoraRank: number; readonly ropeDim: number };
  readonly moe?: { readonly experts: number; readonly expertsPerToken: number; readonly sharedExperts: number };
  /** Layers with full attention, whose KV grows with the context. Absent: all layers. */
  readonly fullAttentionLayers?: number;
  /** Window of the remaining layers in tokens; absent for hybrids whose other layers keep a fixed state. */
  readonly slidingWindowTokens?: number;
  /** State of one sequence in one of the remaining layers of a hybrid, over all GPUs; it does not grow with the context. */
  readonly stateBytesPerLayer?: number;
  /** The output head shares its matrix with the input embedding. Absent: it does not. */
  readonly tiedEmbeddings?: boolean;
}
