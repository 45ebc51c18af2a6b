import { availableParallelism, cpus } from 'node:os';
import { basename, join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { renderJson } from '../../sim/report/json.js';
import { executeSweep } from '../../sim/sweep/execute.js';
import { findings } from '../../sim/sweep/findings.js';
import { readJournal } from '../../sim/sweep/journal.js';
import { type PlannedCell, planSweep, type SweepPlan } from '../../sim/sweep/plan.js';
import { buildSweepReport, type SweepReport } from '../../sim/sweep/report.js';
import { attainmentTable, groupCells } from '../../sim/sweep/tables.js';
import type { RunRow } from '../../sim/sweep/types.js';
import { writeSweepReport } from '../../sim/sweep/write.js';
import {
  type NodeVariant,
  PLACEMENTS,
  type Placement,
  RESERVATIONS,
  type Reservation,
  WEIGHTS_POLICIES,
  type WeightsPolicy,
} from '../../sim/types.js';
import { DEADLINE_RULES, type DeadlineRule } from '../../sim/workload.js';
import { readTrace } from '../../traces/reader.js';
import { loadConfig } from '../config/load.js';
import { modelledFleet } from '../config/modelled-fleet.js';
import { nearest } from '../config/nearest.js';
import { ORACLE_POLICIES, ORDERING_POLICIES } from '../global/order/registry.js';
import { MaestroError } from '../model/error.js';
import { prepareFile, prepareFolder } from '../observe/make-folder.js';
import { modelMapOption } from './model-map.js';
import { fractionOrNone, positive, positiveInteger } from './numbers.js';
import { type Progress, progressLine, renderTable } from './output.js';
import { demoFleetPath, demoTracePath, packageVersion } from './package-files.js';
import { simRules } from './sim-rules.js';
import { tellRun, wantsDetails } from './sim-run.js';
import { type NamedWorkload, sweepWorkload } from './sweep-workload.js';

interface SimArguments {
  readonly trace?: string;
  readonly fleet?: string;
  readonly policy: readonly string[];
  readonly load: readonly number[];
  readonly seeds: number;
  readonly deadline: DeadlineRule;
  readonly placement: Placement;
  readonly reservation: Reservation;
  readonly weights?: WeightsPolicy;
  readonly capacity?: number;
  readonly warmup: number;
  readonly limitWorkflows?: number;
  readonly modelMap?: ReadonlyMap<string, string>;
  readonly rtt?: Readonly<Record<string, number>>;
  readonly shard?: { readonly index: number; readonly of: number };
  readonly jobs: number;
  readonly out?: string;
  readonly force: boolean;
  readonly json?: boolean;
  readonly detail?: string;
  readonly perfetto?: string;
  readonly explain?: string;
  readonly seed: number;
}

/** Trace and fleet of the demo stand in for those that are not given. */
type GivenArguments = SimArguments & { readonly trace: string; readonly fleet: string };

const POLICY_NAMES = [...ORDERING_POLICIES, ...ORACLE_POLICIES].map(({ name }) => name);

/** `maestro sim`: replays a trace in virtual time under several policies, loads and seeds, and compares them. */
export function registerSim(program: Command): void {
  const sim = program
    .command('sim')
    // `--out` after `merge` is that of `merge`.
    .enablePositionalOptions()
    .summary('replay a trace in the simulator under several policies and loads')
    .description(
      'Replays a trace through the scheduler of the live system in virtual time, on a modelled fleet, once for each policy, load and seed. ' +
        'Load 1 is the highest rate at which fcfs keeps its backlog bounded, found by bisection first. ' +
        'A sweep that was cut off goes on where it stopped when it is started again with the same --out.',
    )
    .argument('[trace]', 'the same as --trace')
    .option('--trace <file>', 'canonical trace with arrivals (default: the one of the demo)')
    .option('--fleet <file>', 'config file with the fleet (default: the one of the demo)')
    .option('--policy <names>', `comma-separated, or "all": ${POLICY_NAMES.join(', ')}`, policies, [
      'fcfs',
      'edf',
      'maestro',
    ])
    .option('--load <numbers>', 'comma-separated; 1 is the capacity', numbers, [0.9, 1.2])
    .option('--seeds <n>', 'runs of each; every seed deals the workflows anew to the arrival times', positiveInteger, 5)
    .option('--deadline <rule>', DEADLINE_RULES.join(', '), oneOf(DEADLINE_RULES), 'class')
    .option('--placement <name>', PLACEMENTS.join(', '), oneOf(PLACEMENTS), 'maestro')
    .option('--reservation <name>', RESERVATIONS.join(', '), oneOf(RESERVATIONS), 'predicted')
    .option(
      '--weights <name>',
      `${WEIGHTS_POLICIES.join(', ')} (default: as the fleet file says)`,
      oneOf(WEIGHTS_POLICIES),
    )
    .option('--capacity <x>', 'speed of the arrivals, relative to the trace, that is load 1 (default: found)', positive)
    .option('--warmup <share>', 'workflows of this first share of the arrivals are not counted', fractionOrNone, 0.1)
    .option('--limit-workflows <n>', 'only the first so many workflows', positiveInteger)
    .addOption(modelMapOption())
    .option('--rtt <map>', 'round trips to the clusters of the fleet in ms: east=2,west=30 (default: 0)', roundTrips)
    .option('--shard <i/n>', 'only the i-th of n parts of the sweep; needs --out; see "maestro sim merge"', shardOf)
    .option('--jobs <n>', 'processes', positiveInteger, availableParallelism())
    .option('--out <dir>', 'write report.html, report.md and report.json there')
    .option('--force', 'begin anew in a folder of --out that holds another sweep', false)
    .option('--json', 'print the report as one JSON document')
    .option('--detail <file>', 'play one run only, and write a line for each of its requests: CSV, or JSON for *.json')
    .option('--perfetto <file>', 'play one run only, and write a trace of it for ui.perfetto.dev')
    .option('--explain <workflow>', 'play one run only, and tell where the time of this workflow went, call by call')
    .option('--seed <n>', 'the run that --detail, --perfetto and --explain tell of', positiveInteger, 1)
    .addHelpText(
      'after',
      '\nExample:\n  $ maestro sim --policy fcfs,edf,maestro --load 0.9,1.2,1.5 --seeds 5 --out report\n',
    )
    .action(simulate);
  sim
    .command('merge')
    .summary('one report out of the parts of a sweep')
    .argument('<dirs...>', 'folders that "maestro sim --shard" wrote')
    .requiredOption('--out <dir>', 'write report.html, report.md and report.json there')
    .addHelpText('after', '\nExample:\n  $ maestro sim merge part-1 part-2 part-3 --out report\n')
    .action(merge);
}

/** What the options ask for, as far as it can be told before a run. */
interface Asked {
  readonly options: GivenArguments;
  readonly workload: NamedWorkload;
  /** What the fleet file says of nodes that is a setting of runs. */
  readonly node: NodeVariant;
  /** What was ignored and assumed, for the report. */
  readonly remarks: readonly string[];
}

async function simulate(named: string | undefined, given: SimArguments): Promise<void> {
  if (named !== undefined && given.trace !== undefined)
    throw new MaestroError('invalid_request', `One trace is played: give ${named} or --trace ${given.trace}.`);
  const options = { ...given, trace: named ?? given.trace ?? demoTracePath(), fleet: given.fleet ?? demoFleetPath() };
  const { shard, out } = options;
  if (wantsDetails(options)) requireOneRun(options);
  if (shard && out === undefined) {
    throw new MaestroError('invalid_request', '--shard needs --out: the folder where its runs are kept for the merge.');
  }
  if (out !== undefined) prepareFolder(out);
  for (const file of [options.detail, options.perfetto]) if (file !== undefined) prepareFile(file);
  const progress = progressLine();
  const asked = await understand(options, progress);
  if (wantsDetails(options)) await playOne(asked);
  else await playAll(asked, progress);
}

/** Reads trace and fleet, and finds the load that the fleet can just carry where it is not given. */
async function understand(options: GivenArguments, progress: Progress): Promise<Asked> {
  const { trace } = options;
  const { rows } = await readTrace(trace);
  const { config, assumed } = modelledFleet(loadConfig(options.fleet));
  const rules = simRules(config);
  const remarks = [
    ...rules.ignored.map((field) => `Ignored of the fleet file: ${field}.`),
    ...assumed.map((what) => `Assumed of ${what}.`),
  ];
  for (const line of remarks) process.stderr.write(`${line}\n`);
  if (options.capacity === undefined) progress.update('looking for the load that the fleet can just carry');
  const workload = sweepWorkload({
    name: basename(trace).replace(/\.jsonl(\.gz)?$/, ''),
    about: `${basename(trace)} on ${basename(options.fleet)}`,
    rows,
    config,
    queue: rules.queue,
    modelMap: options.modelMap ?? new Map(),
    rttMs: options.rtt,
    limitWorkflows: options.limitWorkflows,
    capacitySpeed: options.capacity,
    warmupShare: options.warmup,
    portfolioCpuShare: rules.portfolioCpuShare,
  });
  progress.done();
  for (const line of workload.notes) process.stderr.write(`${line}\n`);
  return { options, workload, node: rules.node, remarks };
}

async function playOne({ options, workload, node }: Asked): Promise<void> {
  const { policy, load, seed } = options;
  const command = commandOf(options, workload.capacitySpeed);
  const cell = { ...cellOf(workload.name, options, node), policy: policy[0]!, load: load[0]!, seed };
  await tellRun(workload, cell, command, options);
}

async function playAll({ options, workload, node, remarks }: Asked, progress: Progress): Promise<void> {
  const { shard, out, force, jobs } = options;
  const plan = planSweep(
    {
      title: `${workload.name}: ${options.policy.join(', ')}`,
      command: commandOf(options, workload.capacitySpeed),
      notes: [`Played by maestro ${packageVersion()}.`, ...NOTES, ...remarks, ...workload.notes],
    },
    [workload],
    cellsOf(workload.name, options, node),
  );
  const startedMs = performance.now();
  if (out !== undefined)
    process.stderr.write(`runs are kept in ${out} as they end; cut off, the same command goes on from there\n`);
  const found = await executeSweep(plan, [workload], {
    ...{ directory: out, replace: force, shard, jobs },
    onProgress: (done, total) => progress.update(`${done} of ${total} runs`),
  });
  progress.done();
  if (shard) {
    process.stderr.write(
      `part ${shard.index} of ${shard.of} is in ${out}; "maestro sim merge" makes the report of all\n`,
    );
    return;
  }
  const wallSeconds = (performance.now() - startedMs) / 1000;
  await tell(buildSweepReport(plan, complete(plan, found)), { ...options, wallSeconds });
}

async function merge(dirs: readonly string[], { out }: { readonly out: string }): Promise<void> {
  const journals = dirs.map((dir) => {
    const journal = readJournal(dir);
    if (!journal) throw new MaestroError('invalid_request', `${dir} holds no runs.jsonl of "maestro sim --out".`);
    return journal;
  });
  const { plan } = journals[0]!;
  const odd = journals.findIndex((journal) => journal.plan.key !== plan.key);
  if (odd >= 0) {
    throw new MaestroError('invalid_request', `${dirs[odd]} is part of another sweep than ${dirs[0]}.`);
  }
  const rows = complete(plan, new Map(journals.flatMap((journal) => [...journal.rows])));
  prepareFolder(out);
  await tell(buildSweepReport(plan, rows), { out });
}

function complete(plan: SweepPlan, rows: ReadonlyMap<number, RunRow>): RunRow[] {
  return plan.cells.map((cell, index) => {
    const row = rows.get(index);
    if (row) return row;
    throw new MaestroError(
      'invalid_request',
      `run ${index + 1} of ${plan.cells.length} (${cell.policy}, load ${cell.load}, seed ${cell.seed}) is missing: a part has not ended or was not named.`,
    );
  });
}

async function tell(
  report: SweepReport,
  { out, json, wallSeconds }: { readonly out?: string; readonly json?: boolean; readonly wallSeconds?: number },
): Promise<void> {
  if (json) process.stdout.write(renderJson(report));
  else process.stdout.write(terminalText(report));
  if (out === undefined) return;
  await writeSweepReport(out, report, { machine: `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}`, wallSeconds });
  process.stderr.write(`report: ${join(out, 'report.html')} (.md, .json)\n`);
}

function terminalText(report: SweepReport): string {
  const tables = groupCells(report.cells).map((group) => {
    const { columns, rows } = attainmentTable(group);
    const table = renderTable(
      columns.map((title, index) => ({ title, align: index === 0 ? 'left' : 'right' }) as const),
      rows.map(({ cells }) => [...cells]),
    );
    return `workflows in time: ${group.workload}, deadlines ${group.deadlineRule}\n${table}`;
  });
  const capacity = report.workloads.map(
    ({ name, capacitySpeed, capacityPerHour }) =>
      `load 1 of ${name}: ${capacityPerHour} workflows an hour, ${capacitySpeed} times as fast as the trace`,
  );
  return `${[...capacity, ...tables, findings(report).join('\n')].join('\n\n')}\n`;
}

const NOTES = [
  'Simulated on the engine model of docs/simulator.md; only measured GPUs and real vLLM are evidence of truth.',
  'Unfinished workflows are misses. Intervals: 95 %, Student’s t over the seeds.',
];

function requireOneRun({ policy, load, shard }: SimArguments): void {
  if (policy.length === 1 && load.length === 1 && !shard) return;
  throw new MaestroError(
    'invalid_request',
    '--detail, --perfetto and --explain tell of one run: give one --policy and one --load, and no --shard. --seed chooses the run.',
  );
}

function cellsOf(workload: string, options: SimArguments, rules: NodeVariant): PlannedCell[] {
  const common = cellOf(workload, options, rules);
  return options.load.flatMap((load) =>
    options.policy.flatMap((policy) =>
      Array.from({ length: options.seeds }, (_, index) => ({
        ...common,
        part: 'runs' as const,
        policy,
        load,
        seed: index + 1,
      })),
    ),
  );
}

/** What all runs have in common. */
function cellOf(workload: string, { deadline, placement, reservation, weights }: SimArguments, rules: NodeVariant) {
  const node = { ...rules, ...(weights === undefined ? {} : { weights }) };
  return {
    ...{ workload, deadlineRule: deadline, placement, reservation, prediction: { kind: 'online' as const } },
    ...(Object.keys(node).length > 0 ? { node } : {}),
  };
}

/** The command that gives the same results, without what does not change them. */
function commandOf(options: GivenArguments, capacity: number): string {
  const { trace, fleet, policy, load, deadline, placement, reservation, warmup, limitWorkflows, modelMap } = options;
  const { rtt, detail, perfetto, explain } = options;
  return [
    `maestro sim --trace ${basename(trace)} --fleet ${basename(fleet)} --policy ${policy.join(',')} --load ${load.join(',')}`,
    // What asks for one run in place of a sweep.
    ...(wantsDetails(options) ? [`--seed ${options.seed}`] : [`--seeds ${options.seeds}`]),
    ...(detail === undefined ? [] : [`--detail ${basename(detail)}`]),
    ...(perfetto === undefined ? [] : [`--perfetto ${basename(perfetto)}`]),
    ...(explain === undefined ? [] : [`--explain ${explain}`]),
    `--deadline ${deadline} --placement ${placement} --reservation ${reservation} --capacity ${capacity} --warmup ${warmup}`,
    ...(options.weights === undefined ? [] : [`--weights ${options.weights}`]),
    ...(limitWorkflows === undefined ? [] : [`--limit-workflows ${limitWorkflows}`]),
    ...(modelMap === undefined ? [] : [`--model-map "${pairsText(modelMap)}"`]),
    ...(rtt === undefined ? [] : [`--rtt ${pairsText(Object.entries(rtt))}`]),
  ].join(' ');
}

/** As options have them: a=b,c=d. */
function pairsText(pairs: Iterable<readonly [string, string | number]>): string {
  return [...pairs].map((pair) => pair.join('=')).join(',');
}

function policies(text: string): string[] {
  if (text === 'all') return POLICY_NAMES;
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !POLICY_NAMES.includes(name));
  if (unknown !== undefined) {
    const meant = nearest(unknown, POLICY_NAMES);
    throw new InvalidArgumentError(
      `"${unknown}" is no policy. ${meant === undefined ? `There are ${POLICY_NAMES.join(', ')}.` : `Did you mean ${meant}?`}`,
    );
  }
  return [...new Set(names)];
}

function numbers(text: string): number[] {
  return [...new Set(text.split(',').map(positive))].sort((a, b) => a - b);
}

function roundTrips(text: string): Record<string, number> {
  return Object.fromEntries(
    text.split(',').map((pair) => {
      const [, cluster, ms] = /^\s*([^=\s]+)=(\d+(?:\.\d+)?)\s*$/.exec(pair) ?? [];
      if (cluster === undefined) throw new InvalidArgumentError('It must be like east=2,west=30: milliseconds.');
      return [cluster, Number(ms)];
    }),
  );
}

function oneOf<T extends string>(names: readonly T[]): (text: string) => T {
  return (text) => {
    const name = names.find((each) => each === text);
    if (name === undefined) throw new InvalidArgumentError(`It must be one of ${names.join(', ')}.`);
    return name;
  };
}

function shardOf(text: string): { index: number; of: number } {
  const [index = 0, of = 0] = /^(\d+)\/(\d+)$/.exec(text)?.slice(1).map(Number) ?? [];
  if (index < 1 || index > of) throw new InvalidArgumentError('It must be like 2/8: the second of eight parts.');
  return { index, of };
}
