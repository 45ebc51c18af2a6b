import { DEFINITIONS } from './definitions.js';
import { engineReports, gpuReports } from './fleet-stats.js';
import { cutWarmup, groupBy, sortedGroups } from './measured.js';
import { missedWorkflows } from './missed.js';
import { requestStats } from './request-stats.js';
import type { Report, RequestGroup, RequestStats, WorkflowGroup } from './schema.js';
import { jainIndex } from './stats.js';
import type { ReportClass, ReportInput, StageRecord, WorkflowRecord } from './types.js';
import { slowdownOf, workflowStats } from './workflow-stats.js';

/** All numbers of the report. Pure: equal inputs give equal reports. */
export function buildReport(input: ReportInput): Report {
  const measured = cutWarmup(input);
  const { workflows, stages, measuredMs } = measured;
  const targets = new Map(input.classes.map((sloClass) => [sloClass.name, sloClass]));
  const statsOfStages = (some: readonly StageRecord[]) => requestStats(some, targets);
  const statsOfWorkflows = (some: readonly WorkflowRecord[]) => workflowStats(some, measured);

  const requests = statsOfStages(stages);
  const stageGroups = (key: (stage: StageRecord) => string | undefined): RequestGroup[] =>
    sortedGroups(stages, key).map(([name, some]) => ({ name, ...statsOfStages(some) }));
  const workflowGroups = (key: (workflow: WorkflowRecord) => string): WorkflowGroup[] =>
    sortedGroups(workflows, key).map(([name, some]) => ({ name, ...statsOfWorkflows(some) }));

  const tenants = workflowGroups((workflow) => workflow.tenant);
  const slowdowns = workflows.map(slowdownOf).filter((slowdown) => slowdown !== undefined);
  const coldStages = stages.filter((stage) => (stage.coldStartMs ?? 0) > 0);
  const { fleet } = input;

  return {
    kind: 'maestro-slo-report',
    schemaVersion: 1,
    title: input.title,
    subtitle: input.subtitle ?? null,
    run: {
      command: input.command,
      seed: input.seed ?? null,
      machine: input.machine,
      startedAt: input.startedAt,
      timeScale: input.timeScale,
      trace: input.trace,
      policies: [...groupBy(stages, (stage) => stage.policy).keys()].sort(),
      durationMs: input.durationMs,
      warmupMs: input.warmupMs,
      measuredMs,
      warmupWorkflows: input.workflows.length - workflows.length,
      notes: [...input.notes],
    },

    ...benchmarkFields(requests, measuredMs / 1000),

    overall: { ...statsOfWorkflows(workflows), requests },
    classes: classesOf(input, workflows, stages).map((sloClass) => ({
      ...targetsOf(sloClass),
      ...statsOfWorkflows(workflows.filter((workflow) => workflow.sloClass === sloClass.name)),
      requests: statsOfStages(stages.filter((stage) => stage.sloClass === sloClass.name)),
    })),
    templates: workflowGroups((workflow) => workflow.template),
    tenants,
    fairness: {
      jainSlowdown: jainIndex(slowdowns) ?? null,
      jainTenantAttainment: jainIndex(tenants.map((tenant) => tenant.attainment ?? 0)) ?? null,
    },
    models: stageGroups((stage) => stage.model),
    roles: stageGroups((stage) => stage.role),
    nodes: stageGroups((stage) => stage.node),
    engines: stageGroups((stage) => stage.engine),
    coldStarts: {
      fleetCount: fleet?.coldStarts?.count ?? null,
      fleetRequestSeconds: fleet?.coldStarts?.requestSeconds ?? null,
      stages: coldStages.length,
      requestSeconds: coldStages.reduce((sum, stage) => sum + stage.coldStartMs!, 0) / 1000,
    },
    kv: fleet?.kv ? kvReport(fleet.kv) : null,
    preemptions: fleet?.preemptions ?? null,
    outcomes: Object.fromEntries(
      sortedGroups(stages, (stage) => stage.outcome).map(([name, some]) => [name, some.length]),
    ),
    fleetOutcomes: fleet?.outcomes ? { ...fleet.outcomes } : null,
    fleet: { engines: engineReports(input), gpus: gpuReports(input) },
    missed: missedWorkflows(measured, input.durationMs),
    definitions: DEFINITIONS,
  };
}

