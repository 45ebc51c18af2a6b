import { WorkflowTracker } from '../../src/global/tracker.js';
import type { Stage, StageContext, StageOutcome } from '../../src/model/stage.js';
import type { CallEvent, CallExample, CallHistory } from '../../src/predict/examples.js';
import { priorServiceMs } from '../../src/predict/service-time.js';
import type { TraceRow } from '../../traces/schema.js';
import { stageFeaturesOf } from '../../traces/stage-features.js';
import { groupWorkflows, isRoot, type TraceWorkflow, waitMs } from '../../traces/workflow.js';

/** Limit of a call for which the trace has none: beyond every recorded answer, so that the limit tells nothing of the answer. */
const NO_LIMIT_TOKENS = 32_768;

/** Workflows that run side by side. Outcomes come back only after calls of others have begun, as they do in a fleet. */
const WORKFLOWS_SIDE_BY_SIDE = 8;

/** A workflow on its way through the replay: calls begin in waves, each when everything that it waits for has ended. */
class RunningWorkflow {
  private readonly ended = new Set<string>();
  private readonly begun = new Set<string>();
  wave: TraceRow[] = [];
  /** Since its arrival, at the speed that predictors take for granted. */
  ageMs = 0;

  constructor(readonly workflow: TraceWorkflow) {}

  endWave(): void {
    for (const row of this.wave) this.ended.add(row.request_id);
    this.ageMs += Math.max(0, ...this.wave.map(durationMs));
    this.wave = [];
  }

  beginWave(): void {
    this.wave = this.workflow.rows.filter(
      (row) => !this.begun.has(row.request_id) && (row.wait_for ?? []).every((before) => this.ended.has(before)),
    );
    for (const row of this.wave) this.begun.add(row.request_id);
  }
}

/**
 * A trace as calls that begin and end, with the context that the live workflow tracker gives each. Workflows come in the order of their arrivals, or of
 * the file where there are none. A call sees only what ended before it became ready: siblings of a fan-out do not see each other.
 */
export function traceCalls(rows: Iterable<TraceRow>): CallHistory {
  const workflows = groupWorkflows(rows);
  if (workflows.every(({ arrivalMs }) => arrivalMs !== undefined)) {
    workflows.sort((a, b) => a.arrivalMs! - b.arrivalMs!);
  }
  const replay = new Replay();
  const waiting = workflows.values();
  const slots: RunningWorkflow[] = [];
  for (;;) {
    while (slots.length < WORKFLOWS_SIDE_BY_SIDE) {
      const next = waiting.next();
      if (next.done) break;
      slots.push(new RunningWorkflow(next.value));
    }
    const running = slots.shift();
    if (!running) break;
    for (const row of running.wave) replay.end(row);
    running.endWave();
    running.beginWave();
    for (const row of running.wave) replay.begin(row, running);
    if (running.wave.length > 0) slots.push(running);
    else replay.workflowEnded(running.workflow.workflowId);
  }
  return { calls: replay.calls, events: replay.events };
}

class Replay {
  readonly calls: CallExample[] = [];
  readonly events: CallEvent[] = [];
  private readonly places = new Map<string, number>();
  private readonly tracker = new WorkflowTracker({ idleMs: Number.POSITIVE_INFINITY });
  /** Counts events, not time: the sources rarely tell any. */
  private steps = 0;

  begin(row: TraceRow, { workflow, ageMs }: RunningWorkflow): void {
    const stage = stageOf(row, workflow, ageMs);
    const known = this.tracker.begin(stage, this.steps++);
    const context: StageContext = { ...known, gapMs: isRoot(row) ? undefined : waitMs(row) };
    this.places.set(row.request_id, this.calls.length);
    this.events.push({ kind: 'begin', call: this.calls.length });
    const task = row.task ?? workflow.workflowId;
    this.calls.push({ stage, context, outcome: outcomeOf(row), task });
  }

  end(row: TraceRow): void {
    const call = this.places.get(row.request_id)!;
    const { stage, outcome } = this.calls[call]!;
    this.tracker.end(stage, outcome, this.steps++);
    this.events.push({ kind: 'end', call });
  }

  workflowEnded(workflowId: string): void {
    this.tracker.finishWorkflow(workflowId);
    this.events.push({ kind: 'workflowEnded', workflowId });
  }
}

function stageOf(row: TraceRow, workflow: TraceWorkflow, arrivalMs: number): Stage {
  return {
    stageId: row.request_id,
    workflowId: workflow.workflowId,
    tenant: workflow.tenant ?? 'default',
    template: workflow.template ?? 'default',
    role: row.role ?? 'default',
    agent: row.agent,
    model: row.model ?? 'default',
    sloClass: 'batch',
    arrivalMs,
    deadlineMs: Number.MAX_SAFE_INTEGER,
    weight: 1,
    promptTokens: row.input_length,
    promptTokensExact: true,
    maxTokens: row.max_tokens ?? NO_LIMIT_TOKENS,
    outputLimited: row.max_tokens !== undefined,
    bodyBytes: 0,
    prefixHashes: [],
    features: stageFeaturesOf(row),
  };
}

/** Lengths that an importer made up, by a rule or drawn, are left out: nothing is learned from them, and nothing judged by them. */
function outcomeOf(row: TraceRow): StageOutcome {
  const isInvented = row.derived?.some((field) => /^output_length:(rule|sample)/.test(field)) ?? false;
  return {
    kind: 'completed',
    httpStatus: 200,
    promptTokens: row.input_length,
    outputTokens: isInvented ? undefined : row.output_length,
    finishReason: row.finish_reason,
    toolCalled: row.tool_called,
    durationMs: durationMs(row),
    serviceMs: durationMs(row),
  };
}

function durationMs(row: TraceRow): number {
  return priorServiceMs(row.input_length, row.output_length);
}
