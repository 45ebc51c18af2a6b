import type { EngineStats } from './batch-types.js';

/** What an engine's scheduler counts; counters only grow. */
export class CoreCounters {
  preemptions = 0;
  promptTokens = 0;
  cachedPromptTokens = 0;
  generatedTokens = 0;
  finished = 0;
  aborted = 0;
  prefixQueriesTokens = 0;
  prefixHitsTokens = 0;
  steps = 0;

  /** With `done` steps of `decodeSeqs` sequences that are not counted yet. */
  stats(
    gauges: Pick<EngineStats, 'running' | 'waiting' | 'usedBlocks' | 'totalBlocks'>,
    done: number,
    decodeSeqs: number,
  ): EngineStats {
    const { running, waiting, usedBlocks, totalBlocks } = gauges;
    return {
      running,
      waiting,
      usedBlocks,
      totalBlocks,
      kvUsage: totalBlocks === 0 ? 0 : usedBlocks / totalBlocks,
      preemptions: this.preemptions,
      promptTokens: this.promptTokens,
      cachedPromptTokens: this.cachedPromptTokens,
      generatedTokens: this.generatedTokens + done * decodeSeqs,
      finished: this.finished,
      aborted: this.aborted,
      prefixQueriesTokens: this.prefixQueriesTokens,
      prefixHitsTokens: this.prefixHitsTokens,
      steps: this.steps + done,
    };
  }
}
