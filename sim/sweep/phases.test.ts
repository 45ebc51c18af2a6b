import { describe, expect, it } from 'vitest';
import { SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import { groupWorkflows, type TraceWorkflow } from '../../traces/workflow.js';
import { arrivalsOf } from '../workload.js';
import { byMinute, composePhases } from './phases.js';

/** One call each, every second. */
function everySecond(count: number, name: string): TraceWorkflow[] {
  return groupWorkflows(
    Array.from({ length: count }, (_, index) => ({
      ...{ request_id: `${name}${index}`, workflow_id: `${name}${index}`, timestamp: index * 1000 },
      ...{ input_length: 64, output_length: 8, model: 'llama-3.1-8b', hash_ids: [index, index + 1], block_tokens: 32 },
    })),
  );
}

describe('composePhases', () => {
  const short = { about: 'short', workflows: everySecond(20, 's'), capacitySpeed: 2 };
  const long = { about: 'long', workflows: everySecond(10, 'l'), capacitySpeed: 0.5 };
  const { workflows, phases } = composePhases([
    { ...short, load: 0.5, minutes: 1 },
    { ...long, load: 1, minutes: 2 },
    { ...short, load: 1.5, minutes: 1 },
  ]);
  const arrivals = (from: number, to: number) =>
    workflows.filter(({ arrivalMs = -1 }) => arrivalMs >= from * 60_000 && arrivalMs < to * 60_000);

  it('says where each phase begins', () => {
    expect(phases.map(({ about, fromMinute, toMinute }) => [about, fromMinute, toMinute])).toEqual([
      ['short', 0, 1],
      ['long', 1, 3],
      ['short', 3, 4],
    ]);
  });

  it('brings each traffic at its load of its own capacity', () => {
    expect(arrivals(0, 1)).toHaveLength(60);
    expect(Math.abs(arrivals(1, 3).length - 60)).toBeLessThanOrEqual(1);
    expect(Math.abs(arrivals(3, 4).length - 180)).toBeLessThanOrEqual(1);
    expect(arrivals(1, 3).every(({ workflowId }) => workflowId.startsWith('l'))).toBe(true);
    expect(workflows[0]!.arrivalMs).toBe(0);
  });

  it('names every workflow once, and lets no two of different rounds or phases share a prefix', () => {
    expect(new Set(workflows.map(({ workflowId }) => workflowId)).size).toBe(workflows.length);
    const rounds = new Map<number, string>();
    for (const { workflowId, rows } of workflows) {
      const round = workflowId.split('~')[1]!;
      for (const [first, count] of rows[0]!.hash_runs!) {
        for (let id = first; id < first + count; id++) {
          expect(rounds.get(id) ?? round).toBe(round);
          rounds.set(id, round);
        }
      }
    }
  });

  it('keeps the traffic of each phase in its phase, whatever the seed', () => {
    const { classes } = testScenario(SMALL_FLEET, workflows);
    const dealt = arrivalsOf(workflows, {
      ...{ load: 1, seed: 7, deadlineRule: 'class', classes, defaultClass: 'interactive', isolatedMs: () => undefined },
      changesMs: [60_000, 180_000],
    });
    expect(dealt.map(({ workflow }) => workflow.workflowId)).not.toEqual(workflows.map(({ workflowId }) => workflowId));
    for (const { atMs, workflow } of dealt) {
      expect(workflow.workflowId.startsWith('l')).toBe(atMs >= 60_000 && atMs < 180_000);
    }
  });
});

describe('byMinute', () => {
  it('counts by the minute of arrival', () => {
    const at = (arrivalMs: number, met: boolean) => ({ arrivalMs, met });
    expect(byMinute([at(0, true), at(59_999, false), at(60_000, true), at(180_000, true)], 3)).toEqual({
      arrived: [2, 1, 1],
      inTime: [1, 1, 1],
    });
  });
});
