/**
 * What a scheduling decision costs: `npm run bench:decisions [-- --json --policy maestro --time 500]`.
 *
 * One operation is everything the decision modules do for one stage at a steady state: an earlier stage ends (router, scheduler,
 * tracker), a new one is submitted, the cluster reports its capacity, the first in order is dispatched, placed, and the view of its
 * engine taken in. The queue is as long before as after. Prediction is timed apart, because it happens before the stage is queued.
 */
import { cpus } from 'node:os';
import { Bench } from 'tinybench';
import { ClusterRouter } from '../src/cluster/router.js';
import { findOrderingPolicy, ORDERING_POLICY_NAMES } from '../src/global/order/registry.js';
import { GlobalScheduler } from '../src/global/scheduler.js';
import { WorkflowTracker } from '../src/global/tracker.js';
import type { EngineView } from '../src/model/fleet.js';
import { nextInt, SeededRng } from '../src/model/rng.js';
import type { Prediction, SloClass, Stage, StageContext, StageOutcome } from '../src/model/stage.js';
import { OnlinePredictor } from '../src/predict/predictor.js';
import { makeView } from '../test/engine-view-fixture.js';
import { makePrediction, makeStage } from '../test/stage-fixture.js';
import { count, orEnd, scriptFlags } from './flags.js';

const flags = scriptFlags('npm run bench:decisions -- [flags]\nWhat a scheduling decision costs.', {
  policy: { type: 'string', default: 'maestro', help: 'the ordering' },
  time: { type: 'string', default: '500', help: 'milliseconds for each case' },
  json: { type: 'boolean', default: false, help: 'print the figures as JSON' },
});

const timeMs = orEnd(() => count('--time', flags.time));
const policy = findOrderingPolicy(flags.policy);
if (!policy) throw new Error(`--policy ${flags.policy}: must be one of ${ORDERING_POLICY_NAMES.join(', ')}`);

const CLASSES: SloClass[] = [
  { name: 'interactive', kind: 'interactive', deadlineMs: 60_000, weight: 1 },
  { name: 'batch', kind: 'batch', deadlineMs: 1_800_000, weight: 0.2 },
];
const MODELS = ['model-a', 'model-b', 'model-c', 'model-d'];
const ROLES = ['plan', 'code', 'review', 'test', 'write'];
const SEATS = 8;
const TENANTS = 4;
const PREFIXES = 16;
const WORKFLOWS = 2_000;
const DONE: StageOutcome = { kind: 'completed', httpStatus: 200, outputTokens: 200, durationMs: 4000, serviceMs: 3000 };

/** A fleet that is full and a queue of fixed length in front of it, on a made-up clock. */
class SteadyState {
  private readonly rng = new SeededRng(1);
  private readonly tracker = new WorkflowTracker({ maxWorkflows: 50_000 });
  private readonly scheduler: GlobalScheduler;
  private readonly router = new ClusterRouter();
  private readonly views = new Map<string, EngineView>();
  private readonly stages = new Map<string, { stage: Stage; prediction: Prediction }>();
  private readonly flying: { stageId: string; engineId: string; kvTokens: number; startedMs: number }[] = [];
  private readonly prefixes = Array.from({ length: WORKFLOWS }, (_, workflow) =>
    Array.from({ length: PREFIXES }, (_unused, index) => `${workflow}:${index}`),
  );
  private nowMs = 0;
  private sequence = 0;

  constructor(queued: number, nodes: number) {
    const limits = {
      maxCount: 1_000_000,
      maxCountPerTenant: 1_000_000,
      interactiveTimeoutMs: 1e12,
      batchTimeoutMs: 1e12,
    };
    this.scheduler = new GlobalScheduler({ policy: policy!, classes: CLASSES, ...limits }, this.tracker);
    for (let node = 0; node < nodes; node++) {
      for (const model of MODELS) {
        const engineId = `node${node}/${model}`;
        const view = makeView(engineId, { seats: SEATS }, { model, seats: SEATS });
        this.views.set(engineId, view);
        this.router.update(view);
      }
    }
    const places = nodes * MODELS.length * (SEATS + 4);
    for (let index = 0; index < places + queued; index++) this.submit(MODELS[index % MODELS.length]!);
    this.pump();
  }

  get queued(): number {
    return this.scheduler.stats().queued;
  }

  /** One stage ends, one comes, one starts. */
  step(): void {
    this.nowMs += 1;
    // The new stage wants the model that the ended one had, so that no model's queue runs dry by chance.
    this.submit(this.end());
    this.pump();
  }

  private submit(model: string): void {
    const { rng, nowMs } = this;
    const workflow = nextInt(rng, WORKFLOWS);
    const stage = this.newStage(workflow, model);
    const prediction = makePrediction({ serviceMs: 500 + nextInt(rng, 8_000), remainingMs: nextInt(rng, 60_000) });
    this.stages.set(stage.stageId, { stage, prediction });
    this.scheduler.submit(stage, prediction, nowMs);
  }

