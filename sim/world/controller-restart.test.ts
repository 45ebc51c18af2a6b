import { describe, expect, it } from 'vitest';
import { violations } from '../../test/seeds/check.js';
import { randomWorkflows, SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import { runSimulation } from '../simulation.js';
import type { SimFault } from '../types.js';

const workflows = randomWorkflows(60, 4, 300);
const lastMs = workflows.at(-1)!.arrivalMs!;
const run = (faults: readonly SimFault[], rttMs = 0) =>
  runSimulation(testScenario(SMALL_FLEET, workflows, { faults, rttMs: { local: rttMs } }));

describe('a restart of the controller', () => {
  const atMs = Math.round(lastMs / 2);
  const DOWN_MS = 4_000;

  it.each([0, 20])('loses and doubles nothing (round trip %i ms)', (rttMs) => {
    const result = run([{ kind: 'controller-restart', atMs, downMs: DOWN_MS }], rttMs);
    expect(violations(workflows, result)).toEqual([]);
    expect(result.workflows.every(({ completed }) => completed)).toBe(true);
  });

  it('stops new work while it lasts, and nothing that runs', () => {
    const { stages } = run([{ kind: 'controller-restart', atMs, downMs: DOWN_MS }]);
    const begunMs = ({ startMs, queueMs = 0, coldStartMs = 0 }: (typeof stages)[number]) =>
      startMs + queueMs + coldStartMs;
    const isDown = (ms: number) => ms > atMs && ms < atMs + DOWN_MS;
    expect(stages.filter((stage) => isDown(stage.startMs) && isDown(begunMs(stage)))).toEqual([]);
    expect(stages.filter(({ endMs }) => isDown(endMs!)).length).toBeGreaterThan(0);
  });

  it('two in a row while one is down count as one', () => {
    const one: SimFault = { kind: 'controller-restart', atMs, downMs: DOWN_MS };
    expect(run([one, { ...one, atMs: atMs + 100, downMs: 100 }]).stages).toEqual(run([one]).stages);
  });
});
