import { nextInt, SeededRng } from '../src/model/rng.js';
import type { SloClass } from '../src/model/stage.js';
import type { TraceWorkflow } from '../traces/workflow.js';
import type { Arrival } from './types.js';

/**
 * Where deadlines come from:
 * - `trace`: as the trace says, else the class; - `class`: the class's own, the same for all of its workflows;
 * - `template`: a factor times the usual isolated time of the kind of workflow; - `proportional`: a factor times its own isolated time.
 */
export const DEADLINE_RULES = ['trace', 'class', 'template', 'proportional'] as const;
export type DeadlineRule = (typeof DEADLINE_RULES)[number];

export interface WorkloadOptions {
  /** Arrivals come so many times as fast as in the trace. */
  readonly load: number;
  /** 0 keeps the order of the trace; any other seed deals the workflows anew to the recorded arrival times. */
  readonly seed: number;
  readonly deadlineRule: DeadlineRule;
  readonly classes: readonly SloClass[];
  readonly defaultClass: string;
  /** Deadline in isolated times, by kind of class. Defaults: 4 interactive, 15 batch, the middle of what the prototypes used. */
  readonly factors?: { readonly interactive: number; readonly batch: number };
  readonly isolatedMs: (workflow: TraceWorkflow) => number | undefined;
  /** Times of the trace at which the traffic changes, ascending: workflows are dealt among the arrivals of their own phase only. */
  readonly changesMs?: readonly number[] | undefined;
}

const DEFAULT_FACTORS = { interactive: 4, batch: 15 };

/** The workflows of a trace as arrivals of one run, in order of time. The first comes at 0. */
export function arrivalsOf(workflows: readonly TraceWorkflow[], options: WorkloadOptions): Arrival[] {
  const { load, seed, classes, defaultClass, isolatedMs, changesMs = [] } = options;
  const timed = [...workflows].sort((a, b) => (a.arrivalMs ?? 0) - (b.arrivalMs ?? 0));
  const firstMs = timed[0]?.arrivalMs ?? 0;
  const times = timed.map(({ arrivalMs }) => ((arrivalMs ?? firstMs) - firstMs) / load);
  const dealt =
    seed === 0 ? timed : phasesOf(timed, changesMs).flatMap((phase, index) => shuffled(phase, seed + index));
  const classOf = (name: string) => classes.find((sloClass) => sloClass.name === name) ?? classes[0]!;
  const isolated = dealt.map(isolatedMs);
  const usual = medians(dealt, isolated);
  return dealt.map((workflow, index) => {
    const sloClass = classOf(workflow.sloClass ?? defaultClass);
    const own = isolated[index];
    return {
      atMs: times[index]!,
      workflow,
      sloClass: sloClass.name,
      deadlineMs: deadlineOf(workflow, sloClass, own, usual.get(workflow.template ?? '') ?? own, options),
      isolatedMs: own,
    };
  });
}

function deadlineOf(
  workflow: TraceWorkflow,
  sloClass: SloClass,
  ownMs: number | undefined,
  usualMs: number | undefined,
  { deadlineRule, factors = DEFAULT_FACTORS }: WorkloadOptions,
): number {
  const factor = factors[sloClass.kind];
  switch (deadlineRule) {
    case 'trace':
      return workflow.deadlineMs ?? sloClass.deadlineMs;
    case 'class':
      return sloClass.deadlineMs;
    case 'template':
      return usualMs === undefined ? sloClass.deadlineMs : factor * usualMs;
    case 'proportional':
      return ownMs === undefined ? sloClass.deadlineMs : factor * ownMs;
  }
}

function medians(workflows: readonly TraceWorkflow[], isolated: readonly (number | undefined)[]): Map<string, number> {
  const byTemplate = new Map<string, number[]>();
  for (const [index, { template = '' }] of workflows.entries()) {
    const ms = isolated[index];
    if (ms === undefined) continue;
    const list = byTemplate.get(template);
    if (list) list.push(ms);
    else byTemplate.set(template, [ms]);
  }
  return new Map([...byTemplate].map(([template, list]) => [template, list.sort((a, b) => a - b)[list.length >> 1]!]));
}

function phasesOf(timed: readonly TraceWorkflow[], changesMs: readonly number[]): TraceWorkflow[][] {
  const edges = [Number.NEGATIVE_INFINITY, ...changesMs, Number.POSITIVE_INFINITY];
  return edges
    .slice(1)
    .map((endMs, index) => timed.filter(({ arrivalMs = 0 }) => arrivalMs >= edges[index]! && arrivalMs < endMs));
}

function shuffled<T>(items: readonly T[], seed: number): T[] {
  const rng = new SeededRng(seed);
  const dealt = [...items];
  for (let index = dealt.length - 1; index > 0; index--) {
    const other = nextInt(rng, index + 1);
    [dealt[index], dealt[other]] = [dealt[other]!, dealt[index]!];
  }
  return dealt;
}
