import { LruMap } from '../model/lru-map.js';
import { WindowQuantiles } from './window-quantiles.js';

/** Saved form: samples of each window in ascending order, the least recently used window first. */
export type KeyedWindowsState = readonly (readonly [key: string, samples: readonly number[]])[];

/** Samples of a window that are saved: enough for a q95. */
const STATE_SAMPLES = 64;

/** A window of observations for each name, for a bounded number of names. */
export class KeyedWindows {
  private readonly windows: LruMap<string, WindowQuantiles>;

  constructor(
    maxCells: number,
    private readonly windowSize: number,
  ) {
    this.windows = new LruMap(maxCells);
  }

  /** The window of a name that has one. Looking does not keep it from being forgotten. */
  peek(key: string): WindowQuantiles | undefined {
    return this.windows.peek(key);
  }

  add(key: string, value: number): void {
    let window = this.windows.get(key);
    if (!window) {
      window = new WindowQuantiles(this.windowSize);
      this.windows.set(key, window);
    }
    window.add(value);
  }

  state(): KeyedWindowsState {
    return [...this.windows].map(([key, window]) => [key, window.spread(STATE_SAMPLES).map(thousandths)]);
  }

  restore(state: KeyedWindowsState): void {
    for (const [key, samples] of state) for (const sample of samples) this.add(key, sample);
  }
}

/** Three decimals: all that a saved statistic is worth. */
export function thousandths(value: number): number {
  return Math.round(value * 1000) / 1000;
}
