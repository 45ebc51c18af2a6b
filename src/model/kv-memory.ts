import type { EngineSpec } from './fleet.js';
import { DEFAULT_BLOCK_TOKENS, growingLayers, kvBytesForSequence, kvBytesPerToken } from './memory.js';

/** What sequences of one model take of the KV memory of its engines, in whole blocks. */
export interface KvMemory {
  /** Bytes over all GPUs of the engine that a sequence of so many tokens holds. */
  bytes(tokens: number): number;
  /** Of those, the bytes that it shares with others which begin with the same so many tokens: full blocks of the layers that keep them. */
  sharedBytes(prefixTokens: number): number;
  /**
   * Does every token take the same? Else (sliding windows, recurrent state) a short sequence takes more a token than the long one for which engines state
   * the tokens of their pool, and a ledger of tokens must count it by {@link poolTokens}.
   */
  readonly isEven: boolean;
  /** Tokens of the pool, as its engine states it, that a sequence of so many tokens takes. */
  poolTokens(tokens: number): number;
}

/** The memory of an engine's sequences; undefined where its model is not known. */
export function kvMemoryOf(
  spec: Pick<EngineSpec, 'llm' | 'kvDtype' | 'gpuIndices' | 'dataParallel' | 'maxModelLen'>,
): KvMemory | undefined {
  const { llm, kvDtype = 'bf16', gpuIndices, dataParallel = 1, maxModelLen } = spec;
  if (!llm) return undefined;
  // A sequence lies on the GPUs of its rank.
  const tp = Math.max(1, gpuIndices.length / dataParallel);
  const bytes = (tokens: number) => tp * kvBytesForSequence(llm, tokens, kvDtype, tp);
  const isEven = growingLayers(llm) === llm.layers;
  // The unit of `kvPoolTokens`: what a token of the longest sequence takes.
  const longest = Math.max(DEFAULT_BLOCK_TOKENS, Math.min(maxModelLen, llm.maxContextTokens));
  const bytesPerPoolToken = bytes(longest) / longest;
  const growingBytes = tp * kvBytesPerToken(llm, kvDtype, tp);
  const wholeBlocks = (tokens: number, round: (blocks: number) => number) =>
    round(tokens / DEFAULT_BLOCK_TOKENS) * DEFAULT_BLOCK_TOKENS;
  return {
    isEven,
    bytes,
    sharedBytes: (prefixTokens) => wholeBlocks(prefixTokens, Math.floor) * growingBytes,
    poolTokens: (tokens) =>
      isEven ? wholeBlocks(tokens, Math.ceil) : wholeBlocks(bytes(tokens) / bytesPerPoolToken, Math.ceil),
  };
}

/** By model; where engines of one model differ, the first that is known speaks for all. */
export function kvMemories(engines: Iterable<EngineSpec>): (model: string) => KvMemory | undefined {
  const known = new Map<string, KvMemory>();
  for (const spec of engines) {
    const memory = known.has(spec.model) ? undefined : kvMemoryOf(spec);
    if (memory) known.set(spec.model, memory);
  }
  return (model) => known.get(model);
}
