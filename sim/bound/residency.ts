/** A call that needs a model, at the time at which it came. */
export interface ModelCall {
  readonly atMs: number;
  readonly model: string;
}

export interface ResidentModel {
  /** HBM that it takes while awake or waking, at least. */
  readonly bytes: number;
  /** What a call waits at least for a model that is asleep when it comes, milliseconds. */
  readonly wakeMs: number;
  /** Awake before the first call. */
  readonly awake: boolean;
}

/** Rounds of improving the prices. More raise the bound a little; any number gives a valid one. */
const ROUNDS = 200;

/** From one call of a model to the next. */
interface Span {
  readonly model: ResidentModel;
  /** The instants at which it would have to be there for the later call to find it awake: indexes into all calls, both included. */
  readonly first: number;
  readonly last: number;
  /** The earlier call may have waited, and the model come later than that call: from when on. NaN where there was none. */
  readonly sinceMs: number;
}

/**
 * No rule of residency lets calls wait less for weights than this, milliseconds of all calls together, if they come when they came and a model is woken only for a call that waits.
 * A call that finds its model neither awake nor waking waits for a whole wake. What is relaxed: models come and go in parts and sleep in no time, an engine is never busy, takes the least of
 * KV memory, and its calls take no time; a call may be let wait so that a model in use need not leave, which costs what it waits.
 *
 * It is a linear program: for each call, is its model there, and from which instant on; at the instant of every call what is there fits the GPU. A price on the memory of each
 * instant takes the place of the limits; every price ≥ 0 gives a valid bound, and the subgradient improves them.
 */
export function leastColdStartMs(
  calls: readonly ModelCall[],
  models: ReadonlyMap<string, ResidentModel>,
  capacityBytes: number,
): number {
  const { spans, certainMs } = spansOf(calls, models);
  const prices = new Float64Array(calls.length);
  const taken = new Float64Array(calls.length);
  let best = 0;
  const meanWakeMs = spans.reduce((sum, { model }) => sum + model.wakeMs, 0) / Math.max(1, spans.length);
  for (let round = 0; round < ROUNDS; round++) {
    taken.fill(0);
    let boundMs = certainMs;
    // Bytes are counted in GPUs, so that a price is what a whole GPU costs at that instant.
    for (const span of spans) boundMs += cheapest(span, calls, prices, taken, capacityBytes);
    for (const price of prices) boundMs -= price;
    best = Math.max(best, boundMs);
    const stepMs = (0.2 * meanWakeMs) / Math.sqrt(1 + round);
    for (let at = 0; at < prices.length; at++) prices[at] = Math.max(0, prices[at]! + stepMs * (taken[at]! - 1));
  }
  return best;
}

/** The least that the later call of a span costs at these prices, and what that takes of the memory. */
function cheapest(
  { model, first, last, sinceMs }: Span,
  calls: readonly ModelCall[],
  prices: Float64Array,
  taken: Float64Array,
  capacityBytes: number,
): number {
  const share = model.bytes / capacityBytes;
  let costMs = model.wakeMs;
  let from = last + 1;
  let rentMs = 0;
  for (let at = last; at >= first; at--) {
    rentMs += share * prices[at]!;
    // To come after an instant, the earlier call has to have waited past it. Without an earlier call nobody could: then it has been there all the time, or is not.
    const waitedMs = at === first ? 0 : calls[at - 1]!.atMs - sinceMs;
    if (Number.isNaN(waitedMs)) continue;
    if (rentMs + waitedMs < costMs) {
      costMs = rentMs + waitedMs;
      from = at;
    }
  }
  for (let at = from; at <= last; at++) taken[at]! += share;
  return costMs;
}

function spansOf(calls: readonly ModelCall[], models: ReadonlyMap<string, ResidentModel>) {
  const spans: Span[] = [];
  const before = new Map<string, number>();
  let certainMs = 0;
  for (const [index, { model: name }] of calls.entries()) {
    const model = models.get(name);
    if (!model) continue;
    const earlier = before.get(name);
    before.set(name, index);
    if (earlier !== undefined) {
      spans.push({ model, first: earlier + 1, last: index, sinceMs: calls[earlier]!.atMs });
    } else if (model.awake) spans.push({ model, first: 0, last: index, sinceMs: Number.NaN });
    else certainMs += model.wakeMs;
  }
  return { spans, certainMs };
}
