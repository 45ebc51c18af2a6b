import { describe, expect, it } from 'vitest';
import { ONE_SEAT, poissonWorkflows, testScenario } from '../test/sim-scenario.js';
import type { StageRecord } from './report/types.js';
import { runSimulation } from './simulation.js';

const COUNT = 20_000;
const MEAN_TOKENS = 60;
/** Alone, an answer takes about so long for each of its tokens. */
const MS_PER_TOKEN = 6;

const totalMs = ({ startMs, endMs }: StageRecord) => endMs! - startMs;
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Service times of the same requests when each finds the engine idle. */
function aloneMs(seed: number): Map<string, number> {
  const apart = poissonWorkflows(COUNT, 1, MEAN_TOKENS, seed).map((workflow, index) => ({
    ...workflow,
    arrivalMs: index * 20_000,
    rows: workflow.rows.map((row) => ({ ...row, timestamp: index * 20_000 })),
  }));
  const { stages } = runSimulation(testScenario(ONE_SEAT, apart));
  return new Map(stages.map((stage) => [stage.stageId, totalMs(stage)]));
}

describe('one engine with one seat', () => {
  const meanGapMs = (MEAN_TOKENS * MS_PER_TOKEN) / 0.7;
  const workflows = poissonWorkflows(COUNT, meanGapMs, MEAN_TOKENS, 11);
  const { stages, counters } = runSimulation(testScenario(ONE_SEAT, workflows));
  const service = aloneMs(11);

  it('keeps each request exactly as long as Lindley’s recursion says', () => {
    let freeMs = 0;
    const expected = new Map<string, number>();
    for (const { arrivalMs = 0, rows } of workflows) {
      const id = rows[0]!.request_id;
      freeMs = Math.max(freeMs, arrivalMs) + service.get(id)!;
      expected.set(id, freeMs - arrivalMs);
    }
    const ours = mean(stages.map(totalMs));
    expect(ours / mean([...expected.values()])).toBeCloseTo(1, 4);
  });

  it('has the mean wait of the Pollaczek–Khinchine formula, of which M/M/1 is a case', () => {
    const services = [...service.values()];
    const arrivalRate = COUNT / workflows.at(-1)!.arrivalMs!;
    const load = arrivalRate * mean(services);
    const second = mean(services.map((value) => value ** 2));
    const waitMs = (arrivalRate * second) / (2 * (1 - load));
    const ours = mean(stages.map((stage) => totalMs(stage) - service.get(stage.stageId)!));
    expect(Math.abs(ours / waitMs - 1)).toBeLessThan(0.05);
    // Exponential answers make the server M/M/1 but for whole tokens and the prefill.
    const mm1Ms = (load / (1 - load)) * mean(services);
    expect(Math.abs(waitMs / mm1Ms - 1)).toBeLessThan(0.05);
  });

  it('obeys Little’s law', () => {
    const spanMs = counters.simulatedMs;
    const events = stages
      .flatMap((stage) => [
        { atMs: stage.startMs, change: 1 },
        { atMs: stage.endMs!, change: -1 },
      ])
      .sort((a, b) => a.atMs - b.atMs);
    let present = 0;
    let area = 0;
    let lastMs = 0;
    for (const { atMs, change } of events) {
      area += present * (atMs - lastMs);
      present += change;
      lastMs = atMs;
    }
    expect(present).toBe(0);
    const throughput = stages.length / spanMs;
    expect(area / spanMs / (throughput * mean(stages.map(totalMs)))).toBeCloseTo(1, 6);
  });
});
