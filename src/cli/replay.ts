import { cpus } from 'node:os';
import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { request } from 'undici';
import { formatMs } from '../../sim/report/format.js';
import { buildReport, type ReportInput, renderJson, renderTerminal, writeReport } from '../../sim/report/index.js';
import type { FleetSummary } from '../../sim/report/types.js';
import { readTrace } from '../../traces/reader.js';
import { classesOf } from '../../traces/replay/classes.js';
import { fetchServedClasses, type ServedClass } from '../../traces/replay/deadlines.js';
import { chooseModels, fetchServedModels } from '../../traces/replay/models.js';
import { DEFAULT_CLASS, defaultDeadlineMs, type ReplayProgress, runReplay } from '../../traces/replay/run.js';
import type { TraceRow } from '../../traces/schema.js';
import type { FleetSnapshot } from '../bus/contract.js';
import { WallClock } from '../bus/wall-clock.js';
import { prepareFolder } from '../observe/make-folder.js';
import { FleetRecorder } from './fleet-recorder.js';
import { modelMapOption } from './model-map.js';
import { nonNegative, positive, positiveInteger } from './numbers.js';
import { progressLine, usesColour } from './output.js';
import { packageVersion } from './package-files.js';
import { connectToTarget, keyOf, shownArguments, type TargetArguments, withTargetOptions } from './target.js';
import { slownessNote, TimerLag } from './timer-lag.js';

interface ReplayArguments extends TargetArguments {
  readonly speed: number;
  readonly timeScale: number;
  readonly out?: string;
  readonly json?: boolean;
  readonly limitWorkflows?: number;
  readonly modelMap?: ReadonlyMap<string, string>;
  readonly warmup: number;
  readonly agenticContext?: boolean;
  readonly recordedLengths?: boolean;
}

/** `maestro replay`: plays a trace against a live endpoint and reports how its workflows fared. */
export function registerReplay(program: Command): void {
  const command = program
    .command('replay')
    .summary('replay a trace against a live endpoint and print the SLO report')
    .description(
      'Open loop for the arrivals of workflows, closed inside a workflow. Nothing is retried; a failure is a miss. ' +
        'Prompts are synthetic text of the recorded length and prefix structure.',
    )
    .argument('<trace>', 'canonical trace with arrivals');
  withTargetOptions(command, 'OpenAI-compatible endpoint')
    .option('--speed <x>', "the trace's own times pass x times faster; deadlines stay", positive, 1)
    .option(
      '--time-scale <x>',
      'emulated ms per real ms of the target; all times are reported in emulated ones',
      positive,
      1,
    )
    .option('--limit-workflows <n>', 'only the first so many workflows', positiveInteger)
    .addOption(modelMapOption())
    .option('--warmup <ms>', 'workflows that arrive earlier are not counted', nonNegative, 0)
    .option('--agentic-context', "tell the workflow in the body's vllm_xargs.agentic_context too, for vLLM's router")
    .option(
      '--recorded-lengths',
      'make a real engine answer as long as recorded (min_tokens, ignore_eos); max_tokens then tells the length',
    )
    .option('--out <dir>', 'write report.html, report.md and report.json there')
    .option('--json', 'print the report as one JSON document')
    .addHelpText(
      'after',
      '\nExample (in another terminal: maestro up):\n' +
        '  $ maestro replay traces/data/demo.jsonl.gz --target http://127.0.0.1:8080 --limit-workflows 3 --out report\n',
    )
    .action(replay);
}

