import { PHASE_LABELS, phasesByShare, workflowPhases } from '../report/breakdown.js';
import { formatPercent } from '../report/format.js';
import type { StageRecord } from '../report/types.js';
import type { SimResult } from '../types.js';

/** What happened to one workflow of a run, for a person to read. */
export interface WorkflowStory {
  /** What became of it, and where its time went. */
  readonly summary: readonly string[];
  readonly stages: readonly StageStory[];
}

/** One stage, in the order in which they were sent. Times in milliseconds. */
export interface StageStory {
  readonly stage: StageRecord;
  /** After the arrival of the workflow. */
  readonly sentMs: number;
  readonly prefillMs: number | undefined;
  readonly decodeMs: number | undefined;
  /** Stages of other workflows that an engine of the same model began while this one waited: those sent before it, and those sent after it. */
  readonly overtakenBy: { readonly older: number; readonly younger: number };
}

/** The story of a workflow; undefined when the run has none of that name. */
export function explainWorkflow(
  { workflows, stages, counters }: SimResult,
  workflowId: string,
): WorkflowStory | undefined {
  const workflow = workflows.find((each) => each.workflowId === workflowId);
  if (!workflow) return undefined;
  const own = stages.filter((stage) => stage.workflowId === workflowId).sort((a, b) => a.startMs - b.startMs);
  const endMs = workflow.endMs ?? counters.simulatedMs;
  const shares = phasesByShare(workflowPhases(workflow, endMs, own));
  const { arrivalMs, deadlineMs, isolatedMs, sloClass, template, tenant, error } = workflow;
  const result = !workflow.completed
    ? (error ?? 'it had not ended when the run did')
    : `${workflow.met ? 'in time' : 'late'}, ${seconds(Math.abs(deadlineMs - endMs))} ${endMs <= deadlineMs ? 'before' : 'after'} its deadline`;
  return {
    summary: [
      `${workflowId}: template ${template}, tenant ${tenant}, class ${sloClass}, ${workflow.stages} stages`,
      `arrived at ${seconds(arrivalMs)}, took ${seconds(endMs - arrivalMs)} of ${seconds(deadlineMs - arrivalMs)}: ${result}`,
      ...(isolatedMs === undefined ? [] : [`alone on an idle fleet it would take ${seconds(isolatedMs)}`]),
      `its time: ${shares.map(({ phase, share }) => `${formatPercent(share, 0)} ${PHASE_LABELS[phase]}`).join(', ')}`,
    ],
    stages: own.map((stage): StageStory => {
      const { startMs, firstTokenMs, queueMs = 0, coldStartMs = 0 } = stage;
      return {
        stage,
        sentMs: startMs - arrivalMs,
        prefillMs: firstTokenMs === undefined ? undefined : firstTokenMs - startMs - queueMs - coldStartMs,
        decodeMs: firstTokenMs === undefined ? undefined : stage.endMs - firstTokenMs,
        overtakenBy: overtakenBy(stage, stages),
      };
    }),
  };
}

function overtakenBy(own: StageRecord, stages: readonly StageRecord[]): StageStory['overtakenBy'] {
  const untilMs = begun(own);
  let older = 0;
  let younger = 0;
  for (const other of stages) {
    if (other.model !== own.model || other.workflowId === own.workflowId) continue;
    const atMs = begun(other);
    if (atMs <= own.startMs || atMs >= untilMs) continue;
    if (other.startMs < own.startMs) older += 1;
    else younger += 1;
  }
  return { older, younger };
}

/** When an engine took it. */
function begun({ startMs, queueMs = 0, coldStartMs = 0 }: StageRecord): number {
  return startMs + queueMs + coldStartMs;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}
