import { unitHash } from '../../src/predict/training/split.js';
import type { JudgedHistory } from './judge-calls.js';
import { type PredictionReport, predictionReport, type SourceFigures } from './report.js';
import type { ReservationFigures } from './reservation.js';

/** Mean absolute errors in tokens of one source, and what they are compared with. */
export interface SourceErrors {
  readonly source: string;
  readonly calls: number;
  readonly mae: number;
  readonly roleMedian: number;
  readonly phaseMedian: number;
  readonly bestLookup: number;
}

/** One figure beside its goal. */
export interface Goal {
  readonly name: string;
  readonly measured: number | undefined;
  readonly goal: number;
  /** Whether the figure should stay at or above the goal, or at or below it. */
  readonly better: 'above' | 'below';
  readonly isMet: boolean;
}

/** Templates by the source that they are counted under: those in which the features of a call tell something of its length. */
const SOURCES_WITH_SIGNAL: Readonly<Record<string, readonly string[]>> = {
  chatdev: ['chatdev'],
  'dylan HumanEval': ['dylan-humaneval'],
  'dylan MMLU': ['dylan-mmlu-4', 'dylan-mmlu-7'],
  'kv-cache-tester': ['claude-code'],
  'marble coding': ['marble-coding'],
  'marble database': ['marble-database'],
  'marble minecraft': ['marble-minecraft'],
  'marble research': ['marble-research'],
  'tau-bench': ['tau-bench-airline'],
  'Magentic-One': ['magentic-one'],
};

/** The source with signal that a template is counted under. */
export function sourceOf(template: string): string | undefined {
  return Object.entries(SOURCES_WITH_SIGNAL).find(([, templates]) => templates.includes(template))?.[0];
}

/** Areas under the curve that the best known models reach. */
const TOOL_AUC_GOALS: readonly (readonly [template: string, goal: number])[] = [
  ['marble-minecraft', 0.96],
  ['marble-database', 0.94],
  ['claude-code', 0.82],
];

/** What is kept of the reservation by the maximum, at so many concurrent calls. */
const RESERVED_GOALS: readonly (readonly [concurrentCalls: number, goal: number])[] = [
  [16, 0.13],
  [64, 0.1],
  [256, 0.09],
];

/** Several sources on one node: each goes on from its first call to its last, at its own pace, and they end together. */
export function mixed(judged: readonly JudgedHistory[]): JudgedHistory {
  const calls = judged.flatMap((history) =>
    history.calls.map((call, index) => ({ call, position: (index + 0.5) / history.calls.length })),
  );
  calls.sort((a, b) => a.position - b.position);
  return {
    calls: calls.map(({ call }) => call),
    steps: judged.flatMap(({ steps }) => steps),
    workflowEndMs: new Map(judged.flatMap(({ workflowEndMs }) => [...workflowEndMs])),
  };
}

/** Workflows of a template that are ranked among those of others: a source of thousands of short ones would drown the rest. */
const WORKFLOWS_A_TEMPLATE = 40;

/** The workflows drawn for the ranking of remaining work, so many of each template at most. */
function evenly({ calls, steps, workflowEndMs }: JudgedHistory): JudgedHistory {
  const byTemplate = new Map<string, Set<string>>();
  for (const { call } of calls) {
    const { template, workflowId } = call.stage;
    const known = byTemplate.get(template);
    if (known) known.add(workflowId);
    else byTemplate.set(template, new Set([workflowId]));
  }
  const drawn = new Set<string>();
  for (const workflows of byTemplate.values()) {
    const order = [...workflows].sort((a, b) => unitHash(a) - unitHash(b));
    for (const workflow of order.slice(0, WORKFLOWS_A_TEMPLATE)) drawn.add(workflow);
  }
  return { calls: calls.filter(({ call }) => drawn.has(call.stage.workflowId)), steps, workflowEndMs };
}

