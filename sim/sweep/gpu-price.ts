import type { NodeSpec } from '../../src/model/fleet.js';

/**
 * Dollars an hour of one rented GPU, by family. From the GPU profiles of vllm-sr-sim (the fleet simulator of vllm-project/semantic-router). Prices differ by
 * provider and fall over the years: they weigh kinds of GPU against each other, and say little of anyone's bill. Families that the source does not price are left out.
 */
const DOLLARS_PER_GPU_HOUR: readonly (readonly [family: RegExp, dollars: number])[] = [
  [/^a100-/, 2.21],
  [/^h100-/, 4.02],
];

/** What the GPUs of a fleet cost, dollars an hour; undefined where one of them has no stated price. */
export function fleetDollarsPerHour(nodes: readonly Pick<NodeSpec, 'gpus'>[]): number | undefined {
  let sum = 0;
  for (const { name } of nodes.flatMap(({ gpus }) => gpus)) {
    const price = DOLLARS_PER_GPU_HOUR.find(([family]) => family.test(name))?.[1];
    if (price === undefined) return undefined;
    sum += price;
  }
  return sum;
}
