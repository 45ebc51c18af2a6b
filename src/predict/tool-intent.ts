import { LruMap } from '../model/lru-map.js';
import type { Stage } from '../model/stage.js';
import { thousandths } from './keyed-windows.js';

interface ToolRate {
  /** Decayed numbers of calls with tools on offer, and of those that called one. */
  offered: number;
  called: number;
}

/** Saved form: decayed numbers of offers and of calls, by name. */
export type ToolIntentState = readonly (readonly [key: string, offered: number, called: number])[];

/** Without history, agents that are offered tools call one in most turns of the recorded traces. */
const PRIOR_RATE = 0.7;
/** How many calls the coarser estimate weighs. */
const PRIOR_CALLS = 4;
/** Keeps about the last 100 calls. */
const DECAY = 0.99;

/**
 * Chance that an answer is a tool call: what the request forces, else the rate seen for (model, role, kind of the last message),
 * shrunk towards the rate of (model, role). The kind of the last message carries most of the signal after the role.
 */
export class ToolIntent {
  private readonly rates: LruMap<string, ToolRate>;

  constructor(maxCells: number) {
    this.rates = new LruMap(maxCells);
  }

  probability(stage: Stage): number {
    const { toolsOffered, toolChoice, lastMessageKind } = stage.features;
    if (toolsOffered === 0 || toolChoice === 'none') return 0;
    if (toolChoice === 'required' || toolChoice === 'named') return 1;
    const roleRate = shrunkRate(this.rates.peek(roleKey(stage)), PRIOR_RATE);
    return shrunkRate(this.rates.peek(`${roleKey(stage)}\n${lastMessageKind}`), roleRate);
  }

  observe(stage: Stage, toolCalled: boolean): void {
    const { toolsOffered, toolChoice, lastMessageKind } = stage.features;
    if (toolsOffered === 0 || toolChoice !== 'auto') return;
    this.count(roleKey(stage), toolCalled);
    this.count(`${roleKey(stage)}\n${lastMessageKind}`, toolCalled);
  }

  state(): ToolIntentState {
    return [...this.rates].map(([key, { offered, called }]) => [key, thousandths(offered), thousandths(called)]);
  }

  restore(state: ToolIntentState): void {
    for (const [key, offered, called] of state) this.rates.set(key, { offered, called });
  }

  private count(key: string, toolCalled: boolean): void {
    let rate = this.rates.get(key);
    if (!rate) {
      rate = { offered: 0, called: 0 };
      this.rates.set(key, rate);
    }
    rate.offered = rate.offered * DECAY + 1;
    rate.called = rate.called * DECAY + (toolCalled ? 1 : 0);
  }
}

function shrunkRate(rate: ToolRate | undefined, prior: number): number {
  if (!rate) return prior;
  return (rate.called + PRIOR_CALLS * prior) / (rate.offered + PRIOR_CALLS);
}

function roleKey(stage: Stage): string {
  return `${stage.model}\n${stage.role}`;
}
