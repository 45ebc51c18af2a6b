import { z } from 'zod';
import { type NodeVariant, PLACEMENTS, RESERVATIONS } from '../types.js';
import { DEADLINE_RULES } from '../workload.js';

const share = z.number().min(0).max(1);
const count = z.int().min(0);
const amount = z.number().min(0);
const estimate = z
  .strictObject({ mean: z.number(), ci95: amount })
  .describe('Mean over the seeds, and half the width of its 95 % interval; 0 for one seed.');
const byClass = <T extends z.ZodType>(value: T) => z.record(z.string(), value);
const curve = z.array(share).describe('One for each of slowdownPoints.');

const cell = {
  ...{ workload: z.string(), deadlineRule: z.enum(DEADLINE_RULES) },
  policy: z.string().describe('Those with foresight are named oracle-* or clairvoyant*.'),
  load: amount.describe('1 is the capacity of the fleet for this traffic.'),
  ...{ placement: z.enum(PLACEMENTS), reservation: z.enum(RESERVATIONS), prediction: z.string() },
  node: z
    .strictObject({
      ...{ weights: z.string(), retention: z.string(), prefetch: z.boolean(), firstSleep: z.boolean() },
      ...{ elasticKv: z.boolean(), pooledKv: z.boolean(), staging: z.boolean(), coLocation: z.boolean() },
    } satisfies Record<keyof NodeVariant, z.ZodType>)
    .partial()
    .optional()
    .describe('What differs from the nodes as they are live.'),
  prior: z.string().optional().describe('Ordering that the self-tuning begins with, where it is not its own.'),
  scale: z.int().optional().describe('The fleet and its traffic so many times; once where absent.'),
};

const run = z.strictObject({
  ...cell,
  seed: z.int(),
  workflows: count.describe('Workflows that count: those that arrived after the warm-up.'),
  ...{ attainment: share, attainmentByClass: byClass(share) },
  bound: share.describe('No policy can have more in time on this traffic: a relaxed bound, see docs/benchmark.md.'),
  goodputPerSecond: amount.describe(
    'Workflows in time, by the seconds between the end of the warm-up and the last arrival: attainment times the rate of the traffic.',
  ),
  goodputPerGpuHour: amount,
  goodputPerDollar: amount.optional().describe('Absent where a GPU of the fleet has no stated price.'),
  kv: z.strictObject({
    ...{ reservedByteSeconds: amount, maxTokenByteSeconds: amount, usedByteSeconds: amount },
    nodeOverflowRate: share.describe('Windows of a node in which true use exceeded what was reserved.'),
  }),
  coldStarts: z.strictObject({ count, requestSeconds: amount }),
  slowdown: z
    .strictObject({ p50: amount, p99: amount, max: amount, cdf: curve })
    .describe('Over the isolated time. p50, p99 and max of completed workflows; cdf as a share of all.'),
  worstWaitSecondsByClass: byClass(amount).describe(
    'Wait beyond the isolated time that the worst 1 % exceed; what never completed waited until the end of the run.',
  ),
  preemptions: count,
  fairness: share.describe("Jain's index over the attainment of tenants."),
  ...{ cachedShare: share, simulatedSeconds: count, stages: count },
  tuning: z
    .strictObject({ evaluations: count, switches: count, chosen: z.string() })
    .optional()
    .describe('What the self-tuning did; only where the policy is maestro. `chosen` served at the end.'),
  minutes: z
    .strictObject({ arrived: z.array(count), inTime: z.array(count) })
    .optional()
    .describe('Workflows by minute of arrival, the warm-up too; where the traffic changes in the middle of the run.'),
});

