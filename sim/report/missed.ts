import { PHASE_LABELS, type PhaseTimes, phasesByShare, workflowPhases } from './breakdown.js';
import { formatPercent } from './format.js';
import type { Measured } from './measured.js';
import { isCompleted } from './request-stats.js';
import type { MissedWorkflow } from './schema.js';
import type { StageRecord, WorkflowRecord } from './types.js';
import { isMet, slowdownOf } from './workflow-stats.js';

/** Rows of the table of workflows that went wrong. */
const MAX_ROWS = 25;

/** Phases below this share of a workflow's time are not worth a word. */
const MIN_SHARE = 0.1;

/**
 * The workflows worth a look: misses first, the one furthest over its allowance at the top, then the slowest of those that were in
 * time. Each with where its time went and a sentence why.
 */
export function missedWorkflows(run: Measured, runEndMs: number): MissedWorkflow[] {
  const overdue = (workflow: WorkflowRecord): number =>
    ((workflow.endMs ?? runEndMs) - workflow.arrivalMs) / Math.max(1, workflow.deadlineMs - workflow.arrivalMs);
  return [...run.workflows]
    .sort(
      (a, b) =>
        Number(isMet(a)) - Number(isMet(b)) || overdue(b) - overdue(a) || (a.workflowId < b.workflowId ? -1 : 1),
    )
    .slice(0, MAX_ROWS)
    .map((workflow) => {
      const stages = run.stagesByWorkflow.get(workflow.workflowId) ?? [];
      const endMs = workflow.endMs ?? runEndMs;
      const phasesMs = workflowPhases(workflow, endMs, stages);
      const result = resultOf(workflow);
      return {
        workflowId: workflow.workflowId,
        template: workflow.template,
        tenant: workflow.tenant,
        sloClass: workflow.sloClass,
        result,
        arrivalMs: workflow.arrivalMs,
        deadlineMs: workflow.deadlineMs - workflow.arrivalMs,
        durationMs: endMs - workflow.arrivalMs,
        overdueRatio: overdue(workflow),
        slowdown: slowdownOf(workflow) ?? null,
        stages: workflow.stages,
        phasesMs,
        why: whyOf(workflow, result, phasesMs, stages),
      };
    });
}

function resultOf(workflow: WorkflowRecord): MissedWorkflow['result'] {
  if (isMet(workflow)) return 'met';
  if (workflow.completed) return 'late';
  return workflow.endMs === undefined ? 'unfinished' : 'failed';
}

function whyOf(
  workflow: WorkflowRecord,
  result: MissedWorkflow['result'],
  phasesMs: PhaseTimes,
  stages: readonly StageRecord[],
): string {
  if (result === 'failed') {
    const culprit = stages.find((stage) => !isCompleted(stage));
    const error = workflow.error ?? culprit?.error;
    const outcome = culprit ? `${culprit.role} on ${culprit.model}: ${culprit.outcome}` : undefined;
    return [outcome, error].filter((part) => part !== undefined && part !== '').join(' – ') || 'failed';
  }
  const allowanceMs = workflow.deadlineMs - workflow.arrivalMs;
  if (result === 'late' && workflow.isolatedMs !== undefined && workflow.isolatedMs > allowanceMs) {
    return 'longer than its deadline even on an idle fleet';
  }
  if (result === 'unfinished' && stages.length === 0) return 'no stage ended before the run did';
  return phasesByShare(phasesMs)
    .filter(({ share }) => share >= MIN_SHARE)
    .map(({ phase, share }) => `${formatPercent(share, 0)} ${PHASE_LABELS[phase]}`)
    .join(', ');
}
