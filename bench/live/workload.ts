import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import type { MaestroConfig } from '../../src/config/schema.js';
import { composeFile } from '../../traces/compose/compose.js';
import type { TraceRow } from '../../traces/schema.js';
import { groupWorkflows } from '../../traces/workflow.js';
import type { FleetFile } from './targets.js';

const FOLDER = dirname(fileURLToPath(import.meta.url));
const FLEET_PATH = join(FOLDER, 'fleet.yaml');

export interface Workload {
  /** At load 1. */
  readonly rows: readonly TraceRow[];
  readonly config: MaestroConfig;
  readonly fleet: FleetFile;
}

/** The trace of `workload.yaml` and the fleet of `fleet.yaml`. */
export async function readWorkload(limitWorkflows?: number, seed?: number): Promise<Workload> {
  const { rows } = await composeFile(join(FOLDER, 'workload.yaml'), { seed });
  const workflows = groupWorkflows(rows).sort((a, b) => a.arrivalMs! - b.arrivalMs!);
  return {
    rows: workflows.slice(0, limitWorkflows).flatMap((workflow) => workflow.rows),
    config: loadConfig(FLEET_PATH),
    fleet: parse(readFileSync(FLEET_PATH, 'utf8')) as FleetFile,
  };
}

/** The same workflows, arriving `load` times as fast; what happens inside them keeps its times. */
export function atLoad(rows: readonly TraceRow[], load: number): TraceRow[] {
  return groupWorkflows(rows).flatMap((workflow) => {
    const earlierMs = workflow.arrivalMs! - workflow.arrivalMs! / load;
    return workflow.rows.map((row) =>
      row.timestamp === undefined ? row : { ...row, timestamp: Math.max(0, Math.round(row.timestamp - earlierMs)) },
    );
  });
}

/** Arrival of the last workflow, milliseconds. */
export function lastArrivalMs(rows: readonly TraceRow[]): number {
  return groupWorkflows(rows).reduce((last, { arrivalMs = 0 }) => Math.max(last, arrivalMs), 0);
}
