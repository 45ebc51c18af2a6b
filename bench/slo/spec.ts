import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';
import { DEADLINE_RULES } from '../../sim/workload.js';

const perSize = <T extends z.ZodType>(schema: T) => z.strictObject({ quick: schema, full: schema });
const positive = z.number().positive();

const sloSpecSchema = z.strictObject({
  loads: z.array(positive).min(1),
  deadlineRules: z.array(z.enum(DEADLINE_RULES)).min(1),
  firstSeed: z.int(),
  seeds: perSize(z.int().min(1)),
  warmupShare: z.number().min(0).max(0.9),
  portfolioCpuShare: positive,
  workloads: z
    .array(
      z.strictObject({
        name: z.string(),
        about: z.string(),
        /** How the workload is composed, and the fleet that serves it: files beside the spec. */
        spec: z.string(),
        fleet: z.string(),
        /** Speed of the arrivals, relative to the composed trace, that is load 1. */
        capacitySpeed: positive,
        /** The traffic so many times on end: the length of the run; 0 leaves it out. */
        repeat: perSize(z.int().min(0)),
      }),
    )
    .min(1),
  variantLoads: z.array(positive),
});

export type SloSpec = z.infer<typeof sloSpecSchema>;

export const SLO_FOLDER = dirname(fileURLToPath(import.meta.url));

export function readSpec(): SloSpec {
  return sloSpecSchema.parse(parse(readFileSync(join(SLO_FOLDER, 'slo.yaml'), 'utf8')));
}
