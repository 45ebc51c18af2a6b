import { z } from 'zod';

const nullable = z.number().nullable();
const count = z.int().nonnegative();
const share = z.number().min(0).max(1).nullable();

const distribution = z
  .object({
    count: count,
    mean: nullable,
    std: nullable,
    min: nullable,
    p50: nullable,
    p90: nullable,
    p95: nullable,
    p99: nullable,
    max: nullable,
  })
  .describe('Statistics of a set of numbers; null when nothing was measured.');

const phases = z
  .object({
    queue: z.number(),
    coldStart: z.number(),
    prefill: z.number(),
    decode: z.number(),
    outside: z.number(),
  })
  .describe('Milliseconds by phase; outside is time in which no stage was under way (tools, thinking).');

const requestStats = {
  stages: count.describe('Requests sent.'),
  stagesCompleted: count,
  stagesGood: count.describe('Completed requests within the TTFT and TPOT targets of their class.'),
  promptTokens: count,
  outputTokens: count,
  cachedPromptShare: share.describe('Prompt tokens found in a prefix cache, of those requests that report it.'),
  ttftMs: distribution,
  tpotMs: distribution,
  itlMs: distribution,
  e2elMs: distribution,
  queueMs: distribution,
  coldStartMs: distribution.describe('Of the requests that waited for weights only.'),
};

const workflowStats = {
  workflows: count.describe('Workflows that arrived after the warm-up.'),
  completed: count,
  failed: count.describe('Ended without being completed.'),
  unfinished: count.describe('Still under way when the run ended.'),
  met: count.describe('Completed within the deadline.'),
  attainment: share.describe('met / workflows.'),
  throughputPerSecond: nullable.describe('Completed workflows per second of the measured window.'),
  goodputPerSecond: nullable.describe('Workflows within their deadline per second of the measured window.'),
  durationMs: distribution.describe('Arrival to end, completed workflows only.'),
  slowdown: distribution.describe('Duration / duration alone on an idle, warm fleet; completed workflows only.'),
  meanPhasesMs: phases.nullable().describe('Mean over the workflows that ended.'),
};

const workflowGroup = z.object({ name: z.string(), ...workflowStats });
const requestGroup = z.object({ name: z.string(), ...requestStats });

const classReport = z.object({
  name: z.string(),
  kind: z.enum(['interactive', 'batch']).nullable(),
  deadlineMs: nullable,
  ttftTargetMs: nullable,
  tpotTargetMs: nullable,
  ...workflowStats,
  requests: z.object(requestStats),
});

const engineReport = z.object({
  nodeId: z.string(),
  engineId: z.string(),
  model: z.string(),
  stateShare: z.record(z.string(), z.number()).describe('Share of the observed time in each state.'),
  stateChanges: count,
  meanRunning: z.number(),
  maxRunning: z.number(),
  meanWaiting: z.number(),
  maxWaiting: z.number(),
  meanKvReservedTokens: z.number(),
  meanKvUsedTokens: z.number(),
  maxKvReservedTokens: z.number(),
  kvPoolTokens: nullable.describe('Largest pool seen.'),
});

const gpuReport = z.object({
  nodeId: z.string(),
  gpu: count,
  totalBytes: z.number(),
  meanUsedBytes: z.number(),
  maxUsedBytes: z.number(),
});

const missedWorkflow = z.object({
  workflowId: z.string(),
  template: z.string(),
  tenant: z.string(),
  sloClass: z.string(),
  result: z.enum(['met', 'late', 'failed', 'unfinished']),
  arrivalMs: z.number(),
  deadlineMs: z.number().describe('Allowance after the arrival.'),
  durationMs: z.number().describe('Until its end, or the end of the run.'),
  overdueRatio: z.number().describe('duration / allowance.'),
  slowdown: nullable,
  stages: count,
  phasesMs: phases,
  why: z.string(),
});

const definition = z.object({ metric: z.string(), unit: z.string(), meaning: z.string() });

/** Mean, median, std and tails of one latency under the names of `vllm bench serve`. */
function latencyNames<const M extends string>(metric: M) {
  const names = ['mean', 'median', 'std', 'p90', 'p95', 'p99'] as const;
  return Object.fromEntries(names.map((name) => [`${name}_${metric}_ms`, nullable])) as Record<
    `${(typeof names)[number]}_${M}_ms`,
    typeof nullable
  >;
}

