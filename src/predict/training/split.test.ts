import { describe, expect, it } from 'vitest';
import { FIRST_CONTEXT, makeStage } from '../../../test/stage-fixture.js';
import type { CallExample, CallHistory } from '../examples.js';
import { keptBack, SPLIT_KEYS } from './split.js';

/** Two hundred tasks, each run three times, two calls a run; the runs of a task do not follow each other. */
const calls = Array.from({ length: 3 }, (_, run) =>
  Array.from({ length: 200 }, (_, task) =>
    [0, 1].map((step) => ({
      stage: makeStage({ stageId: `${run}/${task}/${step}`, workflowId: `${run}/${task}` }),
      context: FIRST_CONTEXT,
      task: `task ${task}`,
    })),
  ),
).flat(2) as unknown as readonly CallExample[];
const history = { calls } as unknown as CallHistory;

/** For each name of a group of calls, whether it is kept back: both answers where it is torn apart. */
function sides(isKept: (call: CallExample) => boolean, nameOf: (call: CallExample) => string) {
  const found = new Map<string, Set<boolean>>();
  for (const call of calls) {
    const name = nameOf(call);
    found.set(name, (found.get(name) ?? new Set()).add(isKept(call)));
  }
  return [...found.values()];
}
const torn = (sets: readonly Set<boolean>[]) => sets.filter(({ size }) => size > 1).length;
const workflowOf = ({ stage }: CallExample) => stage.workflowId;
const taskOf = ({ task }: CallExample) => task;

describe('what a training keeps back', () => {
  it.each(SPLIT_KEYS)('is about the share that is asked for, of whole workflows, by %s', (key) => {
    const isKept = keptBack(history, key, 0.3, 1);
    expect(calls.filter(isKept).length / calls.length).toBeGreaterThan(0.2);
    expect(calls.filter(isKept).length / calls.length).toBeLessThan(0.4);
    expect(torn(sides(isKept, workflowOf))).toBe(0);
  });

  it('is of whole tasks where the split is by task, and only there', () => {
    expect(torn(sides(keptBack(history, 'task', 0.3, 1), taskOf))).toBe(0);
    expect(torn(sides(keptBack(history, 'workflow', 0.3, 1), taskOf))).toBeGreaterThan(50);
  });

  it('is what began last where the split is by time', () => {
    expect(calls.filter(keptBack(history, 'time', 0.25, 1))).toEqual(calls.slice(900));
  });

  it('is the same for the same seed, and other tasks for another', () => {
    const kept = (seed: number) => calls.filter(keptBack(history, 'task', 0.3, seed));
    expect(kept(1)).toEqual(kept(1));
    expect(kept(2)).not.toEqual(kept(1));
  });
});
