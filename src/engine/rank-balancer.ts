/** What a data-parallel rank has to do. */
export interface RankLoad {
  readonly running: number;
  readonly waiting: number;
  /** Share of its KV pool in use, 0 to 1. */
  readonly kvUsage: number;
}

/** Share of its KV pool from which a rank with a queue is avoided, and by how much: 3 more for each that waits, when the pool is full. */
const PRESSED_FROM = 0.5;
const WAITING_WEIGHT = 6;

/** Chooses data-parallel ranks as vLLM 0.29 does (`DPLBAsyncMPClient`), whatever their prefix caches have. Of equals the first counts, and each choice begins with the next rank. */
export class RankBalancer {
  private first = 0;

  /** Index of the rank that the next request goes to. */
  choose<R>(ranks: readonly R[], loadOf: (rank: R) => RankLoad): number {
    let least = 0;
    let leastLoad = Number.POSITIVE_INFINITY;
    for (let offset = 0; offset < ranks.length; offset++) {
      const index = (this.first + offset) % ranks.length;
      const { running, waiting, kvUsage } = loadOf(ranks[index]!);
      const load = waiting + running + waiting * WAITING_WEIGHT * Math.max(0, kvUsage - PRESSED_FROM);
      if (load < leastLoad) [least, leastLoad] = [index, load];
    }
    this.first = (this.first + 1) % ranks.length;
    return least;
  }
}
