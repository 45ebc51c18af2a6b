import { nextExponential, nextInt, type Rng, SeededRng } from '../../src/model/rng.js';
import type { HbmSample, NodeSample, ReportInput, StageRecord, WorkflowRecord } from './types.js';

/** How large an invented run is. */
export interface SampleRunSize {
  readonly workflows: number;
  /** Samples of each engine. */
  readonly samplesPerEngine: number;
  readonly seed: number;
}

const MODELS = ['llama-3.1-8b', 'qwen3-32b', 'llama-3.3-70b-fp8', 'mistral-small-24b', 'qwen3-coder-30b'] as const;
const ROLES = ['planner', 'coder', 'critic', 'tester', 'summarizer'] as const;
const TEMPLATES = ['code-review', 'research', 'support'] as const;
const NODES = ['node-1', 'node-2'] as const;
const GIB = 2 ** 30;

/**
 * An invented run that looks like a real one: for the tests of the report, and for looking at the page without a fleet. The same
 * size and seed give the same run.
 */
export function sampleRun(size: SampleRunSize): ReportInput {
  const rng = new SeededRng(size.seed);
  const durationMs = size.workflows * 2_000 + 60_000;
  const workflows: WorkflowRecord[] = [];
  const stages: StageRecord[] = [];
  let arrivalMs = 0;
  for (let index = 0; index < size.workflows; index++) {
    arrivalMs += nextExponential(rng, 1_950);
    addWorkflow(index, Math.min(arrivalMs, durationMs - 1), durationMs, rng, workflows, stages);
  }
  const outcomes: Record<string, number> = {};
  for (const stage of stages) outcomes[stage.outcome] = (outcomes[stage.outcome] ?? 0) + 1;
  return {
    title: 'Sample run',
    subtitle: 'Invented numbers, for looking at the report',
    command: 'maestro replay sample.jsonl.gz --target http://127.0.0.1:8000 --out report',
    seed: size.seed,
    machine: '2 nodes of two emulated h100-sxm each',
    startedAt: '2026-01-01T12:00:00Z',
    timeScale: 20,
    durationMs,
    warmupMs: 30_000,
    trace: 'sample',
    notes: ['Every number here is invented.'],
    classes: [
      { name: 'interactive', kind: 'interactive', deadlineMs: 60_000, ttftMs: 2_000, tpotMs: 50 },
      { name: 'batch', kind: 'batch', deadlineMs: 600_000 },
    ],
    workflows,
    stages,
    fleet: {
      kv: {
        reservedByteSeconds: 2.1e12,
        maxTokenByteSeconds: 9.7e12,
        usedByteSeconds: 1.6e12,
        nodeOverflowRate: 0.004,
      },
      coldStarts: { count: 41, requestSeconds: 96.5 },
      preemptions: 7,
      outcomes,
      samples: engineSamples(size, durationMs, rng),
      hbm: hbmSamples(size, durationMs, rng),
    },
  };
}