async function replay(path: string, options: ReplayArguments): Promise<void> {
  const { rows } = await readTrace(path);
  if (options.out !== undefined) prepareFolder(options.out);
  const connect = connectToTarget(options);
  const key = keyOf(options);
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const served = await fetchServedModels(options.target, headers);
  const modelFor = chooseModels(rows, options.modelMap ?? new Map(), served);
  const classes = [...new Set([DEFAULT_CLASS, ...rows.flatMap((row) => row.class ?? [])])];
  const servedClasses = await fetchServedClasses(options.target, headers, classes);
  const deadlineMsFor = (name: string) => servedClasses.get(name)?.deadlineMs ?? defaultDeadlineMs(name);
  const startedAt = new Date();
  const progress = progressLine();
  const stop = new AbortController();
  const onInterrupt = () => stop.abort();
  process.once('SIGINT', onInterrupt);
  const clock = new WallClock(options.timeScale);
  const recorder = new FleetRecorder(() => remoteFleet(options.target, headers), clock);
  const sawFleet = await recorder.start();
  let fleet: FleetSummary | undefined;
  const lag = new TimerLag();
  lag.start();
  let slow: string | undefined;
  const result = await runReplay({
    trace: rows,
    ...{ target: options.target, connect },
    clock,
    speed: options.speed,
    limitWorkflows: options.limitWorkflows,
    modelFor,
    deadlineMsFor,
    headers,
    agenticContext: options.agenticContext,
    recordedLengths: options.recordedLengths,
    // Two replays against one server must not share workflows.
    runId: `r${startedAt.getTime().toString(36)}`,
    onProgress: (now) => progress.update(describe(now)),
    signal: stop.signal,
  }).finally(async () => {
    process.removeListener('SIGINT', onInterrupt);
    slow = slownessNote(lag.stop(), options.timeScale);
    // However it ended: a recorder goes on looking until it is stopped.
    if (sawFleet) fleet = await recorder.stop();
  });
  progress.done();
  const input: ReportInput = {
    title: `Replay of ${basename(path)}`,
    subtitle: options.target,
    command: ['maestro', ...shownArguments(process.argv.slice(2))].join(' '),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'} (client)`,
    startedAt: startedAt.toISOString(),
    timeScale: options.timeScale,
    durationMs: result.durationMs,
    warmupMs: options.warmup,
    trace: basename(path),
    notes: [
      `Played by maestro ${packageVersion()}.`,
      ...(options.speed === 1
        ? []
        : [`Arrivals, think and tool times pass ${options.speed} times faster than recorded.`]),
      ...classNotes(rows, classes, servedClasses, deadlineMsFor),
      ...(slow === undefined ? [] : [slow]),
      ...(stop.signal.aborted ? ['The run was stopped early.'] : []),
    ],
    classes: classesOf(result.workflows),
    workflows: result.workflows,
    stages: result.stages,
    fleet,
  };
  const written = options.out === undefined ? undefined : await writeReport(options.out, input);
  const report = written?.report ?? buildReport(input);
  if (options.json) process.stdout.write(renderJson(report));
  else
    process.stdout.write(
      `${renderTerminal(report, { width: process.stdout.columns ?? 100, colour: usesColour(process.stdout) })}\n`,
    );
  if (slow !== undefined) process.stderr.write(`${slow}\n`);
  if (options.out !== undefined) process.stderr.write(`report: ${join(options.out, 'report.html')} (.md, .json)\n`);
}

/** Whose deadlines the figures are held against, and which classes the gateway replaced. */
function classNotes(
  rows: readonly TraceRow[],
  classes: readonly string[],
  served: ReadonlyMap<string, ServedClass>,
  deadlineMsFor: (name: string) => number,
): string[] {
  const deadlines = classes.map((name) => `${name} ${formatMs(deadlineMsFor(name))}`).join(', ');
  const whose = served.size > 0 ? 'those of the classes at the gateway' : 'assumed, since the target names none';
  const named = rows.some((row) => row.deadline_ms !== undefined);
  const replaced = [...served].filter(([asked, { name }]) => asked !== name);
  return [
    ...(named ? [] : [`The trace names no deadlines: they are ${whose} (${deadlines}).`]),
    ...replaced.map(
      ([asked, { name }]) =>
        `Calls of class ${asked} were served as ${name}: the key allows no more, or the gateway has no such class.`,
    ),
  ];
}

/** The fleet behind a Maestro gateway; undefined for any other endpoint. */
async function remoteFleet(target: string, headers: Record<string, string>): Promise<FleetSnapshot | undefined> {
  try {
    const answer = await request(`${target}/v1/maestro/fleet`, { headers });
    if (answer.statusCode === 200) return (await answer.body.json()) as FleetSnapshot;
    await answer.body.dump();
  } catch {
    // The replay itself tells about a target that does not answer.
  }
  return undefined;
}

function describe({ atMs, workflows, stages }: ReplayProgress): string {
  const open = stages.sent - stages.completed - stages.failed;
  return (
    `${(atMs / 1000).toFixed(0)} s  workflows ${workflows.ended}/${workflows.total}, ${workflows.met} in time  ` +
    `stages ${stages.completed}/${stages.total}, ${stages.failed} failed, ${open} open`
  );
}
