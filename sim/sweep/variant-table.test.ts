import { describe, expect, it } from 'vitest';
import type { RunRow } from './types.js';
import { groupVariants, variantTable } from './variant-table.js';

const plain: Omit<RunRow, 'load' | 'seed' | 'attainment'> = {
  ...{ workload: 'w', deadlineRule: 'class', policy: 'maestro', placement: 'maestro', reservation: 'predicted' },
  ...{
    prediction: 'online',
    workflows: 10,
    bound: 1,
    attainmentByClass: {},
    goodputPerSecond: 1,
    goodputPerGpuHour: 1,
  },
  kv: { reservedByteSeconds: 1, maxTokenByteSeconds: 2, usedByteSeconds: 1, nodeOverflowRate: 0 },
  coldStarts: { count: 0, requestSeconds: 3 },
  slowdown: { p50: 1, p99: 1, max: 1, cdf: [1] },
  ...{ worstWaitSecondsByClass: {}, preemptions: 0, fairness: 1, cachedShare: 0.5, simulatedSeconds: 1, stages: 1 },
};

function rows(
  change: Pick<RunRow, 'node'> | Pick<RunRow, 'workload'> | object,
  load: number,
  attainments: readonly number[],
): RunRow[] {
  return attainments.map((attainment, index) => ({ ...plain, ...change, load, seed: index + 1, attainment }));
}

describe('variantTable', () => {
  const all = [
    ...rows({}, 1.2, [0.75, 1]),
    ...rows({ node: { weights: 'lru' } }, 1.2, [0.5, 0.75]),
    ...rows({}, 0.9, [1, 1]),
    ...rows({ workload: 'other' }, 1.2, [0.1]),
  ];

  it('has a table for each workload, with a row for each variant and the loads side by side', () => {
    const [first, second] = groupVariants(all);
    const table = variantTable(first!, 'what');
    expect(table.columns.slice(0, 5)).toEqual(['what', 'load 0.9', 'difference', 'load 1.2', 'difference']);
    expect(table.rows.map(({ cells }) => cells[0])).toEqual(['maestro', 'maestro, weights lru']);
    expect(variantTable(second!, 'what').rows).toHaveLength(1);
  });

  it('takes differences seed by seed, so that the luck of a seed, here 25 points, is not in their interval', () => {
    const table = variantTable(groupVariants(all)[0]!, 'what');
    expect(table.rows[1]!.cells.slice(1, 5)).toEqual(['–', '–', expect.stringMatching(/^62\.5 ± /), '−25']);
    expect(table.rows[0]!.cells[4]).toBe('–');
  });
});
