import { StableHeap } from '../model/heap.js';
import type { Sequence } from './sequence.js';

/**
 * The sequences that decode. Each gets one token a step, so none of them is touched while they all move on: a step counter stands
 * for their progress, a histogram of phases tells when their blocks fill, a heap who ends next. This is what lets the engine leap.
 */
export class DecodeSet {
  /** Steps so far; the clock of this set. */
  step = 0;
  /** Tokens whose KV all members hold together. */
  contextTokens = 0;
  /** Members by (computed - step) mod blockTokens, which no step changes. A member needs a block when computed is a multiple. */
  private readonly phases: Int32Array;
  private readonly endings = new StableHeap<Sequence>();

  constructor(private readonly blockTokens: number) {
    this.phases = new Int32Array(blockTokens);
  }

  get size(): number {
    return this.endings.size;
  }

  /** Adds a sequence whose `computed` and `generated` stand as of now and that has tokens left to generate. */
  join(sequence: Sequence): void {
    sequence.state = 'decode';
    sequence.joinStep = this.step;
    this.contextTokens += sequence.computed;
    this.phases[this.phaseOf(sequence.computed)]! += 1;
    const left = sequence.outputTokens - sequence.generated;
    sequence.finishEntry = this.endings.push(sequence, this.step + left);
  }

  /** Takes a member out and brings its counters up to date. */
  leave(sequence: Sequence): void {
    this.endings.remove(sequence.finishEntry!);
    this.settle(sequence);
  }

  /** Takes out the member that has just generated its last token; undefined when there is none (any more). */
  popFinished(): Sequence | undefined {
    const first = this.endings.peek();
    if (!first || first.key > this.step) return undefined;
    this.endings.pop();
    this.settle(first.value);
    return first.value;
  }

  /** Steps until the next member ends; Infinity when empty. */
  stepsToNextEnd(): number {
    const first = this.endings.peek();
    return first ? first.key - this.step : Number.POSITIVE_INFINITY;
  }

  computedOf(sequence: Sequence): number {
    return sequence.computed + this.step - sequence.joinStep;
  }

  /** Moves all members on by `steps`. */
  advance(steps: number): void {
    this.step += steps;
    this.contextTokens += steps * this.size;
  }

  /** Blocks that the members need to begin the steps from `first` to before `end`, counted from the present one as 0. */
  blocksNeeded(first: number, end: number): number {
    const count = end - first;
    const cycles = Math.floor(count / this.blockTokens);
    let blocks = cycles * this.size;
    for (let index = first + cycles * this.blockTokens; index < end; index++) {
      blocks += this.phases[this.phaseOf(-index)]!;
    }
    return blocks;
  }

  /** How many steps after the present one (whose blocks are taken) can begin with `free` blocks left, at most `limit`. */
  stepsWithin(free: number, limit: number): number {
    const { size, blockTokens } = this;
    // The common case: enough blocks for more whole cycles than are asked for.
    if (free >= size * (Math.floor(limit / blockTokens) + 1)) return limit;
    const cycles = Math.floor(free / size);
    let left = free - cycles * size;
    let steps = cycles * blockTokens;
    while (steps < limit) {
      left -= this.phases[this.phaseOf(-(steps + 1))]!;
      if (left < 0) break;
      steps += 1;
    }
    return Math.min(steps, limit);
  }

  private settle(sequence: Sequence): void {
    const moved = this.step - sequence.joinStep;
    sequence.computed += moved;
    sequence.generated += moved;
    sequence.finishEntry = undefined;
    this.contextTokens -= sequence.computed;
    this.phases[this.phaseOf(sequence.computed)]! -= 1;
  }

  private phaseOf(computed: number): number {
    const remainder = (computed - this.step) % this.blockTokens;
    return remainder < 0 ? remainder + this.blockTokens : remainder;
  }
}
