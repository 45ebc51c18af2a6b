import type { OutputForecast } from '../../src/model/stage.js';
import { PooledBound } from '../../src/node/pooled-bound.js';
import type { JudgedCall } from './judge-calls.js';

/** What reservations are compared with: a limit that every request could have. */
const MAX_TOKENS = 4096;

/** One way to reserve, over windows of so many concurrent calls in time order. Shares are of the reservation by {@link MAX_TOKENS}. */
export interface ReservationFigures {
  readonly concurrentCalls: number;
  readonly windows: number;
  /** Reserved for outputs. */
  readonly reservedShare: number;
  readonly reservedOverTrue: number;
  /** Windows that needed more than was reserved. */
  readonly overflow: number;
  /** The same with the prompts, which must be held in any case, and how much of what perfect foresight saves is saved. */
  readonly withPromptShare: number;
  readonly savedOfForesight: number;
}

export interface Reservations {
  /** Each call by its own bound. */
  readonly perCall: Omit<ReservationFigures, 'concurrentCalls' | 'windows'>;
  /** Sum of the calls' own bounds, and one bound for all of them together. */
  readonly summed: readonly ReservationFigures[];
  readonly pooled: readonly ReservationFigures[];
  /** The same, of answers cut at {@link MAX_TOKENS}: a server that has promised so many a call, and no more, lets none be longer. */
  readonly pooledCut: readonly ReservationFigures[];
}

const CONCURRENT_CALLS = [16, 64, 256];

type KnownCall = JudgedCall & { readonly outputTokens: number };

export function reservations(calls: readonly KnownCall[]): Reservations {
  const summed = (window: readonly KnownCall[]) => total(window, ({ boundTokens }) => boundTokens);
  const { concurrentCalls: _, windows: __, ...perCall } = figures(calls, 1, summed);
  return {
    perCall,
    summed: CONCURRENT_CALLS.map((count) => figures(calls, count, summed)),
    pooled: pooled(calls),
    pooledCut: pooled(calls.map(cut)),
  };
}

function pooled(calls: readonly KnownCall[]): ReservationFigures[] {
  return CONCURRENT_CALLS.map((count) => {
    const bound = new PooledBound();
    return figures(
      calls,
      count,
      (window) => reservedFor(window, bound),
      (window, overflowed) => {
        for (const call of window) bound.observe(forecastOf(call), call.outputTokens);
        bound.observeNode(overflowed);
      },
    );
  });
}

/** The call as it would have been with that limit. */
function cut(call: KnownCall): KnownCall {
  const { q30, q50, q95, mean } = call.prediction.outputTokens;
  const within = (tokens: number) => Math.min(MAX_TOKENS, tokens);
  const outputTokens = { q30: within(q30), q50: within(q50), q95: within(q95), mean: within(mean) };
  return {
    ...call,
    prediction: { ...call.prediction, outputTokens },
    boundTokens: within(call.boundTokens),
    outputTokens: within(call.outputTokens),
  };
}

function reservedFor(window: readonly KnownCall[], bound: PooledBound): number {
  let [mean, variance] = [0, 0];
  for (const call of window) {
    const expected = bound.expect(forecastOf(call));
    mean += expected.mean;
    variance += expected.variance;
  }
  return bound.reserve(mean, variance, window.length);
}

function forecastOf({ call: { stage }, prediction }: KnownCall): OutputForecast {
  return { kind: `${stage.template}\n${stage.model}\n${stage.role}`, ...prediction.outputTokens };
}

function figures(
  calls: readonly KnownCall[],
  concurrentCalls: number,
  reserve: (window: readonly KnownCall[]) => number,
  learn?: (window: readonly KnownCall[], overflowed: boolean) => void,
): ReservationFigures {
  let windows = 0;
  let overflows = 0;
  let reserved = 0;
  let used = 0;
  let prompts = 0;
  for (let first = 0; first + concurrentCalls <= calls.length; first += concurrentCalls) {
    const window = calls.slice(first, first + concurrentCalls);
    const tokens = reserve(window);
    const truth = total(window, ({ outputTokens }) => outputTokens);
    windows += 1;
    if (truth > tokens) overflows += 1;
    reserved += tokens;
    used += truth;
    prompts += total(window, ({ call }) => call.stage.promptTokens);
    learn?.(window, truth > tokens);
  }
  const most = windows * concurrentCalls * MAX_TOKENS;
  return {
    ...{ concurrentCalls, windows },
    reservedShare: share(reserved, most),
    reservedOverTrue: share(reserved, used),
    overflow: share(overflows, windows),
    withPromptShare: share(prompts + reserved, prompts + most),
    savedOfForesight: share(most - reserved, most - used),
  };
}

function total(calls: readonly KnownCall[], value: (call: KnownCall) => number): number {
  return calls.reduce((sum, call) => sum + value(call), 0);
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}
