import { Counter, type Registry } from 'prom-client';
import type { OutcomeKind } from '../model/stage.js';
import { Distribution, registerHistogram } from './distribution.js';

/** Upper bounds in seconds, those of OpenTelemetry's `gen_ai.workflow.duration`. */
const DURATION_BUCKETS_S = [1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200];

/**
 * How a workflow ended: its last call completed by the deadline, or after it; or its last call failed or was refused; or its client left before the deadline. Who leaves after the deadline
 * has waited for too long: `late`.
 */
export const WORKFLOW_RESULTS = ['in_time', 'late', 'failed', 'cancelled'] as const;
export type WorkflowResult = (typeof WORKFLOW_RESULTS)[number];

/** A workflow that is over. Times are clock milliseconds. */
export interface EndedWorkflow {
  readonly sloClass: string;
  readonly arrivalMs: number;
  readonly deadlineMs: number;
  /** End of the last call that ran; undefined when none did. */
  readonly lastEndMs: number | undefined;
  readonly lastOutcome: OutcomeKind | undefined;
}

interface ClassNumbers {
  readonly results: Record<WorkflowResult, number>;
  readonly durationSeconds: Distribution;
}

/** Counts workflows as they end, by class: the live counterpart of the attainment in reports. */
export class WorkflowMetrics {
  private readonly classes: ReadonlySet<string>;
  private readonly byClass = new Map<string, ClassNumbers>();

  /** @param classes The classes of the config; all of them have a series from the start, so that rates are known before the first miss. */
  constructor(registry: Registry, classes: readonly string[]) {
    this.classes = new Set(classes);
    for (const sloClass of classes) this.numbersOf(sloClass);
    const { byClass } = this;
    new Counter({
      name: 'maestro_workflows_total',
      help: 'Workflows that are over, by result; when late or failed ones grow faster than the rest, compare maestro_queue_seconds (too little capacity) with maestro_cold_start_wait_seconds_total (too many models)',
      labelNames: ['class', 'result'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [sloClass, { results }] of byClass)
          for (const result of WORKFLOW_RESULTS) this.inc({ class: sloClass, result }, results[result]);
      },
    });
    registerHistogram(
      registry,
      'maestro_workflow_duration_seconds',
      'From the arrival of the first call of a workflow to the end of its last, of those that completed',
      () => [...byClass].map(([sloClass, numbers]) => [{ class: sloClass }, numbers.durationSeconds] as const),
    );
  }

  ended(workflow: EndedWorkflow): void {
    const numbers = this.numbersOf(this.classes.has(workflow.sloClass) ? workflow.sloClass : 'other');
    const result = resultOf(workflow);
    numbers.results[result] += 1;
    if (workflow.lastOutcome === 'completed' && workflow.lastEndMs !== undefined) {
      numbers.durationSeconds.observe((workflow.lastEndMs - workflow.arrivalMs) / 1000);
    }
  }

  private numbersOf(sloClass: string): ClassNumbers {
    let numbers = this.byClass.get(sloClass);
    if (!numbers) {
      numbers = {
        results: { in_time: 0, late: 0, failed: 0, cancelled: 0 },
        durationSeconds: new Distribution(DURATION_BUCKETS_S),
      };
      this.byClass.set(sloClass, numbers);
    }
    return numbers;
  }
}

function resultOf({ lastOutcome, lastEndMs, deadlineMs }: EndedWorkflow): WorkflowResult {
  const late = lastEndMs !== undefined && lastEndMs > deadlineMs;
  if (lastOutcome === 'completed') return late ? 'late' : 'in_time';
  if (lastOutcome === 'client_cancelled') return late ? 'late' : 'cancelled';
  return 'failed';
}
