import { describe, expect, it } from 'vitest';
import { EDF } from '../../src/global/order/edf.js';
import { SJF } from '../../src/global/order/sjf.js';
import { randomWorkflows, SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import { runSimulation } from '../simulation.js';
import { cellsToTell, lossesOf } from './losses.js';
import { lossesFigure } from './losses-figure.js';
import { lossesTable } from './tables.js';
import type { RunRow } from './types.js';

const FLEET = `${SMALL_FLEET}classes:\n  - { name: interactive, kind: interactive, deadline: 20s }\n  - { name: batch, kind: batch, deadline: 60s }\n`;
const workflows = randomWorkflows(160, 4, 60);
const played = [SJF, EDF].map((policy) => ({
  policy: policy.name,
  result: runSimulation(testScenario(FLEET, workflows, { policy })),
}));
const losses = lossesOf({ workload: 'w', deadlineRule: 'class', load: 1, seed: 1 }, played);

describe('cellsToTell', () => {
  const row = (workload: string, policy: string, load: number, attainment: number) =>
    ({ workload, deadlineRule: 'class', policy, load, seed: 1, attainment, workflows: 100 }) as unknown as RunRow;
  it('takes of each workload the run in which the two are furthest apart, whoever wins', () => {
    const runs = [
      ...[row('a', 'maestro', 1, 0.9), row('a', 'edf', 1, 0.8), row('a', 'maestro', 2, 0.2), row('a', 'edf', 2, 0.5)],
      ...[row('b', 'maestro', 1, 0.7), row('b', 'edf', 1, 0.7), row('c', 'maestro', 1, 0.7), row('c', 'fcfs', 1, 0.1)],
    ];
    expect(cellsToTell(runs).map(({ workload, load }) => [workload, load])).toEqual([['a', 2]]);
  });
});

describe('lossesOf', () => {
  const [one, other] = losses.sides;

  it('tells of the minute in which most workflows fared differently, the same ones on both sides', () => {
    const missed = (minute: number) =>
      played.map(
        ({ result }) =>
          result.workflows.filter(({ arrivalMs, met }) => Math.floor(arrivalMs / 60_000) === minute && !met).length,
      );
    const apart = (minute: number) => Math.abs(missed(minute)[0]! - missed(minute)[1]!);
    expect(apart(losses.minute)).toBe(Math.max(...[0, 1, 2, 3].map(apart)));
    expect(apart(losses.minute)).toBeGreaterThan(0);
    expect([one!.missed, other!.missed]).toEqual(missed(losses.minute));
    expect(one!.workflows.map(({ workflowId }) => workflowId)).toEqual(other!.workflows.map((each) => each.workflowId));
  });

  it('names what became of those that one kept in time and the other did not', () => {
    expect(losses.differences.length).toBeGreaterThan(0);
    for (const { workflowId, winner, fates } of losses.differences) {
      for (const { policy, workflows: own } of losses.sides) {
        expect(own.find((each) => each.workflowId === workflowId)!.met).toBe(policy === winner);
        expect(fates[policy]).toMatch(policy === winner ? /^in time, .*%.*younger calls/ : /%.*younger calls/);
      }
    }
  });

  it('gives each call its moments in order', () => {
    const calls = losses.sides.flatMap(({ workflows: own }) => own.flatMap((each) => each.calls));
    expect(calls.length).toBeGreaterThan(20);
    for (const moments of calls) expect([...moments]).toEqual([...moments].sort((a, b) => a - b));
  });

  it('is drawn and told', () => {
    const { svg, caption } = lossesFigure(losses);
    expect(caption).toContain(`edf missed ${other!.missed}`);
    expect(svg.match(/waits in the order/g)!.length).toBeGreaterThan(5);
    expect(lossesTable(losses).rows).toHaveLength(losses.differences.length);
  });
});