type SomeClass = { name: string } & Partial<ReportClass>;

/** The fields that `vllm bench serve` writes, under its names. */
function benchmarkFields(requests: RequestStats, seconds: number) {
  const perSecond = (amount: number): number | null => (seconds > 0 ? amount / seconds : null);
  return {
    duration: seconds,
    completed: requests.stagesCompleted,
    failed: requests.stages - requests.stagesCompleted,
    total_input_tokens: requests.promptTokens,
    total_output_tokens: requests.outputTokens,
    request_throughput: perSecond(requests.stagesCompleted),
    request_goodput: perSecond(requests.stagesGood),
    output_throughput: perSecond(requests.outputTokens),
    total_token_throughput: perSecond(requests.promptTokens + requests.outputTokens),
    mean_ttft_ms: requests.ttftMs.mean,
    median_ttft_ms: requests.ttftMs.p50,
    std_ttft_ms: requests.ttftMs.std,
    p90_ttft_ms: requests.ttftMs.p90,
    p95_ttft_ms: requests.ttftMs.p95,
    p99_ttft_ms: requests.ttftMs.p99,
    mean_tpot_ms: requests.tpotMs.mean,
    median_tpot_ms: requests.tpotMs.p50,
    std_tpot_ms: requests.tpotMs.std,
    p90_tpot_ms: requests.tpotMs.p90,
    p95_tpot_ms: requests.tpotMs.p95,
    p99_tpot_ms: requests.tpotMs.p99,
    mean_itl_ms: requests.itlMs.mean,
    median_itl_ms: requests.itlMs.p50,
    std_itl_ms: requests.itlMs.std,
    p90_itl_ms: requests.itlMs.p90,
    p95_itl_ms: requests.itlMs.p95,
    p99_itl_ms: requests.itlMs.p99,
    mean_e2el_ms: requests.e2elMs.mean,
    median_e2el_ms: requests.e2elMs.p50,
    std_e2el_ms: requests.e2elMs.std,
    p90_e2el_ms: requests.e2elMs.p90,
    p95_e2el_ms: requests.e2elMs.p95,
    p99_e2el_ms: requests.e2elMs.p99,
  };
}

/** The name of a class, and what it asks for. */
function targetsOf({ name, kind, deadlineMs, ttftMs, tpotMs }: SomeClass) {
  return {
    name,
    kind: kind ?? null,
    deadlineMs: deadlineMs ?? null,
    ttftTargetMs: ttftMs ?? null,
    tpotTargetMs: tpotMs ?? null,
  };
}

/** The classes of the input in their order, then any other that the records name. */
function classesOf(
  input: ReportInput,
  workflows: readonly WorkflowRecord[],
  stages: readonly StageRecord[],
): SomeClass[] {
  const known = new Set(input.classes.map((sloClass) => sloClass.name));
  const named = new Set([...workflows, ...stages].map((record) => record.sloClass));
  const others = [...named].filter((name) => !known.has(name)).sort();
  return [...input.classes, ...others.map((name) => ({ name }))];
}

function kvReport(kv: NonNullable<NonNullable<ReportInput['fleet']>['kv']>): NonNullable<Report['kv']> {
  const ratio = (part: number, whole: number): number | null => (whole > 0 ? part / whole : null);
  const reservedOverMaxToken = ratio(kv.reservedByteSeconds, kv.maxTokenByteSeconds);
  return {
    unit: kv.unit ?? 'bytes',
    reservedByteSeconds: kv.reservedByteSeconds,
    maxTokenByteSeconds: kv.maxTokenByteSeconds,
    usedByteSeconds: kv.usedByteSeconds,
    reservedOverMaxToken,
    reservedOverUsed: ratio(kv.reservedByteSeconds, kv.usedByteSeconds),
    savedAgainstMaxToken: reservedOverMaxToken === null ? null : 1 - reservedOverMaxToken,
    nodeOverflowRate: kv.nodeOverflowRate ?? null,
  };
}