/** Errors of each source with signal that was judged. */
export function sourceErrors({ templates }: PredictionReport): SourceErrors[] {
  return Object.entries(SOURCES_WITH_SIGNAL).flatMap(([source, names]) => {
    const parts = names.flatMap((name) => templates[name] ?? []);
    const calls = parts.reduce((sum, { length }) => sum + length.calls, 0);
    if (calls === 0) return [];
    const over = (errorOf: (part: SourceFigures) => number) =>
      parts.reduce((sum, part) => sum + errorOf(part) * part.length.calls, 0) / calls;
    const mae = over(({ length }) => length.mae);
    const roleMedian = over(({ baselines }) => baselines.roleMedian.mae);
    const phaseMedian = over(({ baselines }) => baselines.modelAgentPhaseMedian.mae);
    return [
      { source, calls, mae, roleMedian, phaseMedian, bestLookup: over(({ baselines }) => baselines.bestLookup.mae) },
    ];
  });
}

/** The figures that predictors are to reach, on sources that were judged by calls kept back. Undefined where no length is known. */
export function goalsOf(judged: readonly JudgedHistory[]): { errors: SourceErrors[]; goals: Goal[] } | undefined {
  const mix = mixed(judged);
  const report = predictionReport(mix);
  if (!report) return undefined;
  const errors = sourceErrors(report);
  const { coverage, reservation, remaining, nextRole } = report;
  const goals = [
    below(
      'MAE against the per-role median, mean of sources',
      meanOf(errors, (e) => e.mae / e.roleMedian - 1),
      -0.35,
    ),
    below(
      'MAE against the (model, agent, phase) median, mean',
      meanOf(errors, (e) => e.mae / e.phaseMedian - 1),
      -0.24,
    ),
    below('sources with MAE above the best lookup', errors.filter((e) => e.mae > e.bestLookup).length, 0),
    ...TOOL_AUC_GOALS.map(([template, goal]) =>
      above(`tool AUC, ${template}`, report.templates[template]?.tool.auc, goal),
    ),
    below('calls beyond their bound after 1000, overall: above 5 %', coverage.overflowAfter1000, 0.055),
    above('the same, and not far below', coverage.overflowAfter1000, 0.045),
    below('worst role of 500 calls or more', coverage.worstLargeRole?.overflow, 0.07),
    ...RESERVED_GOALS.flatMap(([count, goal]) => {
      const at = figuresAt(reservation.pooled, count);
      return [
        below(`reserved, of 4096 a call, at ${count} calls`, at?.reservedShare, goal),
        below(`node overflow at ${count} calls`, at?.overflow, 0.01),
      ];
    }),
    ...RESERVED_GOALS.flatMap(([count, goal]) => {
      const at = figuresAt(reservation.pooledCut, count);
      return [
        below(`reserved at ${count} calls, answers cut at 4096`, at?.reservedShare, goal),
        below(`node overflow at ${count} calls, answers cut at 4096`, at?.overflow, 0.01),
      ];
    }),
    below('reserved / true at 64 calls', figuresAt(reservation.pooled, 64)?.reservedOverTrue, 1.6),
    above('saved of what foresight saves, at 64 calls', figuresAt(reservation.pooled, 64)?.savedOfForesight, 0.95),
    above('pair accuracy of remaining work, all workflows', remaining.pairAccuracy, 0.84),
    above(
      `the same, ${WORKFLOWS_A_TEMPLATE} workflows a template`,
      predictionReport(evenly(mix))?.remaining.pairAccuracy,
      0.84,
    ),
    above('next role among two', nextRole.calls === 0 ? undefined : nextRole.top2, 0.95),
  ];
  return { errors, goals };
}

/** Of so many calls at once; undefined where there was no such window. */
function figuresAt(all: readonly ReservationFigures[], calls: number): ReservationFigures | undefined {
  return all.find(({ concurrentCalls, windows }) => concurrentCalls === calls && windows > 0);
}

function below(name: string, measured: number | undefined, goal: number): Goal {
  return { name, measured, goal, better: 'below', isMet: measured !== undefined && measured <= goal };
}

function above(name: string, measured: number | undefined, goal: number): Goal {
  return { name, measured, goal, better: 'above', isMet: measured !== undefined && measured >= goal };
}

function meanOf(errors: readonly SourceErrors[], value: (errors: SourceErrors) => number): number | undefined {
  if (errors.length === 0) return undefined;
  return errors.reduce((sum, each) => sum + value(each), 0) / errors.length;
}
