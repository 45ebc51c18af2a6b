import type { ReturnTimes } from './return-times.js';

/** A workflow that has just ended a stage and may come back with the same prefix. Times are milliseconds. */
export interface ToolGap {
  /** What is known of such pauses; undefined until enough has been seen. */
  readonly returns: ReturnTimes | undefined;
  /** Context that would be kept, and KV memory of one engine of the model, tokens. */
  readonly contextTokens: number;
  readonly poolTokens: number;
  /** Computing the context anew, alone on an idle engine. */
  readonly recomputeMs: number;
  /** Mean wait of a stage of the model in our queue. */
  readonly queueWaitMs: number;
}

/** How long KV memory is held for a workflow in a tool call. Adding one means this interface and a line in {@link RETENTION_RULES}. */
export interface RetentionRule {
  readonly name: string;
  /** Milliseconds after the end of the stage; 0 keeps nothing. */
  keepMs(gap: ToolGap): number;
}

/** Keeps nothing: what vLLM's own least-recently-used order leaves is found again. */
const none: RetentionRule = { name: 'none', keepMs: () => 0 };

/** Until something is known of pauses (vLLM Router's Progress-TTL reports 95 % of same-agent gaps under 10 s). */
const UNKNOWN_TTL_MS = 10_000;

/** Continuum (arXiv 2511.02230): the τ that maximises P(τ) · (η·T + recompute) − τ over the pauses seen, T the mean wait in the queue; η is taken for 1. */
const continuum: RetentionRule = {
  name: 'continuum',
  keepMs: ({ returns, recomputeMs, queueWaitMs }) =>
    returns === undefined
      ? UNKNOWN_TTL_MS
      : bestTtlMs(returns, (share, ttlMs) => share * (queueWaitMs + recomputeMs) - ttlMs),
};

/** Protected for the time that nine in ten pauses last (the shape of vLLM Router's Progress-TTL, as far as it is published). */
const progressTtl: RetentionRule = {
  name: 'progress-ttl',
  keepMs: ({ returns }) =>
    returns === undefined
      ? UNKNOWN_TTL_MS
      : (returns.pausesMs[Math.floor(0.9 * (returns.pausesMs.length - 1))] ?? -1) + 1,
};

/** Rent against price: the share of an engine's memory that the context takes × the time that it is expected to lie there, against computing it anew × the chance of its return. */
const rent: RetentionRule = {
  name: 'rent',
  keepMs({ returns, recomputeMs, contextTokens, poolTokens }) {
    if (returns === undefined) return UNKNOWN_TTL_MS;
    const rentPerMs = contextTokens / poolTokens;
    return bestTtlMs(returns, (share, _ttlMs, heldMs) => share * recomputeMs - rentPerMs * heldMs);
  },
};

export const RETENTION_RULES = { none, continuum, 'progress-ttl': progressTtl, rent } as const satisfies Record<
  string,
  RetentionRule
>;
export const RETENTION_RULE_NAMES = ['none', 'continuum', 'progress-ttl', 'rent'] as const;
export type RetentionRuleName = (typeof RETENTION_RULE_NAMES)[number];

/** The pause of the past up to which keeping is worth most; 0 where no time is worth it. `heldMs`: how long it would be held on the mean. */
function bestTtlMs(
  { chance, pausesMs }: ReturnTimes,
  worth: (share: number, ttlMs: number, heldMs: number) => number,
): number {
  let best = 0;
  let bestMs = 0;
  let sumMs = 0;
  for (let index = 0; index < pausesMs.length; index++) {
    const ttlMs = pausesMs[index]! + 1;
    sumMs += pausesMs[index]!;
    const share = (chance * (index + 1)) / pausesMs.length;
    const heldMs = (chance * sumMs) / pausesMs.length + (1 - share) * ttlMs;
    const value = worth(share, ttlMs, heldMs);
    if (value > best) {
      best = value;
      bestMs = ttlMs;
    }
  }
  return bestMs;
}
