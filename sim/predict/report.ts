import { areaUnderRoc, kendallTau, meanAbsoluteError, pinballLoss, rSquared } from '../../src/predict/metrics.js';
import type { LookupName } from '../../src/predict/training/medians.js';
import { unitHash } from '../../src/predict/training/split.js';
import { type JudgedCall, type JudgedHistory, mapLookups } from './judge-calls.js';
import { type Reservations, reservations } from './reservation.js';

type KnownCall = JudgedCall & { readonly outputTokens: number };

export interface Baseline {
  readonly mae: number;
}

export interface LengthFigures {
  /** Calls with a known length. */
  readonly calls: number;
  readonly mae: number;
  readonly pinball: { readonly q30: number; readonly q50: number; readonly q95: number };
  /** Of log(1 + tokens). */
  readonly rSquared: number;
  readonly kendallTau: number | undefined;
}

export interface Baselines extends Record<LookupName, Baseline> {
  /** The better of the medians by (model, role, agent) with and without the layer, for each template: `phase` is what the source calls it. */
  readonly modelAgentPhaseMedian: Baseline;
  readonly bestLookup: Baseline & { readonly name: LookupName };
  readonly ewma: Baseline;
}

export interface RoleCoverage {
  readonly template: string;
  readonly model: string;
  readonly role: string;
  readonly calls: number;
  readonly overflow: number;
}

export interface CoverageFigures {
  readonly overflow: number;
  /** Without the first 1 000 calls; undefined where there are no more. */
  readonly overflowAfter1000: number | undefined;
  /** Of the roles with at least 100 calls, and with at least 500. */
  readonly worstRole: RoleCoverage | undefined;
  readonly worstLargeRole: RoleCoverage | undefined;
}

export interface SourceFigures {
  readonly calls: number;
  readonly length: LengthFigures;
  readonly baselines: Baselines;
  readonly tool: {
    readonly calls: number;
    readonly share: number;
    readonly auc: number | undefined;
    readonly brier: number;
  };
  readonly coverage: CoverageFigures;
  readonly reservation: Reservations;
  readonly remaining: {
    readonly workflows: number;
    /** Share of pairs of workflows, each at a moment drawn at random, that are ranked right by what is left of them. */
    readonly pairAccuracy: number | undefined;
    readonly maeMs: number;
  };
  readonly nextRole: { readonly calls: number; readonly top1: number; readonly top2: number };
  /** Which estimators answered. */
  readonly sources: Readonly<Record<string, number>>;
}

export interface PredictionReport extends SourceFigures {
  readonly templates: Readonly<Record<string, SourceFigures>>;
}

/** Figures for a judged trace, as a whole and for each of its templates. Undefined where no call has a known length. */
export function predictionReport(judged: JudgedHistory): PredictionReport | undefined {
  const names = [...new Set(judged.calls.map(({ call }) => call.stage.template))].sort();
  const templates = names.flatMap((template): [string, SourceFigures][] => {
    const figures = figuresOf(judged, (each) => each === template);
    return figures ? [[template, figures]] : [];
  });
  const all = figuresOf(judged, () => true);
  return all && { ...all, templates: Object.fromEntries(templates) };
}

function figuresOf(judged: JudgedHistory, isIn: (template: string) => boolean): SourceFigures | undefined {
  const calls = judged.calls.filter(({ call }) => isIn(call.stage.template));
  const known = calls.filter((call): call is KnownCall => call.outputTokens !== undefined);
  if (known.length === 0) return undefined;
  const sources: Record<string, number> = {};
  for (const { prediction } of calls) sources[prediction.source] = (sources[prediction.source] ?? 0) + 1;
  return {
    calls: calls.length,
    length: lengthFigures(known),
    baselines: baselines(known),
    tool: toolFigures(calls),
    coverage: coverage(known),
    reservation: reservations(known),
    remaining: remaining(calls, judged.workflowEndMs),
    nextRole: nextRole(judged.steps.filter(({ template }) => isIn(template))),
    sources,
  };
}

function lengthFigures(calls: readonly KnownCall[]): LengthFigures {
  const truth = calls.map(({ outputTokens }) => outputTokens);
  const at = (q: 'q30' | 'q50' | 'q95') => calls.map(({ prediction }) => prediction.outputTokens[q]);
  const median = at('q50');
  return {
    calls: calls.length,
    mae: meanAbsoluteError(median, truth),
    pinball: {
      q30: pinballLoss(0.3, at('q30'), truth),
      q50: pinballLoss(0.5, median, truth),
      q95: pinballLoss(0.95, at('q95'), truth),
    },
    rSquared: rSquared(median.map(Math.log1p), truth.map(Math.log1p)),
    kendallTau: kendallTau(median, truth),
  };
}

