/** A limit on what a set of items may take together. */
export interface Limit {
  readonly capacity: number;
  /** Items that count against it, and how much each takes. */
  readonly items: Int32Array;
  readonly amounts: Float64Array;
}

/** Rounds over all limits. More rounds lower the bound a little; any number gives a valid one. */
const ROUNDS = 3;

/**
 * A bound from above on how many of `count` items can be chosen within all limits, parts of items allowed. By duality of linear programs every price ≥ 0 for each limit gives
 * such a bound: the worth of all capacity plus what items are worth beyond what they would pay. Prices are improved one limit at a time, each to its optimum given the
 * others, which is a knapsack; no solver is needed, and stopping early only makes the bound looser.
 */
export function mostWithin(count: number, limits: readonly Limit[]): number {
  const worth = new Float64Array(count).fill(1);
  const prices = new Float64Array(limits.length);
  const order = limits
    .map((limit, index) => ({ limit, index, pressure: sum(limit.amounts) / Math.max(limit.capacity, 1e-9) }))
    .filter(({ pressure }) => pressure > 1)
    .sort((a, b) => b.pressure - a.pressure);
  for (let round = 0; round < ROUNDS; round++) {
    for (const { limit, index } of order) prices[index] = reprice(limit, prices[index]!, worth);
  }
  const paid = order.reduce((total, { limit, index }) => total + prices[index]! * limit.capacity, 0);
  return Math.min(count, paid + sum(worth.map((each) => Math.max(0, each))));
}

/** Sets the price of one limit anew and brings the worth of its items up to date. */
function reprice({ capacity, items, amounts }: Limit, old: number, worth: Float64Array): number {
  const wanting: { readonly amount: number; readonly ratio: number }[] = [];
  for (let at = 0; at < items.length; at++) {
    const item = items[at]!;
    worth[item]! += old * amounts[at]!;
    if (worth[item]! > 0 && amounts[at]! > 0)
      wanting.push({ amount: amounts[at]!, ratio: worth[item]! / amounts[at]! });
  }
  wanting.sort((a, b) => b.ratio - a.ratio);
  let left = capacity;
  // The price at which those who pay most fill the capacity.
  const price = wanting.find(({ amount }) => {
    left -= amount;
    return left < 0;
  });
  const next = price?.ratio ?? 0;
  for (let at = 0; at < items.length; at++) worth[items[at]!]! -= next * amounts[at]!;
  return next;
}

function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let at = 0; at < values.length; at++) total += values[at]!;
  return total;
}
