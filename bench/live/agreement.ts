/**
 * The emulated fleet behind Maestro against the simulator on the same trace: `npm run bench:agreement [-- --loads 0.5,0.8 --policy NAME --json]`.
 *
 * Both run the same engine model and the same decisions, so agreement says that the bodies around them are right (arrival, think time, prefixes,
 * the way through HTTP), not that the model is.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { WorkflowRecord } from '../../sim/report/types.js';
import { runSimulation } from '../../sim/simulation.js';
import { scenarioOf } from '../../sim/sweep/run-cell.js';
import { WallClock } from '../../src/bus/wall-clock.js';
import { defaultModelPath } from '../../src/cli/package-files.js';
import { sweepWorkload } from '../../src/cli/sweep-workload.js';
import { runReplay } from '../../traces/replay/run.js';
import type { TraceRow } from '../../traces/schema.js';
import { count, orEnd, positive, scriptFlags } from '../flags.js';
import { openCell } from './cell.js';
import { type Agreement, agreementOf, renderAgreement } from './compare.js';
import { TARGETS } from './targets.js';
import { atLoad, readWorkload, type Workload } from './workload.js';

const flags = scriptFlags(
  'npm run bench:agreement -- [flags]\nThe emulated fleet behind Maestro against the simulator, on the same trace.',
  {
    loads: { type: 'string', default: '0.5,0.8', help: 'relative to the capacity of the workload file' },
    policy: { type: 'string', default: 'maestro', help: 'the ordering' },
    'limit-workflows': { type: 'string', help: 'only so many of them' },
    json: { type: 'boolean', default: false, help: 'print the figures as JSON' },
  },
);

const { limit, loads } = orEnd(() => {
  const given = flags['limit-workflows'];
  return {
    limit: given === undefined ? undefined : count('--limit-workflows', given),
    loads: flags.loads.split(',').map((load) => positive('--loads', load)),
  };
});
const read = await readWorkload(limit);
const workload: Workload = { ...read, fleet: { ...read.fleet, scheduling: { policy: flags.policy } } };
const dir = mkdtempSync(join(tmpdir(), 'maestro-agreement-'));
const results: Agreement[] = [];
for (const load of loads) {
  const rows = atLoad(workload.rows, load);
  const simulated = simulate(rows);
  process.stderr.write(`load ${load}: simulated, now live\n`);
  results.push(agreementOf(load, await replayLive(rows), simulated));
}
rmSync(dir, { recursive: true });
process.stdout.write(flags.json ? `${JSON.stringify(results, undefined, 2)}\n` : renderAgreement(results));

async function replayLive(rows: readonly TraceRow[]): Promise<WorkflowRecord[]> {
  const mainPath = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
  const target = TARGETS.find(({ name }) => name === 'maestro-fleet')!;
  const cell = await openCell(target, workload, { mainPath, cacheDir: dir, dir });
  try {
    return (await runReplay({ trace: rows, target: cell.url, clock: new WallClock() })).workflows;
  } finally {
    await cell.close();
  }
}

function simulate(rows: readonly TraceRow[]): WorkflowRecord[] {
  const simulated = sweepWorkload({
    ...{ name: 'live', about: '', rows, config: workload.config, modelMap: new Map() },
    ...{ capacitySpeed: 1, warmupShare: 0 },
  });
  const scenario = scenarioOf(simulated, {
    ...{ workload: 'live', deadlineRule: 'trace', policy: flags.policy, load: 1, seed: 0, placement: 'maestro' },
    ...{ reservation: 'predicted', prediction: { kind: 'model', path: join(defaultModelPath(), 'model.onnx') } },
  } as Parameters<typeof scenarioOf>[1]);
  return [...runSimulation(scenario).workflows];
}