function baselines(calls: readonly KnownCall[]): Baselines {
  const truth = calls.map(({ outputTokens }) => outputTokens);
  const lookups = mapLookups(
    (name): Baseline => ({
      mae: meanAbsoluteError(
        calls.map((call) => call.lookups[name]),
        truth,
      ),
    }),
  );
  const [name, best] = Object.entries(lookups).reduce((a, b) => (b[1].mae < a[1].mae ? b : a)) as [
    LookupName,
    Baseline,
  ];
  return {
    ...lookups,
    modelAgentPhaseMedian: { mae: phaseError(calls) },
    bestLookup: { name, mae: best.mae },
    ewma: {
      mae: meanAbsoluteError(
        calls.map(({ ewmaTokens }) => ewmaTokens),
        truth,
      ),
    },
  };
}

/** Some sources tell the phase by the role, some by the layer; the baseline gets the benefit of the doubt. */
function phaseError(calls: readonly KnownCall[]): number {
  const sums = new Map<string, { agent: number; layer: number }>();
  for (const { call, lookups, outputTokens } of calls) {
    const sum = sums.get(call.stage.template) ?? { agent: 0, layer: 0 };
    sums.set(call.stage.template, sum);
    sum.agent += Math.abs(lookups.agentMedian - outputTokens);
    sum.layer += Math.abs(lookups.agentLayerMedian - outputTokens);
  }
  return [...sums.values()].reduce((sum, { agent, layer }) => sum + Math.min(agent, layer), 0) / calls.length;
}

function toolFigures(calls: readonly JudgedCall[]): SourceFigures['tool'] {
  const chosen = calls.filter(({ toolCalled }) => toolCalled !== undefined);
  const called = chosen.map(({ toolCalled }) => toolCalled === true);
  const scores = chosen.map(({ prediction }) => prediction.toolProbability);
  return {
    calls: chosen.length,
    share: mean(called.map(Number)),
    auc: areaUnderRoc(scores, called),
    brier: mean(scores.map((score, index) => (score - Number(called[index])) ** 2)),
  };
}

const SETTLED_CALLS = 1000;

function coverage(calls: readonly KnownCall[]): CoverageFigures {
  const roles = new Map<string, { first: KnownCall; calls: number; overflows: number }>();
  const overflows = calls.map((call) => {
    const { template, model, role } = call.call.stage;
    const key = `${template}\n${model}\n${role}`;
    const counts = roles.get(key) ?? { first: call, calls: 0, overflows: 0 };
    roles.set(key, counts);
    const overflowed = Number(call.outputTokens > call.boundTokens);
    counts.calls += 1;
    counts.overflows += overflowed;
    return overflowed;
  });
  const worst = (minCalls: number): RoleCoverage | undefined =>
    [...roles.values()]
      .filter((counts) => counts.calls >= minCalls)
      .map(({ first, calls: count, overflows: over }) => {
        const { template, model, role } = first.call.stage;
        return { template, model, role, calls: count, overflow: over / count };
      })
      .sort((a, b) => b.overflow - a.overflow)[0];
  return {
    overflow: mean(overflows),
    overflowAfter1000: overflows.length > SETTLED_CALLS ? mean(overflows.slice(SETTLED_CALLS)) : undefined,
    worstRole: worst(100),
    worstLargeRole: worst(500),
  };
}

/** One moment of each workflow, drawn by its name: what is left of it there against what was said. */
function remaining(calls: readonly JudgedCall[], endMs: ReadonlyMap<string, number>): SourceFigures['remaining'] {
  const drawn = new Map<string, { call: JudgedCall; draw: number }>();
  for (const call of calls) {
    const { workflowId, stageId } = call.call.stage;
    const draw = unitHash(stageId);
    const known = drawn.get(workflowId);
    if (!known || draw < known.draw) drawn.set(workflowId, { call, draw });
  }
  const moments = [...drawn].map(([workflowId, { call }]) => ({
    truth: endMs.get(workflowId)! - call.call.stage.arrivalMs,
    said: call.prediction.serviceMs + call.prediction.remainingMs,
  }));
  const tau = kendallTau(
    moments.map(({ said }) => said),
    moments.map(({ truth }) => truth),
  );
  return {
    workflows: moments.length,
    pairAccuracy: tau === undefined ? undefined : (1 + tau) / 2,
    maeMs: mean(moments.map(({ truth, said }) => Math.abs(truth - said))),
  };
}

function nextRole(steps: JudgedHistory['steps']): SourceFigures['nextRole'] {
  const found = (ranks: number) => mean(steps.map(({ ranked, next }) => Number(ranked.slice(0, ranks).includes(next))));
  return { calls: steps.length, top1: found(1), top2: found(2) };
}

function mean(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
