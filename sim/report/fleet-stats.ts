import type { EngineReport, GpuReport } from './schema.js';
import type { HbmSample, NodeSample, ReportInput } from './types.js';

/** Samples of each engine, by node and engine id, in order of time. */
export function samplesByEngine(samples: readonly NodeSample[]): NodeSample[][] {
  return byKey(samples, (sample) => `${sample.nodeId}\u0000${sample.engineId}`);
}

/** Samples of each GPU, by node and index, in order of time. */
export function samplesByGpu(samples: readonly HbmSample[]): HbmSample[][] {
  return byKey(samples, (sample) => `${sample.nodeId}\u0000${String(sample.gpu).padStart(4, '0')}`);
}

/** What each engine was doing over the measured window. A sample holds until the next one of its engine. */
export function engineReports(input: ReportInput): EngineReport[] {
  return samplesByEngine(input.fleet?.samples ?? []).map((samples) => {
    const first = samples[0]!;
    const stateMs = new Map<string, number>();
    const running = new TimeMean();
    const waiting = new TimeMean();
    const kvReserved = new TimeMean();
    const kvUsed = new TimeMean();
    let stateChanges = 0;
    let kvPoolTokens: number | null = null;
    samples.forEach((sample, index) => {
      const heldMs = heldFor(samples, index, input);
      stateMs.set(sample.state, (stateMs.get(sample.state) ?? 0) + heldMs);
      running.add(sample.running, heldMs);
      waiting.add(sample.waiting, heldMs);
      kvReserved.add(sample.kvReservedTokens, heldMs);
      kvUsed.add(sample.kvUsedTokens, heldMs);
      if (index > 0 && heldMs > 0 && samples[index - 1]!.state !== sample.state) stateChanges += 1;
      if (Number.isFinite(sample.kvPoolTokens)) kvPoolTokens = Math.max(kvPoolTokens ?? 0, sample.kvPoolTokens);
    });
    const totalMs = [...stateMs.values()].reduce((sum, ms) => sum + ms, 0);
    const shares = [...stateMs].filter(([, ms]) => ms > 0).sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1));
    return {
      nodeId: first.nodeId,
      engineId: first.engineId,
      model: samples.at(-1)!.model,
      stateShare: Object.fromEntries(shares.map(([state, ms]) => [state, ms / totalMs])),
      stateChanges,
      meanRunning: running.mean,
      maxRunning: running.max,
      meanWaiting: waiting.mean,
      maxWaiting: waiting.max,
      meanKvReservedTokens: kvReserved.mean,
      meanKvUsedTokens: kvUsed.mean,
      maxKvReservedTokens: kvReserved.max,
      kvPoolTokens,
    };
  });
}

/** HBM of each GPU over the measured window. */
export function gpuReports(input: ReportInput): GpuReport[] {
  return samplesByGpu(input.fleet?.hbm ?? []).map((samples) => {
    const used = new TimeMean();
    samples.forEach((sample, index) => {
      used.add(sample.usedBytes, heldFor(samples, index, input));
    });
    const last = samples.at(-1)!;
    return {
      nodeId: last.nodeId,
      gpu: last.gpu,
      totalBytes: last.totalBytes,
      meanUsedBytes: used.mean,
      maxUsedBytes: used.max,
    };
  });
}

/** How long the sample at `index` held inside the measured window. */
function heldFor(samples: readonly { atMs: number }[], index: number, run: ReportInput): number {
  const startMs = Math.max(samples[index]!.atMs, run.warmupMs);
  const endMs = Math.min(samples[index + 1]?.atMs ?? run.durationMs, run.durationMs);
  return Math.max(0, endMs - startMs);
}

function byKey<T extends { atMs: number }>(samples: readonly T[], key: (sample: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const sample of samples) {
    const name = key(sample);
    const group = groups.get(name);
    if (group) group.push(sample);
    else groups.set(name, [sample]);
  }
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, group]) => group.sort((a, b) => a.atMs - b.atMs));
}

/** Mean and maximum of a value that holds for known times. Values that held for no time do not count. */
class TimeMean {
  private weighted = 0;
  private totalMs = 0;
  max = 0;

  add(value: number, heldMs: number): void {
    if (heldMs <= 0 || !Number.isFinite(value)) return;
    this.weighted += value * heldMs;
    this.totalMs += heldMs;
    this.max = Math.max(this.max, value);
  }

  get mean(): number {
    return this.totalMs > 0 ? this.weighted / this.totalMs : 0;
  }
}