  private newStage(workflow: number, model: string): Stage {
    const { rng, nowMs } = this;
    const stage = makeStage({
      stageId: `stage-${this.sequence++}`,
      workflowId: `workflow-${workflow}`,
      tenant: `tenant-${workflow % TENANTS}`,
      role: ROLES[nextInt(rng, ROLES.length)]!,
      model,
      sloClass: workflow % 3 === 0 ? 'batch' : 'interactive',
      arrivalMs: nowMs,
      deadlineMs: nowMs + 20_000 + nextInt(rng, 60_000),
      prefixHashes: this.prefixes[workflow]!,
    });
    this.tracker.begin(stage, nowMs);
    return stage;
  }

  private pump(): void {
    const { scheduler, router, nowMs } = this;
    scheduler.capacityChanged(router.capacityChanges(nowMs));
    for (const { stageId } of scheduler.dispatch(nowMs)) {
      const { stage, prediction } = this.stages.get(stageId)!;
      const place = router.place(stage, prediction, nowMs);
      if (place.kind === 'bounce') {
        scheduler.requeue(stageId, nowMs);
        continue;
      }
      const { engineId, kvTokens } = place;
      this.flying.push({ stageId, engineId, kvTokens, startedMs: nowMs });
      this.look(engineId, 1, kvTokens);
      router.sent(stage, engineId);
    }
  }

  /** Ends a stage that runs; returns its model. */
  private end(): string {
    const { flying, nowMs, rng } = this;
    const index = nextInt(rng, flying.length);
    const ended = flying[index]!;
    flying[index] = flying[flying.length - 1]!;
    flying.pop();
    const { stage } = this.stages.get(ended.stageId)!;
    this.stages.delete(ended.stageId);
    this.look(ended.engineId, -1, -ended.kvTokens);
    this.router.ended(ended.engineId, nowMs - ended.startedMs);
    this.scheduler.complete(ended.stageId, DONE, nowMs);
    this.tracker.end(stage, DONE, nowMs);
    return stage.model;
  }

  /** The router hears of an engine's lease that began or ended. */
  private look(engineId: string, leases: number, kvTokens: number): void {
    const before = this.views.get(engineId)!;
    const view: EngineView = {
      ...before,
      version: before.version + 1,
      leases: before.leases + leases,
      reservedKvTokens: before.reservedKvTokens + kvTokens,
    };
    this.views.set(engineId, view);
    this.router.update(view);
  }
}

/** One prediction and one observation of a predictor that knows a few thousand kinds of stages. */
function predictionTask(): () => void {
  const rng = new SeededRng(2);
  const predictor = new OnlinePredictor();
  const context: StageContext = {
    stageIndex: 3,
    invocationIndex: 2,
    liveStages: 0,
    lastRoleOutputTokens: 180,
    lastOutputTokens: 90,
    gapMs: 100,
  };
  let call = 0;
  return () => {
    call += 1;
    const stage = makeStage({
      workflowId: `workflow-${call >> 3}`,
      template: `template-${nextInt(rng, 50)}`,
      role: ROLES[nextInt(rng, ROLES.length)]!,
      model: MODELS[nextInt(rng, MODELS.length)]!,
    });
    predictor.predict(stage, context);
    predictor.observe(stage, context, { ...DONE, outputTokens: 50 + nextInt(rng, 400) });
    if ((call & 7) === 7) predictor.workflowEnded(stage.workflowId);
  };
}

interface Row {
  readonly task: string;
  readonly queuedStages: number | undefined;
  readonly nodes: number | undefined;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

async function measure(task: string, queuedStages: number | undefined, nodes: number | undefined, run: () => void) {
  const bench = new Bench({ time: timeMs, warmupTime: timeMs / 2 });
  bench.add(task, run);
  await bench.run();
  const result = bench.tasks[0]!.result;
  if (!('latency' in result)) throw new Error(`${task}: the benchmark failed`);
  const { mean, p50, p99 } = result.latency;
  return { task, queuedStages, nodes, meanUs: mean * 1000, p50Us: p50 * 1000, p99Us: p99 * 1000 };
}

const rows: Row[] = [];
for (const nodes of [4, 100, 1_000]) {
  for (const queued of [100, 1_000, 10_000]) {
    const state = new SteadyState(queued, nodes);
    const row = await measure('decision', queued, nodes, () => state.step());
    // Stages that wait for a warm engine beyond its places shorten the queue a little.
    if (Math.abs(state.queued - queued) > 0.2 * queued)
      throw new Error(`the queue drifted from ${queued} to ${state.queued} stages`);
    rows.push(row);
  }
}
rows.push(await measure('predict + observe', undefined, undefined, predictionTask()));

if (flags.json) {
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', node: process.version };
  process.stdout.write(`${JSON.stringify({ machine, policy: policy.name, rows }, null, 2)}\n`);
} else {
  const us = (value: number) => value.toFixed(1).padStart(9);
  console.log(`policy ${policy.name}, ${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}; microseconds\n`);
  console.log(
    `${'task'.padEnd(18)} ${'queued'.padStart(7)} ${'nodes'.padStart(6)} ${'mean'.padStart(9)} ${'p50'.padStart(9)} ${'p99'.padStart(9)}`,
  );
  for (const { task, queuedStages, nodes, meanUs, p50Us, p99Us } of rows) {
    const where = `${String(queuedStages ?? '').padStart(7)} ${String(nodes ?? '').padStart(6)}`;
    console.log(`${task.padEnd(18)} ${where} ${us(meanUs)} ${us(p50Us)} ${us(p99Us)}`);
  }
}
