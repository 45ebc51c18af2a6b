import { clear } from '../model/clear.js';

/** Most names are seen a few times only, so a window starts with room for so many and doubles it as they come. */
const FIRST_ROOM = 4;

/** More values than this that have come since the last look are not put in their places one by one: the window is sorted as a whole. */
const MAX_BEHIND = 16;

/**
 * Quantiles and mean of the last `capacity` observations, exact. A window, not a sketch: it forgets, so it follows drift, and a
 * role's statistics fit in two small arrays. Most windows stand behind others that answer first and are never looked at, so values are put in order when a quantile
 * is asked for: a binary search and a shift of at most `capacity` numbers for each that has come since.
 */
export class WindowQuantiles {
  private ring: Float64Array;
  /** The window in ascending order, as it was `behind` values ago; so many were in it. */
  private sorted: Float64Array;
  private ordered = 0;
  private behind = 0;
  /** What has left the window since, the last {@link MAX_BEHIND} at most. */
  private readonly left: number[] = [];
  private filled = 0;
  private next = 0;
  private sum = 0;

  constructor(private readonly capacity: number) {
    this.ring = new Float64Array(Math.min(FIRST_ROOM, capacity));
    this.sorted = new Float64Array(this.ring.length);
  }

  get count(): number {
    return this.filled;
  }

  /** Mean of the window; 0 when it is empty. */
  get mean(): number {
    return this.filled === 0 ? 0 : this.sum / this.filled;
  }

  add(value: number): void {
    if (this.filled === this.ring.length && this.filled < this.capacity) this.grow();
    const { ring, capacity, next } = this;
    this.behind += 1;
    if (this.filled === capacity) {
      const leaving = ring[next]!;
      this.sum -= leaving;
      if (this.behind <= MAX_BEHIND) this.left.push(leaving);
    } else this.filled += 1;
    ring[next] = value;
    this.sum += value;
    this.next = next + 1 === capacity ? 0 : next + 1;
  }

  /** Puts what has come since the last look in its place. */
  private order(): void {
    if (this.behind === 0) return;
    const { ring, sorted, left, capacity, behind } = this;
    if (behind > Math.min(MAX_BEHIND, capacity)) {
      sorted.set(ring);
      sorted.subarray(0, this.filled).sort();
    } else {
      const first = this.next - behind;
      const stayed = behind - left.length;
      for (let index = 0; index < behind; index++) {
        const place = first + index;
        this.insert(ring[place < 0 ? place + capacity : place]!, index < stayed ? undefined : left[index - stayed]!);
      }
    }
    this.ordered = this.filled;
    this.behind = 0;
    clear(left);
  }

  /** Into the order, where a value may leave for it. */
  private insert(value: number, leaving: number | undefined): void {
    const { sorted, ordered } = this;
    // The slot that comes free: that of the value which leaves, or a new one at the end.
    let free = ordered;
    if (leaving === undefined) this.ordered += 1;
    else free = lowerBound(sorted, ordered, leaving);
    const { ordered: count } = this;
    // It wanders to where the new value belongs.
    for (; free > 0 && sorted[free - 1]! > value; free--) sorted[free] = sorted[free - 1]!;
    for (; free + 1 < count && sorted[free + 1]! < value; free++) sorted[free] = sorted[free + 1]!;
    sorted[free] = value;
  }

  private grow(): void {
    const room = Math.min(2 * this.filled, this.capacity);
    this.ring = grown(this.ring, room);
    this.sorted = grown(this.sorted, room);
  }

  /** At most `count` samples in ascending order that stand for the window: all of them, or evenly spaced quantiles. */
  spread(count: number): number[] {
    this.order();
    if (this.filled <= count) return Array.from(this.sorted.subarray(0, this.filled));
    return Array.from({ length: count }, (_, index) => this.quantile((index + 0.5) / count));
  }

  /** The `q` quantile, q in [0, 1], interpolated between neighbours. The window must not be empty. */
  quantile(q: number): number {
    this.order();
    const last = this.filled - 1;
    const position = q * last;
    const below = Math.floor(position);
    const low = this.sorted[below]!;
    const high = this.sorted[Math.min(below + 1, last)]!;
    return low + (position - below) * (high - low);
  }
}

/** Index of the first of the first `count` elements that is not smaller than `value`. */
function lowerBound(sorted: Float64Array, count: number, value: number): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function grown(values: Float64Array, room: number): Float64Array {
  const wider = new Float64Array(room);
  wider.set(values);
  return wider;
}
