import { cpus } from 'node:os';
import { relative, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { renderTerminal, writeReport } from '../../sim/report/index.js';
import { readTrace } from '../../traces/reader.js';
import { classesOf } from '../../traces/replay/classes.js';
import { isolatedDuration } from '../../traces/replay/isolated.js';
import { defaultDeadlineMs, type ReplayProgress, runReplay } from '../../traces/replay/run.js';
import { loadConfig } from '../config/load.js';
import type { MaestroConfig } from '../config/schema.js';
import { stepShapes } from '../config/service-times.js';
import { ORDERING_POLICY_NAMES } from '../global/order/registry.js';
import { MaestroError } from '../model/error.js';
import { prepareFolder } from '../observe/make-folder.js';
import { FleetRecorder } from './fleet-recorder.js';
import { port } from './numbers.js';
import { paint, progressLine, usesColour } from './output.js';
import { demoFleetPath, demoTracePath, packageVersion } from './package-files.js';
import { type Served, serve } from './serve.js';
import { stopOnSignal } from './server-process.js';
import { slownessNote, TimerLag } from './timer-lag.js';
import { DRAIN_MS } from './up.js';

interface DemoArguments {
  readonly exit?: boolean;
  readonly out: string;
  readonly port?: number;
  readonly fleet: string;
  readonly trace: string;
  readonly policy?: (typeof ORDERING_POLICY_NAMES)[number];
}

/** `maestro demo`: the first five minutes of a new user. */
export function registerDemo(program: Command): void {
  program
    .command('demo')
    .summary('serve an emulated fleet, replay a real trace against it, report')
    .description(
      'Starts an emulated fleet on a scaled clock, the levels and the gateway; replays a recorded multi-agent workload through the ' +
        'front door; writes the SLO report; then goes on serving until Ctrl-C.',
    )
    .option('--exit', 'end after the report')
    .option('--out <dir>', 'folder for report.html, report.md and report.json', 'report')
    .option('--port <port>', 'port to listen on; 0 picks a free one (default: 8080)', port)
    .option('--fleet <file>', 'fleet file whose engines are all emulated', demoFleetPath())
    .option('--trace <file>', 'canonical trace to replay', demoTracePath())
    .addOption(new Option('--policy <name>', 'ordering policy').choices(ORDERING_POLICY_NAMES))
    .addHelpText('after', '\nExample:\n  $ maestro demo --exit --out report\n')
    .action(demo);
}

async function demo(options: DemoArguments): Promise<void> {
  const startedAt = new Date();
  const config = demoConfig(options);
  prepareFolder(options.out);
  const served = await serve({
    config,
    ...(options.port === undefined ? {} : { port: options.port }),
  });
  const stop = new AbortController();
  if (options.exit) process.once('SIGINT', () => stop.abort());
  else {
    stopOnSignal(
      async () => {
        stop.abort();
        await served.stop(DRAIN_MS);
      },
      () => process.stderr.write('\nfinishing open requests; once more to stop at once\n'),
      () => served.abandon(),
    );
  }
  try {
    printWelcome(served);
    await replayAndReport(served, config, options, startedAt, stop.signal);
  } catch (error) {
    await served.stop(0);
    throw error;
  }
  if (options.exit) await served.stop(0);
  else if (!stop.signal.aborted) process.stdout.write(`still serving at ${served.address}; Ctrl-C stops\n`);
}

function demoConfig({ fleet, policy }: DemoArguments) {
  const config = loadConfig(fleet);
  const real = config.fleet.nodes.flatMap(({ engines }) => engines).find(({ url }) => url !== undefined);
  if (real) {
    throw new MaestroError(
      'invalid_request',
      `engine ${real.id} in ${fleet} has a url: the demo runs on a scaled clock, which real engines cannot follow. Use "maestro up --fleet" and "maestro replay".`,
    );
  }
  return {
    ...config,
    scheduling: { ...config.scheduling, ...(policy ? { policy } : {}) },
    observe: { ...config.observe, logLevel: 'error' as const },
  };
}

function printWelcome({ address, scheduling, clock, fleet }: Served): void {
  const models = scheduling.models().map(({ name }) => name);
  const model = models[0] ?? 'llama-3.1-8b';
  const engines = fleet?.engines.length ?? 0;
  const lines = [
    `${paint('bold', 'Maestro')} serves ${models.length} models on ${engines} emulated engines at ${paint('bold', address)}`,
    `emulated time passes ${clock.scale} times faster than real time; deadlines and the report are in emulated time`,
    `open ${paint('bold', address)} in a browser to watch`,
    '',
    `  curl ${address}/v1/chat/completions -H 'content-type: application/json' \\`,
    `    -d '{"model":"${model}","messages":[{"role":"user","content":"Hello"}],"max_tokens":32}'`,
    '',
    `  import OpenAI from 'openai';`,
    `  const client = new OpenAI({ baseURL: '${address}/v1', apiKey: 'any', defaultHeaders: { 'x-maestro-workflow': 'my-run' } });`,
    `  const answer = await client.chat.completions.create({ model: '${model}', messages: [{ role: 'user', content: 'Hello' }] });`,
    '  console.log(answer.choices[0].message.content);',
    '',
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

async function replayAndReport(
  served: Served,
  config: MaestroConfig,
  options: DemoArguments,
  startedAt: Date,
  signal: AbortSignal,
): Promise<void> {
  const { scheduling, address, clock } = served;
  const { rows } = await readTrace(options.trace);
  const progress = progressLine();
  const recorder = new FleetRecorder(async () => scheduling.fleet(), clock);
  await recorder.start();
  const lag = new TimerLag();
  lag.start();
  const shapes = stepShapes(config);
  const deadlines = new Map(config.classes.map(({ name, deadlineMs }) => [name, deadlineMs]));
  const result = await runReplay({
    trace: rows,
    target: address,
    clock,
    deadlineMsFor: (sloClass) => deadlines.get(sloClass) ?? defaultDeadlineMs(sloClass),
    isolatedMs: isolatedDuration((model) => shapes.get(model)),
    onProgress: (now) => progress.update(describe(now)),
    signal,
  });
  const slow = slownessNote(lag.stop(), clock.scale);
  const fleet = await recorder.stop();
  progress.done();
  if (signal.aborted) return;
  const traceName = relative(process.cwd(), options.trace);
  const { report } = await writeReport(options.out, {
    title: 'Maestro demo',
    subtitle: `recorded multi-agent workflows through the front door; policy ${scheduling.fleet().policy}`,
    command: ['maestro', ...process.argv.slice(2)].join(' '),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}; emulated fleet`,
    startedAt: startedAt.toISOString(),
    timeScale: clock.scale,
    durationMs: result.durationMs,
    warmupMs: 0,
    trace: traceName.startsWith('..') ? options.trace : traceName,
    notes: [
      `Played by maestro ${packageVersion()}.`,
      'The engines are emulated: times come from a step-time model, not from GPUs. The path is real: HTTP, streams, scheduling, sleep and wake.',
      ...(slow === undefined ? [] : [slow]),
    ],
    classes: classesOf(result.workflows),
    workflows: result.workflows,
    stages: result.stages,
    fleet,
  });
  const terminal = { width: process.stdout.columns ?? 100, colour: usesColour(process.stdout) };
  process.stdout.write(`${renderTerminal(report, terminal)}\n\n`);
  if (slow !== undefined) process.stdout.write(`${paint('bold', slow)}\n\n`);
  const folder = resolve(options.out);
  process.stdout.write(`report: ${folder}/report.html (also report.md, report.json)\n`);
}

function describe({ atMs, workflows, stages }: ReplayProgress): string {
  const open = stages.sent - stages.completed - stages.failed;
  return (
    `${(atMs / 1000).toFixed(0)} emulated s: ${workflows.ended} of ${workflows.total} workflows ended, ${workflows.met} in time; ` +
    `${stages.completed} of ${stages.total} stages done, ${open} open, ${stages.failed} failed`
  );
}
