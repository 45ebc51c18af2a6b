import { type PlannedCell, REPORT_PARTS, type ReportPart } from '../../sim/sweep/plan.js';
import type { SweepCell } from '../../sim/sweep/types.js';
import { PLACEMENTS } from '../../sim/types.js';
import { PORTFOLIO_PRIOR } from '../../src/global/order/maestro.js';
import { ORACLE_POLICIES, ORDERING_POLICIES } from '../../src/global/order/registry.js';
import { RETENTION_RULE_NAMES } from '../../src/global/retention/rules.js';
import type { Size, SloSpec, WorkloadSpec } from './spec.js';

const PLAIN = {
  placement: 'maestro',
  reservation: 'predicted',
  prediction: { kind: 'online' },
} as const satisfies Partial<SweepCell>;

/** Relative, as the plan must be the same on every machine that runs a shard of it; npm runs scripts at the root. */
const DEFAULT_MODEL = 'models/default/model.onnx';

/**
 * Changes to a run of `maestro`, one at a time; the first row of each part is `maestro` as it is. What each is worth is the difference to that row; docs/benchmark.md says
 * how each is switched off in a live system.
 */
const VARIANTS: readonly (readonly [part: ReportPart, change: Partial<SweepCell>])[] = [
  ['ablations', {}],
  // The portfolio: the ordering that the self-tuning begins with, for good.
  ['ablations', { policy: PORTFOLIO_PRIOR.name }],
  // The same with one order for both kinds of class.
  ['ablations', { policy: 'edf-sjf-late-last' }],
  // What self-tuning makes of an ordering that does not fit the traffic.
  ['ablations', { prior: 'edf' }],
  ['ablations', { policy: 'edf' }],
  ['ablations', { prior: 'fcfs' }],
  // Relegation: the same without putting what is late last.
  ['ablations', { policy: 'edf-sjf' }],
  // Ordering.
  ['ablations', { policy: 'fcfs' }],
  ['ablations', { placement: 'least-loaded' }],
  ['ablations', { reservation: 'max-tokens' }],
  ['ablations', { prediction: { kind: 'none' } }],
  // The node level, a line for each of its parts.
  ['ablations', { node: { weights: 'value' } }],
  ['ablations', { node: { weights: 'lfu' } }],
  ['ablations', { node: { prefetch: false } }],
  ['ablations', { node: { firstSleep: false } }],
  ['ablations', { node: { retention: 'none' } }],
  ['ablations', { node: { elasticKv: false } }],
  ['ablations', { node: { pooledKv: false } }],
  ['ablations', { node: { coLocation: false } }],
  // What a plain stack does: the least recently used model goes, the least loaded engine is chosen.
  [
    'ablations',
    { node: { weights: 'lru', prefetch: false, retention: 'none', elasticKv: false }, placement: 'least-loaded' },
  ],
  // What is kept while agents are in a tool call.
  ['retention', {}],
  ...RETENTION_RULE_NAMES.filter((retention) => retention !== 'rent').map(
    (retention) => ['retention', { node: { retention } }] as const,
  ),
  // What each part of the prediction is worth, from nothing to the truth, which is noise of sigma 0.
  ['noise', { prediction: { kind: 'none' } }],
  ['noise', { prediction: { kind: 'role-median' } }],
  ['noise', {}],
  ['noise', { prediction: { kind: 'model', path: DEFAULT_MODEL } }],
  ['noise', { prediction: { kind: 'oracle' } }],
  ...[0.5, 1, 2].map((sigma) => ['noise', { prediction: { kind: 'noise', sigma } }] as const),
  ['noise', { policy: 'fcfs', prediction: { kind: 'none' } }],
  ...PLACEMENTS.flatMap((placement) =>
    (['maestro', 'fcfs'] as const).map((policy) => ['placement', { placement, policy }] as const),
  ),
  ['placement', { reservation: 'max-tokens' }],
  ['placement', { reservation: 'oracle' }],
];

/** Traffic with phases is played as they say. */
const PHASED_LOADS: readonly number[] = [1];

/** All that can be compared. */
export const POLICY_NAMES: readonly string[] = [...ORDERING_POLICIES, ...ORACLE_POLICIES].map(({ name }) => name);

/** What runs where nothing is chosen. */
export function defaultParts(quick: boolean): readonly ReportPart[] {
  return quick ? ['runs'] : REPORT_PARTS;
}

/**
 * Every run of the benchmark: first the comparison of the policies, then what is changed one at a time; the latter not where traffic has phases or a run costs so much
 * that the workload names its policies.
 */
export function cellsOf(
  spec: SloSpec,
  workloads: readonly WorkloadSpec[],
  size: Size,
  /** Undefined: those of the workload. */
  chosen: readonly string[] | undefined,
  parts: readonly ReportPart[],
): PlannedCell[] {
  const seeds = Array.from({ length: spec.seeds[size] }, (_, index) => spec.firstSeed + index);
  const runs = workloads.flatMap((workload) =>
    spec.deadlineRules.flatMap((deadlineRule) =>
      ('phases' in workload ? PHASED_LOADS : spec.loads).flatMap((load) =>
        (chosen ?? workload.policies ?? POLICY_NAMES).flatMap((policy) =>
          seeds.map(
            (seed): PlannedCell => ({
              part: 'runs',
              workload: workload.name,
              deadlineRule,
              policy,
              load,
              seed,
              ...PLAIN,
            }),
          ),
        ),
      ),
    ),
  );
  const variants = workloads.flatMap((workload) =>
    ('phases' in workload || workload.policies ? [] : spec.variantLoads).flatMap((load) =>
      VARIANTS.flatMap(([part, change]) =>
        (part === 'retention' ? spec.deadlineRules : (['class'] as const)).flatMap((deadlineRule) =>
          seeds.map(
            (seed): PlannedCell => ({
              ...{ part, workload: workload.name, deadlineRule, policy: 'maestro', load, seed },
              ...PLAIN,
              ...change,
            }),
          ),
        ),
      ),
    ),
  );
  const scales = workloads.flatMap((workload) =>
    'phases' in workload || workload.policies
      ? []
      : spec.scale.times.flatMap((scale) =>
          spec.scale.policies.flatMap((policy) =>
            seeds.map(
              (seed): PlannedCell => ({
                ...{
                  part: 'scale',
                  workload: workload.name,
                  deadlineRule: 'class',
                  policy,
                  load: spec.scale.load,
                  seed,
                },
                ...PLAIN,
                scale,
              }),
            ),
          ),
        ),
  );
  return [...runs, ...variants, ...scales].filter(({ part }) => parts.includes(part));
}
