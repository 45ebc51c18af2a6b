import { describe, expect, it } from 'vitest';
import type { WorkflowRecord } from '../report/types.js';
import { SLOWDOWN_POINTS, slowdownOf, worstWaitSeconds } from './delays.js';
import { fleetDollarsPerHour } from './gpu-price.js';

function workflow(durationMs: number | undefined, rest: Partial<WorkflowRecord> = {}): WorkflowRecord {
  return {
    ...{ workflowId: 'w', template: 't', tenant: 'a', sloClass: 'interactive', arrivalMs: 1000, deadlineMs: 9e9 },
    ...{ stages: 1, completed: durationMs !== undefined, met: false, isolatedMs: 1000 },
    ...(durationMs === undefined ? {} : { endMs: 1000 + durationMs }),
    ...rest,
  };
}

const at = (cdf: readonly number[], point: (typeof SLOWDOWN_POINTS)[number]) => cdf[SLOWDOWN_POINTS.indexOf(point)];

describe('slowdownOf', () => {
  it('counts those that never ended as slower than any point', () => {
    const { cdf, max } = slowdownOf([workflow(1000), workflow(2000), workflow(4000), workflow(undefined)]);
    expect([at(cdf, 1), at(cdf, 2), at(cdf, 3), at(cdf, 4), cdf.at(-1)]).toEqual([0.25, 0.5, 0.5, 0.75, 0.75]);
    expect(max).toBe(4);
  });

  it('does not take one that ended without being completed for a fast one', () => {
    expect(slowdownOf([workflow(1000, { completed: false })]).cdf.at(-1)).toBe(0);
  });

  it('leaves out those whose isolated time nobody knows', () => {
    expect(slowdownOf([workflow(1000), workflow(9000, { isolatedMs: undefined })]).cdf.at(-1)).toBe(1);
    expect(slowdownOf([]).cdf.at(-1)).toBe(0);
  });
});

describe('worstWaitSeconds', () => {
  it('is what the worst of each class wait beyond their own time, until the end of the run if they never complete', () => {
    const fast = Array.from({ length: 200 }, () => workflow(1500));
    expect(worstWaitSeconds(fast, 1e6)).toEqual({ interactive: 0.5 });
    const worst = [...fast, ...Array.from({ length: 4 }, () => workflow(undefined))];
    expect(worstWaitSeconds(worst, 102_000)).toEqual({ interactive: 100 });
    expect(worstWaitSeconds([workflow(3000, { sloClass: 'batch' }), workflow(1000)], 1e6)).toEqual({
      batch: 2,
      interactive: 0,
    });
  });
});

describe('fleetDollarsPerHour', () => {
  const node = (...names: string[]) => ({ gpus: names.map((name) => ({ name })) }) as never;
  it('adds up the GPUs, and says nothing where one has no price', () => {
    expect(fleetDollarsPerHour([node('h100-sxm', 'h100-sxm'), node('a100-sxm-80gb')])).toBeCloseTo(10.25, 9);
    expect(fleetDollarsPerHour([node('h100-sxm', 'mi300x')])).toBeUndefined();
  });
});
