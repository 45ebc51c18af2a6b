/** Four bins an octave: exact at first, then ever wider. A hard cap on an index costs ranking in long workflows. */
export function logBin(index: number): number {
  return Math.floor(4 * Math.log2(index + 1));
}
