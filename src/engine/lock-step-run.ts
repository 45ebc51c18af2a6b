import type { DecodeSet } from './decode-set.js';
import { StepRun } from './step-run.js';

/** What a rank brings to a run of decode steps. */
interface Member {
  readonly seqs: number;
  readonly contextTokens: number;
  /** Its step without its context. */
  readonly baseMs: number;
}

/**
 * A run of steps that several ranks make together. Its length is that of the rank which takes longest over the whole of it. (Where another one is slower at
 * first and faster later, so that their order changes within a run, the sum of the slowest steps would be a little more.)
 */
export class LockStepRun extends StepRun {
  private members: readonly Member[] = [];

  /** `steps` decode steps of ranks that bring `routedTokens` to the experts together. */
  leapTogether(
    startMs: number,
    ranks: readonly { readonly decode: DecodeSet }[],
    routedTokens: number,
    steps: number,
  ): void {
    this.members = ranks.map(({ decode: { size: seqs, contextTokens } }) => {
      return { seqs, contextTokens, baseMs: this.cost.decodeBaseMs(seqs, routedTokens) };
    });
    this.begin(startMs, steps);
  }

  override endOf(step: number): number {
    let longestMs = 0;
    for (const { seqs, contextTokens, baseMs } of this.members) {
      longestMs = Math.max(longestMs, this.cost.decodeRunMs(seqs, contextTokens, step, baseMs));
    }
    return this.startMs + longestMs;
  }
}
