import type { RequestStats } from './schema.js';
import { type Distribution, summarize, summarizeWeighted } from './stats.js';
import type { ReportClass, StageRecord } from './types.js';

export function isCompleted(stage: StageRecord): boolean {
  return stage.outcome === 'completed';
}

/** Sent to first content token; undefined when none came. */
export function ttftOf(stage: StageRecord): number | undefined {
  return stage.firstTokenMs === undefined ? undefined : stage.firstTokenMs - stage.startMs;
}

/** Sent to last byte, of a completed stage. */
export function e2elOf(stage: StageRecord): number | undefined {
  return isCompleted(stage) ? stage.endMs - stage.startMs : undefined;
}

/** (E2EL − TTFT) / (n − 1), of a completed stage of n ≥ 2 tokens. */
export function tpotOf(stage: StageRecord): number | undefined {
  if (!isCompleted(stage) || stage.firstTokenMs === undefined || stage.outputTokens < 2) return undefined;
  return (stage.endMs - stage.firstTokenMs) / (stage.outputTokens - 1);
}

/** Completed within the TTFT and TPOT targets of its class; a target that is not set, or cannot be measured, counts as met. */
function meetsTargets(stage: StageRecord, target: ReportClass | undefined): boolean {
  if (!isCompleted(stage)) return false;
  const ttft = ttftOf(stage);
  const tpot = tpotOf(stage);
  return (
    (target?.ttftMs === undefined || ttft === undefined || ttft <= target.ttftMs) &&
    (target?.tpotMs === undefined || tpot === undefined || tpot <= target.tpotMs)
  );
}

/** Latencies, tokens and waits of a set of stages. `targets` are the classes by name. */
export function requestStats(stages: readonly StageRecord[], targets: ReadonlyMap<string, ReportClass>): RequestStats {
  let promptTokens = 0;
  let outputTokens = 0;
  let cachedTokens = 0;
  let cacheablePromptTokens = 0;
  let stagesCompleted = 0;
  let stagesGood = 0;
  for (const stage of stages) {
    if (isCompleted(stage)) {
      stagesCompleted += 1;
      promptTokens += stage.promptTokens;
      outputTokens += stage.outputTokens;
    }
    if (meetsTargets(stage, targets.get(stage.sloClass))) stagesGood += 1;
    if (stage.cachedTokens !== undefined) {
      cachedTokens += Math.min(stage.cachedTokens, stage.promptTokens);
      cacheablePromptTokens += stage.promptTokens;
    }
  }
  const of = (measure: (stage: StageRecord) => number | undefined): Distribution =>
    summarize(stages.map(measure).filter((value) => value !== undefined));
  return {
    stages: stages.length,
    stagesCompleted,
    stagesGood,
    promptTokens,
    outputTokens,
    cachedPromptShare: cacheablePromptTokens > 0 ? cachedTokens / cacheablePromptTokens : null,
    ttftMs: of(ttftOf),
    tpotMs: of(tpotOf),
    itlMs: pooledItl(stages),
    e2elMs: of(e2elOf),
    queueMs: of((stage) => stage.queueMs),
    coldStartMs: of((stage) => ((stage.coldStartMs ?? 0) > 0 ? stage.coldStartMs : undefined)),
  };
}

/** Steps into which the part of a stage's gaps between its median and its p99 is cut when stages are pooled. */
const ITL_STEPS = 14;

/** Values closer than this ratio are pooled as one. */
const ITL_RESOLUTION = 1.005;

/**
 * Inter-token latency over many stages. Only a summary of each stage's gaps is kept, so its upper half is drawn as straight
 * lines through p50, p99 and max, and its lower half stands at p50. The mean is exact.
 */
function pooledItl(stages: readonly StageRecord[]): Distribution {
  const pool = new Map<number, { sum: number; weight: number }>();
  const add = (value: number, weight: number): void => {
    const key = Math.round(Math.log(value) / Math.log(ITL_RESOLUTION));
    const bin = pool.get(key);
    if (bin) {
      bin.sum += value * weight;
      bin.weight += weight;
    } else pool.set(key, { sum: value * weight, weight });
  };
  let sum = 0;
  let count = 0;
  for (const { itlMs } of stages) {
    if (itlMs === undefined || itlMs.count <= 0) continue;
    sum += itlMs.sum;
    count += itlMs.count;
    add(itlMs.p50, itlMs.count * 0.5);
    for (let step = 0; step < ITL_STEPS; step++) {
      add(itlMs.p50 + ((itlMs.p99 - itlMs.p50) * (step + 0.5)) / ITL_STEPS, (itlMs.count * 0.49) / ITL_STEPS);
    }
    add((itlMs.p99 + itlMs.max) / 2, itlMs.count * 0.0099);
    add(itlMs.max, itlMs.count * 0.0001);
  }
  if (count === 0) return summarizeWeighted([]);
  const values = [...pool.values()].map((bin) => ({ value: bin.sum / bin.weight, weight: bin.weight }));
  return { ...summarizeWeighted(values), count, mean: sum / count };
}