function addWorkflow(
  index: number,
  arrivalMs: number,
  runEndMs: number,
  rng: Rng,
  workflows: WorkflowRecord[],
  stages: StageRecord[],
): void {
  const interactive = rng.next() < 0.7;
  const sloClass = interactive ? 'interactive' : 'batch';
  const workflowId = `wf-${String(index).padStart(4, '0')}`;
  const count = 2 + nextInt(rng, interactive ? 6 : 12);
  const load = 0.4 + 0.6 * Math.sin((arrivalMs / runEndMs) * Math.PI);
  let atMs = arrivalMs;
  let isolatedMs = 0;
  let lastEndMs = arrivalMs;
  let error: string | undefined;
  for (let step = 0; step < count && error === undefined && atMs < runEndMs; step++) {
    const modelIndex = nextInt(rng, MODELS.length);
    const queueMs = rng.next() < 0.5 ? rng.next() * 20 : nextExponential(rng, 2_500 * load * load);
    const coldStartMs = rng.next() < 0.06 ? 800 + nextExponential(rng, 2_000) : 0;
    const promptTokens = 200 + Math.round(nextExponential(rng, 2_500));
    const outputTokens = 1 + Math.round(nextExponential(rng, 180));
    const prefillMs = 40 + promptTokens * 0.06 * (1 + modelIndex);
    const gapMs = 7 + 5 * modelIndex + rng.next() * 12;
    const failed = rng.next() < 0.006;
    const startMs = atMs;
    const firstTokenMs = startMs + queueMs + coldStartMs + prefillMs;
    const endMs = firstTokenMs + (outputTokens - 1) * gapMs;
    lastEndMs = Math.max(lastEndMs, endMs);
    stages.push({
      stageId: `${workflowId}-${step}`,
      workflowId,
      role: ROLES[(index + step) % ROLES.length]!,
      model: MODELS[modelIndex]!,
      sloClass,
      startMs,
      firstTokenMs: failed ? undefined : firstTokenMs,
      endMs,
      promptTokens,
      outputTokens: failed ? 0 : outputTokens,
      cachedTokens: step === 0 ? 0 : Math.floor((promptTokens * 0.6) / 16) * 16,
      maxTokens: 2_048,
      queueMs,
      coldStartMs,
      node: NODES[modelIndex % NODES.length]!,
      engine: `engine-${modelIndex}`,
      policy: 'maestro',
      outcome: failed ? 'engine_failed' : 'completed',
      httpStatus: failed ? 502 : 200,
      itlMs: failed
        ? undefined
        : { count: outputTokens - 1, sum: endMs - firstTokenMs, p50: gapMs, p99: gapMs * 1.8, max: gapMs * 4 },
    });
    if (failed) error = 'the engine closed the connection';
    isolatedMs += prefillMs + (outputTokens - 1) * gapMs * 0.6;
    // Some workflows fan out: the next stage then starts while this one runs.
    atMs = rng.next() < 0.25 ? startMs + queueMs : endMs + (rng.next() < 0.4 ? nextExponential(rng, 1_500) : 20);
    isolatedMs += 300;
  }
  const endMs = lastEndMs <= runEndMs ? lastEndMs : undefined;
  const deadlineMs = arrivalMs + (interactive ? 60_000 : 600_000) * (0.5 + rng.next());
  const completed = endMs !== undefined && error === undefined;
  workflows.push({
    workflowId,
    template: TEMPLATES[index % TEMPLATES.length]!,
    tenant: index % 4 === 0 ? 'acme' : 'globex',
    sloClass,
    arrivalMs,
    endMs,
    deadlineMs,
    stages: count,
    completed,
    met: completed && endMs <= deadlineMs,
    isolatedMs,
    error,
  });
}

function engineSamples(size: SampleRunSize, durationMs: number, rng: Rng): NodeSample[] {
  const samples: NodeSample[] = [];
  MODELS.forEach((model, engine) => {
    let state = engine < 3 ? 'running' : 'sleeping';
    let leases = 0;
    for (let index = 0; index < size.samplesPerEngine; index++) {
      if (state === 'waking' || state === 'falling-asleep') state = state === 'waking' ? 'running' : 'sleeping';
      else if (rng.next() < 8 / size.samplesPerEngine) state = state === 'running' ? 'falling-asleep' : 'waking';
      const drift = nextInt(rng, 7) - 3;
      leases = state === 'running' ? Math.min(48, Math.max(0, leases + drift)) : 0;
      const running = Math.max(0, leases - nextInt(rng, 3));
      samples.push({
        atMs: (durationMs * index) / size.samplesPerEngine,
        nodeId: NODES[engine % NODES.length]!,
        engineId: `engine-${engine}`,
        model,
        state,
        running,
        waiting: leases - running,
        leases,
        kvReservedTokens: leases * 3_900,
        kvUsedTokens: running * (2_200 + nextInt(rng, 900)),
        kvPoolTokens: 180_000 + 60_000 * engine,
      });
    }
  });
  return samples.sort((a, b) => a.atMs - b.atMs);
}

function hbmSamples(size: SampleRunSize, durationMs: number, rng: Rng): HbmSample[] {
  const samples: HbmSample[] = [];
  for (const nodeId of NODES) {
    for (let gpu = 0; gpu < 2; gpu++) {
      let usedBytes = 60 * GIB;
      for (let index = 0; index < size.samplesPerEngine; index++) {
        if (rng.next() < 12 / size.samplesPerEngine) usedBytes = (4 + rng.next() * 74) * GIB;
        samples.push({
          atMs: (durationMs * index) / size.samplesPerEngine,
          nodeId,
          gpu,
          usedBytes,
          totalBytes: 80 * GIB,
        });
      }
    }
  }
  return samples;
}
