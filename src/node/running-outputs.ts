/**
 * What the running calls of an engine have written so far, in tokens. While many run, those that are left of the ones that began together are the long ones: what they have written is more than was expected of
 * all, though each call that has ended was expected rightly. The gauge does not tell it from prompts, which come and go and may not be in memory yet, so the count of written tokens carries it on from reading
 * to reading.
 */
export class RunningOutputs {
  tokens = 0;

  /**
   * @param writtenTokens Written since the reading before; 0 where that is not known.
   * @param leastTokens In use beyond all that is certain (prompts): so much has been written at least.
   * @param pendingTokens Of prompts that may not be in memory yet: no more than these have been written beyond the least.
   */
  read(writtenTokens: number, leastTokens: number, pendingTokens: number): void {
    const tokens = Math.min(this.tokens + writtenTokens, leastTokens + pendingTokens);
    this.tokens = Math.max(0, leastTokens, tokens);
  }

  /** A call has ended with such an answer. Below 0 until the reading that counts what it has written last. */
  ended(outputTokens: number): void {
    this.tokens -= outputTokens;
  }

  /** Nothing runs. */
  empty(): void {
    this.tokens = 0;
  }
}
