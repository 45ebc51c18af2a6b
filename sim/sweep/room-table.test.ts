import { describe, expect, it } from 'vitest';
import { roomTable } from './room-table.js';
import { summarise } from './summary.js';
import { groupCells } from './tables.js';
import type { RunRow } from './types.js';

/** What the table reads of a run. */
function run(policy: string, load: number, seed: number, attainment: number): RunRow {
  const counts = { reservedByteSeconds: 1, maxTokenByteSeconds: 1, usedByteSeconds: 1, nodeOverflowRate: 0 };
  return {
    ...{ workload: 'w', deadlineRule: 'class', policy, load, seed, attainment, bound: 0.9 },
    ...{ placement: 'maestro', reservation: 'predicted', prediction: 'online', workflows: 10 },
    ...{ attainmentByClass: {}, goodputPerSecond: 1, goodputPerGpuHour: 1, kv: counts },
    ...{ coldStarts: { count: 0, requestSeconds: 0 }, slowdown: { p50: 1, p99: 1, max: 1, cdf: [] } },
    ...{ worstWaitSecondsByClass: {}, preemptions: 0, fairness: 1, cachedShare: 0, simulatedSeconds: 1, stages: 1 },
  };
}

const tableOf = (runs: readonly RunRow[]) => roomTable(groupCells(summarise(runs))[0]!, runs);

describe('the room above a rival', () => {
  it('is what is left up to the bound, beside what is gained seed by seed', () => {
    const runs = [1, 2].flatMap((seed) => [
      run('maestro', 1.2, seed, 0.7 + seed / 100),
      run('edf', 1.2, seed, 0.5 + seed / 100),
      run('oracle-edf', 1.2, seed, 0.6),
      run('oracle-srtf', 1.2, seed, 0.75),
      run('sjf', 1.2, seed, 0.4),
    ]);
    expect(tableOf(runs)).toEqual({
      columns: ['maestro against', 'load 1.2', 'possible'],
      rows: [
        { cells: ['edf', '+20', '≤ +38.5'] },
        { cells: ['oracle-srtf', expect.stringMatching(/^−3\.5 ± /), '≤ +15'] },
      ],
    });
  });

  it('says nothing where there is nobody to compare', () => {
    expect(tableOf([run('edf', 1, 1, 0.5)])).toBeUndefined();
    expect(tableOf([run('maestro', 1, 1, 0.5), run('sjf', 1, 1, 0.5)])).toBeUndefined();
  });
});
