import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { OutcomeKind } from '../model/stage.js';
import { WorkflowMetrics } from './workflow-metrics.js';

describe('WorkflowMetrics', () => {
  const create = () => {
    const registry = new Registry();
    return { registry, metrics: new WorkflowMetrics(registry, ['interactive', 'batch']) };
  };
  const workflow = (lastOutcome: OutcomeKind | undefined, lastEndMs: number | undefined, sloClass = 'interactive') => ({
    ...{ sloClass, arrivalMs: 1_000, deadlineMs: 5_000, lastEndMs, lastOutcome },
  });

  it.each<[string, OutcomeKind | undefined, number | undefined]>([
    ['in_time', 'completed', 5_000],
    ['late', 'completed', 5_001],
    ['cancelled', 'client_cancelled', 4_000],
    ['late', 'client_cancelled', 6_000],
    ['failed', 'engine_failed', 2_000],
    ['failed', 'rejected', undefined],
    ['failed', undefined, undefined],
  ])('%s: the last call %s at %s', async (result, outcome, endMs) => {
    const { registry, metrics } = create();
    metrics.ended(workflow(outcome, endMs));
    const page = await registry.metrics();
    for (const kind of ['in_time', 'late', 'failed', 'cancelled'])
      expect(page).toContain(
        `maestro_workflows_total{class="interactive",result="${kind}"} ${kind === result ? 1 : 0}\n`,
      );
    expect(page).toContain('maestro_workflows_total{class="batch",result="late"} 0\n');
  });

  it('measures those that completed, in seconds', async () => {
    const { registry, metrics } = create();
    metrics.ended(workflow('completed', 5_000));
    metrics.ended(workflow('engine_failed', 9_000));
    const page = await registry.metrics();
    expect(page).toContain('maestro_workflow_duration_seconds_sum{class="interactive"} 4\n');
    expect(page).toContain('maestro_workflow_duration_seconds_count{class="interactive"} 1\n');
  });

  it('has no more series than classes, whatever a class is called', async () => {
    const { registry, metrics } = create();
    for (let index = 0; index < 100; index++) metrics.ended(workflow('completed', 2_000, `made up ${index}`));
    expect(await registry.metrics()).toContain('maestro_workflows_total{class="other",result="in_time"} 100\n');
  });
});