/**
 * `report.json`: the result names of `vllm bench serve` at the top level, over all measured requests, and Maestro's own
 * sections beside them. Durations end in `Ms`, except vLLM's `duration`, which is in seconds as it is there.
 */
export const reportSchema = z
  .object({
    kind: z.literal('maestro-slo-report'),
    schemaVersion: z.literal(1),
    title: z.string(),
    subtitle: z.string().nullable(),
    run: z.object({
      command: z.string(),
      seed: nullable,
      machine: z.string(),
      startedAt: z.string().nullable().describe('Null where the run was simulated.'),
      timeScale: z.number(),
      trace: z.string(),
      policies: z.array(z.string()).describe('Ordering policies named by the answers.'),
      durationMs: z.number(),
      warmupMs: z.number(),
      measuredMs: z.number().describe('Run without warm-up; the denominator of every rate.'),
      warmupWorkflows: count.describe('Workflows cut with the warm-up.'),
      notes: z.array(z.string()),
    }),

    duration: z.number(),
    completed: count,
    failed: count,
    total_input_tokens: count,
    total_output_tokens: count,
    request_throughput: nullable,
    request_goodput: nullable,
    output_throughput: nullable,
    total_token_throughput: nullable,
    ...latencyNames('ttft'),
    ...latencyNames('tpot'),
    ...latencyNames('itl'),
    ...latencyNames('e2el'),

    overall: z.object({ ...workflowStats, requests: z.object(requestStats) }),
    classes: z.array(classReport),
    templates: z.array(workflowGroup),
    tenants: z.array(workflowGroup),
    fairness: z.object({
      jainSlowdown: nullable.describe("Jain's index of the completed workflows' slowdowns."),
      jainTenantAttainment: nullable.describe("Jain's index of the tenants' attainments."),
    }),
    models: z.array(requestGroup),
    roles: z.array(requestGroup),
    nodes: z.array(requestGroup),
    engines: z.array(requestGroup),
    coldStarts: z.object({
      fleetCount: nullable.describe('Wakes and loads that the fleet counted over the whole run.'),
      fleetRequestSeconds: nullable.describe('Seconds that requests waited for them, whole run.'),
      stages: count.describe('Measured requests that waited for weights.'),
      requestSeconds: z.number(),
    }),
    kv: z
      .object({
        unit: z
          .enum(['bytes', 'tokens'])
          .describe(
            '`tokens`: the next three are token-seconds, for the engines do not say how many bytes a token takes.',
          ),
        reservedByteSeconds: z.number(),
        maxTokenByteSeconds: z.number(),
        usedByteSeconds: z.number(),
        reservedOverMaxToken: nullable,
        reservedOverUsed: nullable,
        savedAgainstMaxToken: nullable.describe('1 − reserved / max-token.'),
        nodeOverflowRate: nullable,
      })
      .nullable(),
    preemptions: nullable,
    outcomes: z.record(z.string(), count).describe('Measured requests by outcome, as clients saw them.'),
    fleetOutcomes: z.record(z.string(), z.number()).nullable().describe('As the server counted, whole run.'),
    fleet: z.object({ engines: z.array(engineReport), gpus: z.array(gpuReport) }),
    missed: z.array(missedWorkflow).describe('Missed workflows, then the slowest, worst first; at most 25.'),
    definitions: z.array(definition),
  })
  .describe('SLO report of one run. Times are emulated where timeScale is not 1.');

export type Report = z.infer<typeof reportSchema>;
export type ClassReport = z.infer<typeof classReport>;
export type RequestStats = Report['overall']['requests'];
export type WorkflowStats = Omit<Report['overall'], 'requests'>;
export type RequestGroup = z.infer<typeof requestGroup>;
export type WorkflowGroup = z.infer<typeof workflowGroup>;
export type EngineReport = z.infer<typeof engineReport>;
export type GpuReport = z.infer<typeof gpuReport>;
export type MissedWorkflow = z.infer<typeof missedWorkflow>;

/** The JSON Schema (draft 2020-12) of `report.json`. */
export function reportJsonSchema(): z.core.JSONSchema.JSONSchema {
  return z.toJSONSchema(reportSchema);
}
