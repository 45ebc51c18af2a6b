import type { LlmSpec } from './llm.js';
import { KiB } from './units.js';

/** Everything but the name and the context of a plain decoder with grouped-query attention, in the order of config.json tables. */
function decoder(
  name: string,
  [layers, hiddenSize, attentionHeads, kvHeads, headDim, ffnSize, vocabSize]: readonly [
    layers: number,
    hiddenSize: number,
    attentionHeads: number,
    kvHeads: number,
    headDim: number,
    ffnSize: number,
    vocabSize: number,
  ],
  [parametersB, activeParametersB]: readonly [parametersB: number, activeParametersB?: number],
  maxContextTokens: number,
  extra: Partial<LlmSpec> = {},
): LlmSpec {
  return {
    name,
    layers,
    hiddenSize,
    attentionHeads,
    kvHeads,
    headDim,
    ffnSize,
    vocabSize,
    parametersB,
    activeParametersB: activeParametersB ?? parametersB,
    maxContextTokens,
    ...extra,
  };
}

const moe = (experts: number, expertsPerToken: number, sharedExperts = 0) => ({
  moe: { experts, expertsPerToken, sharedExperts },
});
/** The compressed vector of DeepSeek's latent attention, the same in all its descendants here. */
const MLA = { mla: { kvLoraRank: 512, ropeDim: 64 } };
const TIED = { tiedEmbeddings: true };
/**
 * Recurrent state of one Gated DeltaNet layer: 32 value heads of 128 x 128 in bf16 and the convolution's tail.
 * Qwen3-Next's shape; the Qwen3.5 sizes are taken to be of the same order.
 */
const DELTA_NET = { stateBytesPerLayer: 1056 * KiB };

/**
 * Models by name. Shapes are those of each model's config.json (as carried in AIConfigurator, BLIS and fairseq2, else as published);
 * parameters are computed from the shapes or, for mixtures of experts, as published. `maxContextTokens` is the config's
 * `max_position_embeddings`; the engine's own limit, where known, goes before it.
 */
