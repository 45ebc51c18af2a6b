/** Requests that wait weigh as much as so many that run, where vLLM chooses a data-parallel rank (`DPLBAsyncMPClient`). */
const WAITING_WEIGHT = 4;

/** Index of the rank that vLLM sends a request to: of those with the least load the first. */
export function leastLoaded<R>(
  ranks: readonly R[],
  loadOf: (rank: R) => { readonly running: number; readonly waiting: number },
): number {
  let least = 0;
  let leastLoad = Number.POSITIVE_INFINITY;
  for (const [index, rank] of ranks.entries()) {
    const { running, waiting } = loadOf(rank);
    const load = running + WAITING_WEIGHT * waiting;
    if (load < leastLoad) [least, leastLoad] = [index, load];
  }
  return least;
}
