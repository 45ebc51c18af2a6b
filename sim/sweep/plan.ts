import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { codeDigest } from './code-digest.js';
import { factsOf, type WorkloadFacts } from './facts.js';
import type { SweepCell, SweepWorkload } from './types.js';

/** Where the row of a cell stands in the report. */
export const REPORT_PARTS = ['runs', 'ablations', 'retention', 'noise', 'placement', 'scale'] as const;
export type ReportPart = (typeof REPORT_PARTS)[number];

export interface PlannedCell extends SweepCell {
  readonly part: ReportPart;
}

/** Everything about a sweep but its results: plain data that any shard of it writes down and that the report is built from. */
export interface SweepPlan {
  /** Equal for sweeps that give equal results: a digest of the workloads, the cells, the models that they load and the code. */
  readonly key: string;
  readonly title: string;
  /** The command, without what does not change the results. */
  readonly command: string;
  readonly workloads: readonly WorkloadFacts[];
  readonly notes: readonly string[];
  readonly cells: readonly PlannedCell[];
}

export function planSweep(
  about: Pick<SweepPlan, 'title' | 'command' | 'notes'>,
  workloads: readonly (SweepWorkload & { readonly about: string })[],
  cells: readonly PlannedCell[],
): SweepPlan {
  const digest = createHash('sha256').update(codeDigest());
  for (const workload of workloads) digest.update(JSON.stringify(workload));
  digest.update(JSON.stringify(cells));
  const models = cells.flatMap(({ prediction }) => (prediction.kind === 'model' ? [prediction.path] : []));
  for (const path of new Set(models)) digest.update(readFileSync(path));
  const { title, command, notes } = about;
  return { key: digest.digest('hex').slice(0, 16), title, command, workloads: workloads.map(factsOf), notes, cells };
}
