import { noTime, PHASES, type PhaseTimes, workflowPhases } from './breakdown.js';
import type { Measured } from './measured.js';
import type { WorkflowStats } from './schema.js';
import { summarize } from './stats.js';
import type { WorkflowRecord } from './types.js';

/** Arrival to end, of a completed workflow. */
export function durationOf(workflow: WorkflowRecord): number | undefined {
  return workflow.completed && workflow.endMs !== undefined ? workflow.endMs - workflow.arrivalMs : undefined;
}

/** Duration over the duration alone on an idle fleet, of a completed workflow whose isolated duration is known. */
export function slowdownOf(workflow: WorkflowRecord): number | undefined {
  const durationMs = durationOf(workflow);
  if (durationMs === undefined || workflow.isolatedMs === undefined || workflow.isolatedMs <= 0) return undefined;
  return durationMs / workflow.isolatedMs;
}

export function isMet(workflow: WorkflowRecord): boolean {
  return workflow.completed && workflow.met;
}

/** Attainment, rates and durations of a set of workflows of a run. */
export function workflowStats(workflows: readonly WorkflowRecord[], run: Measured): WorkflowStats {
  const completed = workflows.filter((workflow) => workflow.completed).length;
  const unfinished = workflows.filter((workflow) => !workflow.completed && workflow.endMs === undefined).length;
  const met = workflows.filter(isMet).length;
  const seconds = run.measuredMs / 1000;
  return {
    workflows: workflows.length,
    completed,
    failed: workflows.length - completed - unfinished,
    unfinished,
    met,
    attainment: workflows.length > 0 ? met / workflows.length : null,
    throughputPerSecond: seconds > 0 ? completed / seconds : null,
    goodputPerSecond: seconds > 0 ? met / seconds : null,
    durationMs: summarize(workflows.map(durationOf).filter((value) => value !== undefined)),
    slowdown: summarize(workflows.map(slowdownOf).filter((value) => value !== undefined)),
    meanPhasesMs: meanPhases(workflows, run),
  };
}

function meanPhases(workflows: readonly WorkflowRecord[], run: Measured): PhaseTimes | null {
  const total = noTime();
  let ended = 0;
  for (const workflow of workflows) {
    if (workflow.endMs === undefined) continue;
    const times = workflowPhases(workflow, workflow.endMs, run.stagesByWorkflow.get(workflow.workflowId) ?? []);
    for (const phase of PHASES) total[phase] += times[phase];
    ended += 1;
  }
  if (ended === 0) return null;
  for (const phase of PHASES) total[phase] /= ended;
  return total;
}
