/** English prose and code are near four bytes a token in the vocabularies of current models. */
const PRIOR_BYTES_PER_TOKEN = 4;
/** The prior weighs as much as a prompt of so many tokens. */
const PRIOR_TOKENS = 1000;
/** Beyond so many tokens the past is halved, so that the ratio follows a change of traffic. */
const MEMORY_TOKENS = 200_000;
/** What an image or sound is counted as. Source: order of magnitude of current vision encoders. */
export const TOKENS_PER_MEDIA = 1000;

interface Counts {
  bytes: number;
  tokens: number;
}

/** Prompt tokens from prompt bytes, by a ratio per model that is learned from the usage that engines report. */
export class TokenEstimator {
  private readonly counts = new Map<string, Counts>();

  /** `model` is a served name, so the number of entries is bounded by the fleet. At least 1. */
  estimate(model: string, promptBytes: number): number {
    return Math.max(1, Math.ceil(promptBytes / this.bytesPerToken(model)));
  }

  bytesPerToken(model: string): number {
    const known = this.counts.get(model);
    return known ? known.bytes / known.tokens : PRIOR_BYTES_PER_TOKEN;
  }

  observe(model: string, promptBytes: number, promptTokens: number): void {
    if (promptBytes <= 0 || promptTokens <= 0) return;
    let known = this.counts.get(model);
    if (!known) {
      known = { bytes: PRIOR_TOKENS * PRIOR_BYTES_PER_TOKEN, tokens: PRIOR_TOKENS };
      this.counts.set(model, known);
    }
    known.bytes += promptBytes;
    known.tokens += promptTokens;
    if (known.tokens > MEMORY_TOKENS) {
      known.bytes /= 2;
      known.tokens /= 2;
    }
  }
}
