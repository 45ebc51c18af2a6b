/**
 * Quantiles and mean of the last `capacity` observations, exact. A window, not a sketch: it forgets, so it follows drift, and a
 * role's statistics fit in two small arrays. Adding costs one binary search and a shift of at most `capacity` numbers.
 */
export class WindowQuantiles {
  private readonly ring: number[] = [];
  private readonly sorted: number[] = [];
  private next = 0;
  private sum = 0;

  constructor(private readonly capacity: number) {}

  get count(): number {
    return this.sorted.length;
  }

  /** Mean of the window; 0 when it is empty. */
  get mean(): number {
    return this.sorted.length === 0 ? 0 : this.sum / this.sorted.length;
  }

  add(value: number): void {
    const leaving = this.ring[this.next];
    this.ring[this.next] = value;
    this.next = (this.next + 1) % this.capacity;
    if (leaving !== undefined) {
      this.sorted.splice(lowerBound(this.sorted, leaving), 1);
      this.sum -= leaving;
    }
    this.sorted.splice(lowerBound(this.sorted, value), 0, value);
    this.sum += value;
  }

  /** The `q` quantile, q in [0, 1], interpolated between neighbours. The window must not be empty. */
  quantile(q: number): number {
    const position = q * (this.sorted.length - 1);
    const below = Math.floor(position);
    const low = this.sorted[below]!;
    const high = this.sorted[Math.min(below + 1, this.sorted.length - 1)]!;
    return low + (position - below) * (high - low);
  }
}

/** Index of the first element that is not smaller than `value`. */
function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