const ENTRIES: readonly LlmSpec[] = [
  decoder('qwen3-0.6b', [28, 1024, 16, 8, 128, 3072, 151_936], [0.6], 40_960, TIED),
  decoder('qwen3-1.7b', [28, 2048, 16, 8, 128, 6144, 151_936], [1.72], 40_960, TIED),
  decoder('qwen3-4b', [36, 2560, 32, 8, 128, 9728, 151_936], [4.02], 40_960, TIED),
  decoder('qwen3-8b', [36, 4096, 32, 8, 128, 12_288, 151_936], [8.19], 40_960),
  decoder('qwen3-14b', [40, 5120, 40, 8, 128, 17_408, 151_936], [14.77], 40_960),
  decoder('qwen3-32b', [64, 5120, 64, 8, 128, 25_600, 151_936], [32.76], 40_960),
  decoder('qwen3-30b-a3b', [48, 2048, 32, 4, 128, 768, 151_936], [30.5, 3.3], 40_960, moe(128, 8)),
  decoder('qwen3-coder-30b-a3b', [48, 2048, 32, 4, 128, 768, 151_936], [30.5, 3.3], 262_144, moe(128, 8)),
  decoder('qwen3-235b-a22b', [94, 4096, 64, 4, 128, 1536, 151_936], [235, 22.1], 40_960, moe(128, 8)),
  decoder('qwen3-coder-480b-a35b', [62, 6144, 96, 8, 128, 2560, 151_936], [480, 35.4], 262_144, moe(160, 8)),
  decoder('qwen3-next-80b-a3b', [48, 2048, 16, 2, 256, 512, 151_936], [80, 3], 262_144, {
    ...moe(512, 10, 1),
    fullAttentionLayers: 12,
    ...DELTA_NET,
  }),
  decoder('qwen3.5-27b', [64, 5120, 24, 4, 256, 17_408, 248_320], [27], 262_144, {
    fullAttentionLayers: 16,
    ...DELTA_NET,
  }),
  decoder('qwen3.5-35b-a3b', [40, 2048, 16, 2, 256, 512, 248_320], [35, 3], 262_144, {
    ...moe(256, 8, 1),
    fullAttentionLayers: 10,
    ...DELTA_NET,
  }),
  decoder('qwen3.5-122b-a10b', [48, 3072, 32, 2, 256, 1024, 248_320], [122, 10], 262_144, {
    ...moe(256, 8, 1),
    fullAttentionLayers: 12,
    ...DELTA_NET,
  }),
  decoder('qwen3.5-397b-a17b', [60, 4096, 32, 2, 256, 1024, 248_320], [397, 17], 262_144, {
    ...moe(512, 10, 1),
    fullAttentionLayers: 15,
    ...DELTA_NET,
  }),
  decoder('qwen2.5-0.5b', [24, 896, 14, 2, 64, 4864, 151_936], [0.49], 32_768, TIED),
  decoder('qwen2.5-1.5b', [28, 1536, 12, 2, 128, 8960, 151_936], [1.54], 32_768, TIED),
  decoder('qwen2.5-3b', [36, 2048, 16, 2, 128, 11_008, 151_936], [3.09], 32_768, TIED),
  decoder('qwen2.5-7b', [28, 3584, 28, 4, 128, 18_944, 152_064], [7.62], 32_768),
  decoder('qwen2.5-14b', [48, 5120, 40, 8, 128, 13_824, 152_064], [14.77], 32_768),
  decoder('qwen2.5-32b', [64, 5120, 40, 8, 128, 27_648, 152_064], [32.76], 32_768),
  decoder('qwen2.5-72b', [80, 8192, 64, 8, 128, 29_568, 152_064], [72.7], 32_768),
  decoder('llama-3.2-1b', [16, 2048, 32, 8, 64, 8192, 128_256], [1.24], 131_072, TIED),
  decoder('llama-3.2-3b', [28, 3072, 24, 8, 128, 8192, 128_256], [3.21], 131_072, TIED),
  decoder('llama-2-7b', [32, 4096, 32, 32, 128, 11_008, 32_000], [6.74], 4096),
  decoder('llama-2-13b', [40, 5120, 40, 40, 128, 13_824, 32_000], [13.02], 4096),
  decoder('llama-2-70b', [80, 8192, 64, 8, 128, 28_672, 32_000], [68.98], 4096),
  decoder('llama-3-8b', [32, 4096, 32, 8, 128, 14_336, 128_256], [8.03], 8192),
  decoder('llama-3-70b', [80, 8192, 64, 8, 128, 28_672, 128_256], [70.6], 8192),
  decoder('llama-3.1-8b', [32, 4096, 32, 8, 128, 14_336, 128_256], [8.03], 131_072),
  decoder('llama-3.1-70b', [80, 8192, 64, 8, 128, 28_672, 128_256], [70.6], 131_072),
  decoder('llama-3.3-70b', [80, 8192, 64, 8, 128, 28_672, 128_256], [70.6], 131_072),
  decoder('llama-3.1-405b', [126, 16_384, 128, 8, 128, 53_248, 128_256], [405.9], 131_072),
  decoder('llama-4-scout', [48, 5120, 40, 8, 128, 8192, 202_048], [109, 17], 10_485_760, moe(16, 1, 1)),
  // One latent vector is cached whatever the number of heads, hence one KV head.
  decoder('deepseek-v3', [61, 7168, 128, 1, 128, 2048, 129_280], [671, 37], 163_840, { ...MLA, ...moe(256, 8, 1) }),
  decoder('kimi-k2', [61, 7168, 64, 1, 128, 2048, 163_840], [1030, 32], 262_144, { ...MLA, ...moe(384, 8, 1) }),
  decoder('kimi-k2.5', [61, 7168, 64, 1, 128, 2048, 163_840], [1030, 32], 262_144, { ...MLA, ...moe(384, 8, 1) }),
  decoder('deepseek-v2-lite', [27, 2048, 16, 1, 128, 1408, 102_400], [15.7, 2.4], 163_840, {
    ...MLA,
    ...moe(64, 6, 2),
  }),
  decoder('glm-4.5', [92, 5120, 96, 8, 128, 1536, 151_552], [355, 32], 131_072, moe(160, 8, 1)),
  decoder('glm-4.6', [92, 5120, 96, 8, 128, 1536, 151_552], [355, 32], 202_752, moe(160, 8, 1)),
  decoder('glm-4.5-air', [46, 4096, 96, 8, 128, 1408, 151_552], [106, 12], 131_072, moe(128, 8, 1)),
  decoder('glm-5', [78, 6144, 64, 1, 128, 2048, 154_880], [744, 40], 202_752, { ...MLA, ...moe(256, 8, 1) }),
  decoder('gpt-oss-20b', [24, 2880, 64, 8, 64, 2880, 201_088], [20.9, 3.6], 131_072, {
    ...moe(32, 4),
    fullAttentionLayers: 12,
    slidingWindowTokens: 128,
  }),
  decoder('gpt-oss-120b', [36, 2880, 64, 8, 64, 2880, 201_088], [116.8, 5.1], 131_072, {
    ...moe(128, 4),
    fullAttentionLayers: 18,
    slidingWindowTokens: 128,
  }),
  decoder('mixtral-8x7b', [32, 4096, 32, 8, 128, 14_336, 32_000], [46.7, 12.9], 32_768, moe(8, 2)),
  decoder('mixtral-8x22b', [56, 6144, 48, 8, 128, 16_384, 32_000], [140.6, 39.2], 65_536, moe(8, 2)),
  decoder('mistral-7b', [32, 4096, 32, 8, 128, 14_336, 32_768], [7.25], 32_768),
  decoder('mistral-nemo-12b', [40, 5120, 32, 8, 128, 14_336, 131_072], [12.25], 131_072),
  decoder('mistral-small-24b', [40, 5120, 32, 8, 128, 32_768, 131_072], [23.6], 32_768),
  decoder('mistral-small-3.1-24b', [40, 5120, 32, 8, 128, 32_768, 131_072], [23.6], 131_072),
  decoder('mistral-large', [88, 12_288, 96, 8, 128, 28_672, 32_768], [122.6], 131_072),
  decoder('phi-4', [40, 5120, 40, 10, 128, 17_920, 100_352], [14.66], 16_384),
  decoder('gemma-3-4b', [34, 2560, 8, 4, 256, 10_240, 262_208], [3.9], 131_072, {
    ...TIED,
    fullAttentionLayers: 5,
    slidingWindowTokens: 1024,
  }),
  decoder('gemma-3-12b', [48, 3840, 16, 8, 256, 15_360, 262_208], [11.8], 131_072, {
    ...TIED,
    fullAttentionLayers: 8,
    slidingWindowTokens: 1024,
  }),
  decoder('gemma-3-27b', [62, 5376, 32, 16, 128, 21_504, 262_208], [27.0], 131_072, {
    ...TIED,
    fullAttentionLayers: 10,
    slidingWindowTokens: 1024,
  }),
  decoder('minimax-m2.5', [62, 3072, 48, 8, 128, 1536, 200_064], [229, 10], 196_608, moe(256, 8)),
];

