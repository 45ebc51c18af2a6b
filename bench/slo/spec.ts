import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';
import { DEADLINE_RULES } from '../../sim/workload.js';

const perSize = <T extends z.ZodType>(schema: T) => z.strictObject({ quick: schema, full: schema });
const positive = z.number().positive();

/** What all workloads share. */
const common = {
  name: z.string(),
  about: z.string(),
  /** Round trip between the scheduler and each cluster of the fleet, milliseconds; 0 where none is given. */
  rttMs: z.record(z.string(), z.number().min(0)).default({}),
  /** Instead of those of the benchmark, where a run costs more than others. */
  policies: z.array(z.string()).min(1).optional(),
  /** The fleet that serves it: a file beside the spec. */
  fleet: z.string(),
};

/** Traffic that stays what it is, at several loads. */
const steadySchema = z.strictObject({
  ...common,
  /** How the workload is composed: a file beside the spec. */
  spec: z.string(),
  /** Speed of the arrivals, relative to the composed trace, that is load 1. */
  capacitySpeed: positive,
  /** The traffic so many times on end: the length of the run; 0 leaves it out. */
  repeat: perSize(z.int().min(0)),
});

/** Traffic that changes in the middle of the run; played at load 1, which is as its phases say. */
const changingSchema = z.strictObject({
  ...common,
  /** Does the short form have it? */
  quick: z.boolean(),
  phases: z
    .array(
      z.strictObject({
        /** What the traffic is; phases of the same traffic say the same. */
        about: z.string(),
        spec: z.string(),
        capacitySpeed: positive,
        /** Of the fleet's capacity for the traffic of this phase. */
        load: positive,
        minutes: z.int().min(1),
      }),
    )
    .min(2),
});

const sloSpecSchema = z.strictObject({
  loads: z.array(positive).min(1),
  deadlineRules: z.array(z.enum(DEADLINE_RULES)).min(1),
  firstSeed: z.int(),
  seeds: perSize(z.int().min(1)),
  warmupShare: z.number().min(0).max(0.9),
  portfolioCpuShare: perSize(positive),
  workloads: z.array(z.union([steadySchema, changingSchema])).min(1),
  variantLoads: z.array(positive),
  /** Fleet and traffic so many times, at one load under the class rule. */
  scale: z.strictObject({ load: positive, times: z.array(z.int().min(1)), policies: z.array(z.string()) }),
});

export type SloSpec = z.infer<typeof sloSpecSchema>;
export type WorkloadSpec = SloSpec['workloads'][number];
/** The benchmark at its full length, or its short form. */
export type Size = 'quick' | 'full';

/** Does this form of the benchmark have the workload? */
export function runsIn(workload: WorkloadSpec, size: Size): boolean {
  return 'phases' in workload ? size === 'full' || workload.quick : workload.repeat[size] > 0;
}

export const SLO_FOLDER = dirname(fileURLToPath(import.meta.url));

export function readSpec(): SloSpec {
  return sloSpecSchema.parse(parse(readFileSync(join(SLO_FOLDER, 'slo.yaml'), 'utf8')));
}
