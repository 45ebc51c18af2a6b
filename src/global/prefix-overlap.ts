/** Steps per doubling of the length, as prefix hashes are laid: boundaries are the same for prompts of any length. */
const STEPS_PER_DOUBLING = 8;

/** How many leading hashes two prompts share. Each hash covers all before it, so equal ones come first: a binary search finds the last. */
export function sharedBoundaries(hashes: readonly string[], others: readonly string[]): number {
  let low = 0;
  let high = Math.min(hashes.length, others.length);
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (hashes[middle - 1] === others[middle - 1]) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Distance of the `count`-th boundary from the start of the prompt, in units of the first block; 0 for none. */
export function prefixBoundary(count: number): number {
  // The first doubling takes twice the steps of a later one: blocks of one unit up to 16 units, then 8 blocks for each doubling.
  if (count <= 2 * STEPS_PER_DOUBLING) return count;
  const later = count - 2 * STEPS_PER_DOUBLING;
  const doublings = Math.floor(later / STEPS_PER_DOUBLING);
  const step = 2 ** (doublings + 1);
  return 2 * STEPS_PER_DOUBLING * 2 ** doublings + (later % STEPS_PER_DOUBLING) * step;
}
