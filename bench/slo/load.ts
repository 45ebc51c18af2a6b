import { join } from 'node:path';
import { composePhases } from '../../sim/sweep/phases.js';
import { repeatWorkflows } from '../../sim/sweep/repeat.js';
import { type NamedWorkload, sweepWorkload } from '../../src/cli/sweep-workload.js';
import { loadConfig } from '../../src/config/load.js';
import { composeFile } from '../../traces/compose/compose.js';
import type { Shrunk } from '../../traces/compose/shrink.js';
import type { TraceFolder } from './sources.js';
import { type Size, SLO_FOLDER, type SloSpec, type WorkloadSpec } from './spec.js';

/** Traffic on its fleet; with what it is smaller than its spec where traces are short. */
export type Workload = NamedWorkload & { readonly shrunk?: Shrunk };

/** A workload as it is played. Load 1 is as the spec says, unless `capacity` finds what it is for this traffic. */
export async function loadWorkload(
  workload: WorkloadSpec,
  spec: SloSpec,
  size: Size,
  folder: TraceFolder,
  capacity: (traffic: Workload) => number = ({ capacitySpeed }) => capacitySpeed,
): Promise<Workload> {
  const found = new Map<string, number>();
  const parts = (await trafficOf(workload, spec, size, folder)).map((traffic) => {
    if (!found.has(traffic.about)) found.set(traffic.about, capacity(traffic));
    return { ...traffic, capacitySpeed: found.get(traffic.about)! };
  });
  const traffic = parts[0]!;
  if (!('phases' in workload)) {
    return { ...traffic, workflows: repeatWorkflows(traffic.workflows, Math.max(1, workload.repeat[size])) };
  }
  const composed = composePhases(
    workload.phases.map(({ about, load, minutes }, index) => {
      const { workflows, capacitySpeed } = parts[index]!;
      return { about, workflows, capacitySpeed, load, minutes };
    }),
  );
  const shrunk = parts.find((part) => part.shrunk !== undefined)?.shrunk;
  return { ...traffic, ...composed, ...(shrunk ? { shrunk } : {}), about: workload.about, capacitySpeed: 1 };
}

/** The traffic of each part of a workload on its fleet, once. */
export async function trafficOf(
  workload: WorkloadSpec,
  spec: SloSpec,
  size: Size,
  { open, foreign }: TraceFolder,
): Promise<Workload[]> {
  const { name, rttMs } = workload;
  const config = loadConfig(join(SLO_FOLDER, workload.fleet));
  const { warmupShare } = spec;
  const portfolioCpuShare = spec.portfolioCpuShare[size];
  const parts = 'phases' in workload ? workload.phases : [workload];
  const composed = new Map(
    [...new Set(parts.map((part) => part.spec))].map((file) => [
      file,
      composeFile(join(SLO_FOLDER, file), { open, shrink: foreign }),
    ]),
  );
  return await Promise.all(
    parts.map(async ({ about, spec: file, capacitySpeed }) => {
      const { rows, shrunk } = await composed.get(file)!;
      const traffic = sweepWorkload({
        ...{ name, about, rows, rttMs, config, capacitySpeed, warmupShare, portfolioCpuShare },
        modelMap: new Map(),
      });
      if (shrunk === undefined) return traffic;
      // Of fewer workflows more rounds: runs stay as long as the spec wants them.
      return { ...traffic, workflows: repeatWorkflows(traffic.workflows, Math.round(1 / shrunk.share)), shrunk };
    }),
  );
}
