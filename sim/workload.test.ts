import { describe, expect, it } from 'vitest';
import { groupWorkflows, type TraceWorkflow } from '../traces/workflow.js';
import { arrivalsOf, DEADLINE_RULES, type WorkloadOptions } from './workload.js';

const classes = [
  { name: 'interactive', kind: 'interactive', deadlineMs: 60_000 },
  { name: 'batch', kind: 'batch', deadlineMs: 900_000 },
] as unknown as WorkloadOptions['classes'];

/** Three of one template that alone take 1, 2 and 9 s, and one of another, in batch, that takes 5 s. */
const ALONE_MS: Readonly<Record<string, number>> = { a: 1000, b: 2000, c: 9000, d: 5000 };
const workflows = groupWorkflows(
  ['a', 'b', 'c', 'd'].map((id, index) => ({
    ...{ request_id: id, workflow_id: id, timestamp: 500 + 1000 * index, input_length: 1, output_length: 1 },
    ...(id === 'd' ? { template: 'other', class: 'batch' } : { template: 'usual', deadline_ms: 7000 + index }),
  })),
);
const options: WorkloadOptions = {
  ...{ load: 1, seed: 0, deadlineRule: 'class', classes, defaultClass: 'interactive' },
  isolatedMs: ({ workflowId }: TraceWorkflow) => ALONE_MS[workflowId],
};
const deadlines = (changes: Partial<WorkloadOptions>) =>
  arrivalsOf(workflows, { ...options, ...changes }).map(({ deadlineMs }) => deadlineMs);

describe('deadlines', () => {
  it.each([
    ['class', [60_000, 60_000, 60_000, 900_000]],
    // 4 or 15 times the median of the template, 2 s; of one alone, its own.
    ['template', [8000, 8000, 8000, 75_000]],
    ['proportional', [4000, 8000, 36_000, 75_000]],
    // As recorded, else that of the class.
    ['trace', [7000, 7001, 7002, 900_000]],
  ] as const)('by the rule %s', (deadlineRule, expected) => {
    expect(deadlines({ deadlineRule })).toEqual(expected);
  });

  it('are those of the class where nobody knows what a workflow takes alone', () => {
    for (const deadlineRule of DEADLINE_RULES) {
      if (deadlineRule === 'trace') continue;
      expect(deadlines({ deadlineRule, isolatedMs: () => undefined })).toEqual([60_000, 60_000, 60_000, 900_000]);
    }
  });
});

describe('arrivals', () => {
  it('begin at 0 and come as much faster as the load says; what a seed deals anew keeps their times', () => {
    const of = (changes: Partial<WorkloadOptions>) => arrivalsOf(workflows, { ...options, ...changes });
    expect(of({}).map(({ atMs, workflow }) => [atMs, workflow.workflowId])).toEqual([
      [0, 'a'],
      [1000, 'b'],
      [2000, 'c'],
      [3000, 'd'],
    ]);
    const orders = [1, 2, 3, 4].map((seed) => {
      const dealt = of({ seed, load: 4 });
      expect(dealt.map(({ atMs }) => atMs)).toEqual([0, 250, 500, 750]);
      const ids = dealt.map(({ workflow }) => workflow.workflowId);
      expect([...ids].sort()).toEqual(['a', 'b', 'c', 'd']);
      // A workflow keeps its class and what it takes alone.
      for (const { workflow, sloClass, isolatedMs } of dealt) {
        expect([sloClass, isolatedMs]).toEqual([
          workflow.workflowId === 'd' ? 'batch' : 'interactive',
          ALONE_MS[workflow.workflowId],
        ]);
      }
      return ids.join('');
    });
    expect(new Set(orders).size).toBeGreaterThan(1);
    expect(of({ seed: 3 })).toEqual(of({ seed: 3 }));
  });
});
