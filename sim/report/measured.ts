import type { ReportInput, StageRecord, WorkflowRecord } from './types.js';

/** The part of a run that counts: what arrived after the warm-up. */
export interface Measured {
  readonly workflows: readonly WorkflowRecord[];
  readonly stages: readonly StageRecord[];
  readonly stagesByWorkflow: ReadonlyMap<string, readonly StageRecord[]>;
  /** Length of the measured window. */
  readonly measuredMs: number;
}

/**
 * Cuts the warm-up by arrival time of the workflow; a stage goes with its workflow, and one without a workflow goes by its own start.
 */
export function cutWarmup(input: ReportInput): Measured {
  const workflows = input.workflows.filter((workflow) => workflow.arrivalMs >= input.warmupMs);
  const kept = new Map(input.workflows.map((workflow) => [workflow.workflowId, workflow.arrivalMs >= input.warmupMs]));
  const stages = input.stages.filter((stage) => kept.get(stage.workflowId) ?? stage.startMs >= input.warmupMs);
  const measuredMs = Math.max(0, input.durationMs - input.warmupMs);
  return { workflows, stages, stagesByWorkflow: groupBy(stages, (stage) => stage.workflowId), measuredMs };
}

/** Items by key, in order of first appearance; items without a key are left out. */
export function groupBy<T>(items: readonly T[], key: (item: T) => string | undefined): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const name = key(item);
    if (name === undefined) continue;
    const group = groups.get(name);
    if (group) group.push(item);
    else groups.set(name, [item]);
  }
  return groups;
}

/** Largest group first, then by name. */
export function sortedGroups<T>(items: readonly T[], key: (item: T) => string | undefined): [string, T[]][] {
  return [...groupBy(items, key)].sort(([a, some], [b, others]) => others.length - some.length || (a < b ? -1 : 1));
}