/** Other names of the same shape, without their endings. */
const ALIASES: Readonly<Record<string, string>> = {
  'deepseek-r1': 'deepseek-v3',
  'deepseek-v3.1': 'deepseek-v3',
  'deepseek-v3.1-terminus': 'deepseek-v3',
  'deepseek-r1-distill-llama-8b': 'llama-3.1-8b',
  'deepseek-r1-distill-llama-70b': 'llama-3.3-70b',
  'deepseek-r1-distill-qwen-1.5b': 'qwen2.5-1.5b',
  'deepseek-r1-distill-qwen-7b': 'qwen2.5-7b',
  'deepseek-r1-distill-qwen-14b': 'qwen2.5-14b',
  'deepseek-r1-distill-qwen-32b': 'qwen2.5-32b',
  'deepseek-coder-v2-lite': 'deepseek-v2-lite',
  'llama-4-scout-17b-16e': 'llama-4-scout',
  'mistral-nemo': 'mistral-nemo-12b',
  'mistral-small-3': 'mistral-small-24b',
  'mistral-small-3.2-24b': 'mistral-small-3.1-24b',
  'qwen2-0.5b': 'qwen2.5-0.5b',
  'qwen2-1.5b': 'qwen2.5-1.5b',
  'qwen2-7b': 'qwen2.5-7b',
  'qwen2-72b': 'qwen2.5-72b',
  'qwen2.5-coder-0.5b': 'qwen2.5-0.5b',
  'qwen2.5-coder-1.5b': 'qwen2.5-1.5b',
  'qwen2.5-coder-3b': 'qwen2.5-3b',
  'qwen2.5-coder-7b': 'qwen2.5-7b',
  'qwen2.5-coder-14b': 'qwen2.5-14b',
  'qwen2.5-coder-32b': 'qwen2.5-32b',
  'qwq-32b': 'qwen2.5-32b',
  'minimax-m2': 'minimax-m2.5',
  'minimax-m2.1': 'minimax-m2.5',
};

/** Endings that say how a checkpoint was tuned, dated or quantised, none of which changes its shape. */
const ENDING =
  /[-_.](instruct|chat|it|hf|base|pt|thinking|original|fp8|fp16|bf16|fp4|int4|int8|nvfp4|mxfp4|awq|gptq|w4a16|w8a8|w8a16|dynamic|block|static|kv|quantized|modelopt|\d{4}|v0\.[1-4]|v2)$/;

const BY_NAME = new Map(ENTRIES.map((llm) => [llm.name, llm]));

/** Every model name of the catalogue, for error messages and the config schema. */
export const LLM_NAMES: readonly string[] = ENTRIES.map((llm) => llm.name);

/** Every entry, in the order of {@link LLM_NAMES}. */
export const LLM_CATALOGUE: readonly LlmSpec[] = ENTRIES;

/**
 * The model that a name stands for: a catalogue name, a Hugging Face id or path, or a served name that resembles one
 * (tuning, date and quantisation endings are ignored). Undefined when nothing fits; nothing is guessed from parts of a name.
 */
export function findLlm(name: string): LlmSpec | undefined {
  let rest = name
    .trim()
    .toLowerCase()
    .replace(/\/+$/, '')
    .split('/')
    .at(-1)!
    .replace(/[\s_]+/g, '-');
  rest = rest.replace(/^meta-/, '').replace(/^llama(\d)/, 'llama-$1');
  for (;;) {
    const found = BY_NAME.get(rest) ?? BY_NAME.get(ALIASES[rest] ?? '');
    if (found) return found;
    const shorter = rest.replace(ENDING, '');
    if (shorter === rest) return undefined;
    rest = shorter;
  }
}