const summary = z.strictObject({
  ...cell,
  seeds: count,
  ...{ attainment: estimate, bound: estimate, attainmentByClass: byClass(estimate) },
  ...{ goodputPerSecond: estimate, goodputPerGpuHour: estimate, goodputPerDollar: estimate.optional() },
  ...{ reservedOfMaxToken: estimate, reservedOfUsed: estimate, nodeOverflowRate: estimate },
  ...{ coldStartSeconds: estimate, slowdownP50: estimate, slowdownP99: estimate, slowdownMax: estimate },
  ...{ slowdownCdf: curve, worstWaitSecondsByClass: byClass(estimate) },
  ...{ preemptions: estimate, cachedShare: estimate, fairness: estimate },
});

const workload = z.strictObject({
  ...{ name: z.string(), about: z.string(), workflows: count, stages: count },
  templates: z.record(z.string(), count),
  ...{ nodes: count, gpus: count, dollarsPerHour: amount.optional(), engines: count, models: z.array(z.string()) },
  capacitySpeed: amount.describe("Speed of the trace's arrivals that is load 1."),
  capacityPerHour: amount.describe('Workflows an hour that arrive at load 1.'),
  phases: z
    .array(z.strictObject({ about: z.string(), load: amount, fromMinute: count, toMinute: count }))
    .optional()
    .describe('Where the traffic changes; load 1 is then what the phases say, each of its own capacity.'),
});

const change = z.strictObject({
  ...{ workload: z.string(), deadlineRule: z.enum(DEADLINE_RULES), policy: z.string() },
  phase: count.describe('From 1.'),
  ...{ attainment: share, attainmentAtFirst: share },
  attainmentLater: share.nullable().describe('After the first minutes; null where the phase has no more.'),
  best: z.string().describe('The policy that serves with the largest attainmentLater.'),
  backAfterMinutes: count
    .nullable()
    .describe('From this minute of the phase on it is on average no more than a point behind the best; null: never.'),
});

const times = z.array(count);
const losses = z.strictObject({
  ...{ workload: z.string(), deadlineRule: z.enum(DEADLINE_RULES), load: amount, seed: z.int() },
  ...{ minute: count, arrived: count.describe('Workflows that arrived in the minute.') },
  sides: z.array(
    z.strictObject({
      ...{ policy: z.string(), missed: count },
      workflows: z.array(
        z.strictObject({
          ...{ workflowId: z.string(), sloClass: z.string(), arrivalMs: count, deadlineMs: count },
          ...{ endMs: count.nullable(), met: z.boolean() },
          calls: z.array(times.length(4)).describe('Of each call when it was sent, taken by an engine, served, ended.'),
        }),
      ),
    }),
  ),
  differences: z.array(
    z.strictObject({
      ...{ workflowId: z.string(), sloClass: z.string(), template: z.string(), winner: z.string() },
      fates: z.record(z.string(), z.string()).describe('What became of it under each policy.'),
    }),
  ),
});

/** `report.json` of `maestro sim` and `npm run bench:slo`. */
export const sweepReportSchema = z
  .strictObject({
    ...{ kind: z.literal('maestro-sweep'), version: z.literal(4), title: z.string(), command: z.string() },
    ...{ workloads: z.array(workload), notes: z.array(z.string()) },
    slowdownPoints: z.array(amount).describe('The slowdowns at which every distribution is stated.'),
    runs: z.array(run).describe('The main comparison: one for each workload × rule × policy × load × seed.'),
    cells: z.array(summary).describe('runs over their seeds.'),
    changes: z.array(change).describe('What became of each policy in each phase of workloads that have phases.'),
    losses: z.array(losses).describe('A minute of each workload in which maestro and edf differ most.'),
    ...{
      ablations: z.array(run),
      retention: z.array(run),
      noise: z.array(run),
      placement: z.array(run),
      scale: z.array(run),
    },
  })
  .describe('Report of maestro sim and of the SLO benchmark. Shares from 0 to 1.');

/** The schema as a JSON Schema document; docs/schemas/sweep-report.json is this. */
export function sweepReportJsonSchema(): object {
  return z.toJSONSchema(sweepReportSchema, { reused: 'ref' });
}
