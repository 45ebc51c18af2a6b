import type { EngineMetrics } from './metrics.js';

/**
 * Whose counters are these? A new process begins its counters again, and says when it started. One that started earlier than another seen at this address has not replaced that: several
 * servers answer here in turn, behind a load balancer perhaps, and nothing that one of them says tells of a restart.
 */
export class ProcessWatch {
  private last: EngineMetrics | undefined;
  private newestStartSeconds = 0;
  private several = false;

  /** Takes a reading: is it of the process of the one before, of one that has replaced it, or, told once, of one of several servers? */
  observe(now: EngineMetrics): 'same' | 'replaced' | 'several' {
    const { last } = this;
    const { processStartSeconds: start = this.newestStartSeconds } = now;
    // A page may lack what tells a new process from an old one: the next page is then compared with the one before.
    const { processStartSeconds = last?.processStartSeconds } = now;
    const { generationTokensTotal = last?.generationTokensTotal } = now;
    this.last = { ...now, processStartSeconds, generationTokensTotal };
    if (this.several) return 'same';
    if (start < this.newestStartSeconds) {
      this.several = true;
      return 'several';
    }
    this.newestStartSeconds = start;
    return last && isNew(last, now) ? 'replaced' : 'same';
  }

  /** The engine has been looked at from the beginning. */
  reset(): void {
    this.last = undefined;
  }

  /** Nobody listens: the clock by which the next process starts may be behind that of the last. */
  gone(): void {
    this.last = undefined;
    this.newestStartSeconds = 0;
    this.several = false;
  }
}

function isNew(before: EngineMetrics, now: EngineMetrics): boolean {
  if (before.processStartSeconds !== undefined && now.processStartSeconds !== undefined) {
    return before.processStartSeconds !== now.processStartSeconds;
  }
  const { generationTokensTotal: tokens } = now;
  return tokens !== undefined && tokens < (before.generationTokensTotal ?? 0);
}
