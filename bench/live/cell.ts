import { spawn } from 'node:child_process';
import { mkdirSync, openSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Report } from '../../sim/report/schema.js';
import { toEmulatedNodes } from '../../src/config/node-specs.js';
import { startEmulatedFleet } from '../../src/engine/emulator/fleet.js';
import { parseMetrics } from '../../src/engine/vllm/prometheus.js';
import { writeTrace } from '../../traces/writer.js';
import { cpuMs, machineBusyMs } from './processes.js';
import type { CellResult } from './report.js';
import type { Target } from './targets.js';
import { atLoad, lastArrivalMs, type Workload } from './workload.js';

/** What has not ended so long after the last arrival is stopped and counts as a miss, milliseconds. */
const DRAIN_MS = 90_000;
/** Between the start of a target and the first arrival, so that it has looked at its engines, milliseconds. */
const SETTLE_MS = 3_000;

/** How often this process, which does little else, looks how late it wakes. */
const WAKE_EVERY_MS = 10;

const COUNTERS = {
  queries: 'vllm:prefix_cache_queries_total',
  hits: 'vllm:prefix_cache_hits_total',
  preemptions: 'vllm:num_preemptions_total',
} as const;

export interface CellPlace {
  /** The built `maestro`. */
  readonly mainPath: string;
  readonly cacheDir: string;
  /** Folder of this cell: trace, logs, report. */
  readonly dir: string;
}

/** A fresh fleet behind a fresh target. */
export interface OpenCell {
  readonly url: string;
  readonly engineUrls: readonly string[];
  readonly enginePids: readonly number[];
  readonly targetPid: number;
  close(): Promise<void>;
}

export async function openCell(target: Target, workload: Workload, place: CellPlace): Promise<OpenCell> {
  const { mainPath, cacheDir, dir } = place;
  mkdirSync(dir, { recursive: true });
  const fleet = await startEmulatedFleet({ nodes: toEmulatedNodes(workload.config), timeScale: 1, binPath: mainPath });
  try {
    const urls = fleet.engines.map(({ url }) => url);
    const kvPoolTokens = await poolTokensOf(urls[0]!);
    const started = await target.start({ urls, kvPoolTokens, fleet: workload.fleet, mainPath, cacheDir, dir });
    await sleep(SETTLE_MS);
    return {
      url: started.url,
      engineUrls: urls,
      enginePids: fleet.engines.map(({ pid }) => pid),
      targetPid: started.pid,
      close: async () => {
        await started.stop();
        await fleet.stop();
      },
    };
  } catch (error) {
    await fleet.stop();
    throw error;
  }
}

/** The trace replayed once through a fresh fleet behind a fresh target. */
export async function runCell(target: Target, load: number, workload: Workload, place: CellPlace): Promise<CellResult> {
  const { mainPath, dir } = place;
  const rows = atLoad(workload.rows, load);
  const cell = await openCell(target, workload, place);
  try {
    const tracePath = join(dir, 'trace.jsonl');
    await writeTrace(tracePath, undefined, rows);
    const lateness = monitorEventLoopDelay({ resolution: WAKE_EVERY_MS });
    lateness.enable();
    const startedMs = performance.now();
    const before = cpuOf(cell);
    const { report, replayCpuMs } = await replay(mainPath, tracePath, cell.url, dir, lastArrivalMs(rows) + DRAIN_MS);
    const after = cpuOf(cell);
    lateness.disable();
    const wallMs = performance.now() - startedMs;
    const coresMs = wallMs * availableParallelism();
    const targetMs = after.target - before.target;
    const counters = await Promise.all(cell.engineUrls.map(countersOf));
    const sum = (name: keyof typeof COUNTERS) => counters.reduce((total, each) => total + each[name], 0);
    const { overall } = report;
    const { stages, stagesCompleted, ttftMs } = overall.requests;
    return {
      target: target.name,
      load,
      workflows: overall.workflows,
      attainment: overall.attainment ?? 0,
      durationMs: { p50: overall.durationMs.p50, p90: overall.durationMs.p90, p99: overall.durationMs.p99 },
      ttftMs: { p50: ttftMs.p50, p99: ttftMs.p99 },
      cachedShare: sum('queries') > 0 ? sum('hits') / sum('queries') : 0,
      preemptions: sum('preemptions'),
      stages,
      failedStages: stages - stagesCompleted,
      unfinishedWorkflows: overall.unfinished,
      cpu: {
        targetMsPerStage: targetMs / Math.max(1, stages),
        benchShare: (after.engines - before.engines + targetMs + replayCpuMs) / coresMs,
        machineShare: (after.machine - before.machine) / coresMs,
        wakeLateMs: Math.max(0, lateness.percentile(95) / 1e6 - WAKE_EVERY_MS),
      },
      wallSeconds: wallMs / 1000,
    };
  } finally {
    await cell.close();
  }
}

function cpuOf({ enginePids, targetPid }: OpenCell) {
  return { engines: cpuMs(enginePids), target: cpuMs([targetPid]), machine: machineBusyMs() };
}

/** `maestro replay` as a process of its own, stopped after `limitMs`. */
async function replay(mainPath: string, tracePath: string, url: string, dir: string, limitMs: number) {
  const log = openSync(join(dir, 'replay.log'), 'a');
  const argv = [mainPath, 'replay', tracePath, '--target', url, '--agentic-context', '--out', dir];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', log, log] });
  const limit = setTimeout(() => child.kill('SIGINT'), limitMs);
  let replayCpuMs = 0;
  const watch = setInterval(() => (replayCpuMs = Math.max(replayCpuMs, cpuMs([child.pid!]))), 1000);
  const code = await new Promise<number | null>((resolve, reject) => child.once('error', reject).once('exit', resolve));
  clearTimeout(limit);
  clearInterval(watch);
  if (code !== 0) throw new Error(`maestro replay against ${url} ended with ${code}; see ${join(dir, 'replay.log')}`);
  return { report: JSON.parse(readFileSync(join(dir, 'report.json'), 'utf8')) as Report, replayCpuMs };
}

async function countersOf(url: string): Promise<Record<keyof typeof COUNTERS, number>> {
  const samples = parseMetrics(await (await fetch(`${url}/metrics`)).text(), new Set(Object.values(COUNTERS)));
  const of = (name: string) => (samples.get(name) ?? []).reduce((sum, { value }) => sum + value, 0);
  return { queries: of(COUNTERS.queries), hits: of(COUNTERS.hits), preemptions: of(COUNTERS.preemptions) };
}

async function poolTokensOf(url: string): Promise<number> {
  const state = (await (await fetch(`${url}/_emulator/state`)).json()) as { model: { kvPoolTokens: number } };
  return state.model.kvPoolTokens;
}
