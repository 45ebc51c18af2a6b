import type { KvMemory } from '../model/kv-memory.js';
import type { OutputForecast, Prediction, Stage } from '../model/stage.js';

/** What a stage takes of KV memory, given what is said of its answer. */
export class KvNeed {
  /**
   * @param blockTokens Tokens of a KV block; vLLM allocates whole blocks.
   * @param kvMemory What sequences of a model take of memory; without it a token is a token.
   */
  constructor(
    private readonly blockTokens: number,
    private readonly kvMemory: ((model: string) => KvMemory | undefined) | undefined,
  ) {}

  /**
   * @param q50 The median of one answer, and `boundTokens` what it will not outgrow, tokens.
   * @param forecast For the node's own bound of many calls together; undefined where it holds the stage's.
   */
  of(
    stage: Stage,
    q50: number,
    boundTokens: number,
    cachedTokens: number,
    forecast: OutputForecast | undefined,
  ): Pick<Prediction, 'kvTokens' | 'kvBytes'> {
    const { model, promptTokens, choices = 1 } = stage;
    const memory = this.kvMemory?.(model);
    if (!memory) return { kvTokens: this.evenTokens(stage, q50, boundTokens, forecast), kvBytes: undefined };
    // All answers share the prompt; each has the rest of its own.
    const ofAll = (tokens: (sequence: number) => number, outputTokens: number) => {
      const one = tokens(promptTokens + outputTokens);
      return choices === 1 ? one : one + (choices - 1) * (one - tokens(promptTokens));
    };
    const kvBytes = {
      q50: ofAll((tokens) => memory.bytes(tokens), q50),
      bound: ofAll((tokens) => memory.bytes(tokens), boundTokens),
      shared: memory.sharedBytes(cachedTokens),
    };
    if (memory.isEven) return { kvTokens: this.evenTokens(stage, q50, boundTokens, forecast), kvBytes };
    const poolTokens = (tokens: number) => memory.poolTokens(tokens);
    const bound = ofAll(poolTokens, boundTokens);
    const prompt = poolTokens(promptTokens);
    const share = { promptTokens: prompt, perOutputToken: (bound - prompt) / (choices * boundTokens) };
    return { kvTokens: { q50: ofAll(poolTokens, q50), bound, forecast, share }, kvBytes };
  }

  /** Of a model whose tokens all take the same, or that is not known. */
  private evenTokens(
    stage: Stage,
    q50: number,
    boundTokens: number,
    forecast: OutputForecast | undefined,
  ): Prediction['kvTokens'] {
    return { q50: this.wholeBlocks(stage, q50), bound: this.wholeBlocks(stage, boundTokens), forecast };
  }

  /** Whole blocks of the prompt, which all answers share, and of the answers; of each further answer one more block is begun. */
  private wholeBlocks({ promptTokens, choices = 1 }: Stage, outputTokens: number): number {
    const blocks = Math.ceil((promptTokens + choices * outputTokens) / this.blockTokens) + choices - 1;
    return blocks * this.blockTokens;
  }
}
