import { KeyMemo } from '../model/key-memo.js';
import { LruMap } from '../model/lru-map.js';
import type { Stage, StageOutcome } from '../model/stage.js';
import { WindowQuantiles } from './window-quantiles.js';

/**
 * Milliseconds that a call takes on an idle engine of the model; undefined when the model is not in the catalogue.
 * The step-time model of `engine` provides it.
 */
export type ServiceTimeModel = (
  model: string,
  promptTokens: number,
  cachedTokens: number,
  outputTokens: number,
) => number | undefined;

/** Until something is measured: an 8B-class model on a current data-centre GPU. */
const PRIOR_PREFILL_MS_PER_TOKEN = 0.05;
const PRIOR_DECODE_MS_PER_TOKEN = 12;

/** Service time of a call at the speed that is taken for granted until something is measured. */
export function priorServiceMs(uncachedTokens: number, outputTokens: number): number {
  return uncachedTokens * PRIOR_PREFILL_MS_PER_TOKEN + outputTokens * PRIOR_DECODE_MS_PER_TOKEN;
}

const WINDOW_CALLS = 64;
const MIN_CALLS = 3;
/** Shorter prompts measure the network and the step as much as the prefill, and the rate is for long ones. */
const MIN_PREFILL_TOKENS = 1024;
const MAX_MODELS = 256;
const MAX_ROLES = 4096;
/** Weight of the newest call in a role's cached share. */
const CACHED_WEIGHT = 0.1;

interface ModelRates {
  readonly prefillMsPerToken: WindowQuantiles;
  readonly decodeMsPerToken: WindowQuantiles;
}

/**
 * Service time of a call alone: the step-time model where it knows the model, else medians of what was measured (milliseconds a
 * prompt token that was not cached, milliseconds an output token). Measured rates contain the usual batching of this fleet.
 */
export class ServiceTimes {
  private readonly models = new LruMap<string, ModelRates>(MAX_MODELS);
  private readonly cachedShares = new LruMap<string, { share: number }>(MAX_ROLES);

  constructor(private readonly serviceTime?: ServiceTimeModel | undefined) {}

  serviceMs(model: string, promptTokens: number, cachedTokens: number, outputTokens: number): number {
    const modelled = this.serviceTime?.(model, promptTokens, cachedTokens, outputTokens);
    if (modelled !== undefined) return modelled;
    const rates = this.models.peek(model);
    const prefill = median(rates?.prefillMsPerToken, PRIOR_PREFILL_MS_PER_TOKEN);
    const decode = median(rates?.decodeMsPerToken, PRIOR_DECODE_MS_PER_TOKEN);
    return Math.max(0, promptTokens - cachedTokens) * prefill + outputTokens * decode;
  }

  /** Prompt tokens of the stage that its engine is expected to have cached, from what this role's calls found. */
  expectedCachedTokens(stage: Stage): number {
    return (this.cachedShares.peek(shareKey(stage))?.share ?? 0) * stage.promptTokens;
  }

  observe(stage: Stage, outcome: StageOutcome): void {
    const { outputTokens, serviceMs, ttftMs } = outcome;
    const promptTokens = outcome.promptTokens ?? stage.promptTokens;
    const cachedTokens = outcome.cachedTokens ?? 0;
    this.observeShare(stage, promptTokens > 0 ? cachedTokens / promptTokens : 0);
    if (serviceMs === undefined || outputTokens === undefined || outputTokens < 2) return;
    const rates = this.rates(stage.model);
    const uncachedTokens = Math.max(0, promptTokens - cachedTokens);
    if (stage.features.stream && ttftMs !== undefined) {
      // Both count from arrival, so their difference is the stream; what service time is left came before the first token.
      const streamMs = outcome.durationMs - ttftMs;
      rates.decodeMsPerToken.add(Math.max(0, streamMs) / (outputTokens - 1));
      if (uncachedTokens >= MIN_PREFILL_TOKENS) {
        rates.prefillMsPerToken.add(Math.max(0, serviceMs - streamMs) / uncachedTokens);
      }
      return;
    }
    const prefillMs = uncachedTokens * median(rates.prefillMsPerToken, PRIOR_PREFILL_MS_PER_TOKEN);
    rates.decodeMsPerToken.add(Math.max(0, serviceMs - prefillMs) / outputTokens);
  }

  private observeShare(stage: Stage, share: number): void {
    const known = this.cachedShares.get(shareKey(stage));
    if (known) known.share += CACHED_WEIGHT * (share - known.share);
    else this.cachedShares.set(shareKey(stage), { share });
  }

  private rates(model: string): ModelRates {
    let rates = this.models.get(model);
    if (!rates) {
      rates = {
        prefillMsPerToken: new WindowQuantiles(WINDOW_CALLS),
        decodeMsPerToken: new WindowQuantiles(WINDOW_CALLS),
      };
      this.models.set(model, rates);
    }
    return rates;
  }
}

function median(window: WindowQuantiles | undefined, prior: number): number {
  return window && window.count >= MIN_CALLS ? window.quantile(0.5) : prior;
}

const SHARE = new KeyMemo((model, role) => `${model}\n${role}`);

function shareKey({ model, role }: Stage): string {
  return SHARE.of(model, role);
}
