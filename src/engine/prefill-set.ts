import type { Sequence } from './sequence.js';

/** The running sequences whose prompts are not computed to the end, in order of admission, and what they add to the step under way. */
export class PrefillSet {
  readonly list: Sequence[] = [];
  /** Of the step, as of the last {@link measure}: prompt tokens, pairs of their attention, and prompts that end with it. */
  tokens = 0;
  pairs = 0;
  seqs = 0;
  private readonly computed: Sequence[] = [];

  get size(): number {
    return this.list.length;
  }

  add(sequence: Sequence): void {
    this.list.push(sequence);
  }

  remove(sequence: Sequence): void {
    this.list.splice(this.list.indexOf(sequence), 1);
  }

  measure(): void {
    this.tokens = 0;
    this.pairs = 0;
    this.seqs = 0;
    for (const { chunkTokens, computed, targetTokens } of this.list) {
      this.tokens += chunkTokens;
      this.pairs += chunkTokens * (chunkTokens + 2 * computed);
      if (computed + chunkTokens === targetTokens) this.seqs += 1;
    }
  }

  /** The step is over: takes out those whose prompts are computed now. The answer is good until the next call. */
  takeComputed(): readonly Sequence[] {
    const { list, computed } = this;
    computed.length = 0;
    let kept = 0;
    for (const sequence of list) {
      sequence.computed += sequence.chunkTokens;
      sequence.chunkTokens = 0;
      if (sequence.computed < sequence.targetTokens) list[kept++] = sequence;
      else computed.push(sequence);
    }
    list.length = kept;
    return computed;
  }
}
