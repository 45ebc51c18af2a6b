import type { StageOutcome } from '../../src/model/stage.js';
import type { EventLoop } from '../event-loop.js';
import type { HbmSample, NodeSample, StageRecord, WorkflowRecord } from '../report/types.js';
import type { SimResult, SimScenario } from '../types.js';
import type { Job } from './job.js';
import type { SimNode } from './node.js';
import type { Run } from './runs.js';

const SAMPLE_MS = 1_000;

/** Keeps what the report needs: workflows always, stages and samples where they are asked for. */
export class Recorder {
  private readonly workflows: WorkflowRecord[] = [];
  private readonly stages: StageRecord[] = [];
  private readonly samples: NodeSample[] = [];
  private readonly hbm: HbmSample[] = [];
  private readonly outcomes: Record<string, number> = {};
  private stageCount = 0;
  private promptTokens = 0;
  private cachedTokens = 0;
  private overcommittedBytes = 0;

  constructor(
    private readonly scenario: SimScenario,
    private readonly nodes: readonly SimNode[],
    private readonly loop: EventLoop,
  ) {}

  begin(busy: () => boolean): void {
    if (this.scenario.detail === 'timeline') this.sample(busy);
  }

  /** Something has changed on the node. */
  changed({ manager }: SimNode): void {
    if (this.scenario.detail === 'summary') return;
    this.overcommittedBytes = Math.max(this.overcommittedBytes, manager.ledger.overcommittedBytes());
  }

  workflow(run: Run): void {
    this.workflows.push(run.record);
  }

  stage(job: Job, outcome: StageOutcome): void {
    const { kind, reason } = outcome;
    const name = reason === undefined ? kind : `${kind}:${reason}`;
    this.outcomes[name] = (this.outcomes[name] ?? 0) + 1;
    this.stageCount += 1;
    if (kind === 'completed') {
      this.promptTokens += job.stage.promptTokens;
      this.cachedTokens += job.cachedTokens;
    }
    if (this.scenario.detail === 'summary') return;
    const { stage, firstTokenMs, outputTokens } = job;
    const endMs = this.loop.nowMs;
    const completed = kind === 'completed';
    const decodeMs = firstTokenMs === undefined ? 0 : endMs - firstTokenMs;
    const gapMs = outputTokens > 1 ? decodeMs / (outputTokens - 1) : 0;
    this.stages.push({
      stageId: job.row.request_id,
      workflowId: stage.workflowId,
      role: stage.role,
      model: stage.model,
      sloClass: stage.sloClass,
      startMs: stage.arrivalMs,
      firstTokenMs,
      endMs,
      promptTokens: stage.promptTokens,
      outputTokens: completed ? outputTokens : 0,
      cachedTokens: job.cachedTokens,
      maxTokens: stage.maxTokens,
      queueMs: job.startedMs >= 0 ? Math.max(0, job.startedMs - stage.arrivalMs - job.coldStartMs) : undefined,
      coldStartMs: job.coldStartMs,
      node: job.node?.spec.nodeId,
      engine: job.engineId,
      policy: this.scenario.policy.name,
      outcome: name,
      httpStatus: outcome.httpStatus,
      // The model knows the mean gap of a call, not every gap.
      ...(completed && outputTokens > 1
        ? { itlMs: { count: outputTokens - 1, sum: decodeMs, p50: gapMs, p99: gapMs, max: gapMs } }
        : {}),
    });
  }

  result(left: number): SimResult {
    const kv = { reservedByteSeconds: 0, maxTokenByteSeconds: 0, usedByteSeconds: 0, nodeOverflowRate: 0 };
    const coldStarts = { count: 0, requestSeconds: 0 };
    let preemptions = 0;
    let failedMoves = 0;
    let windows = 0;
    let exceeded = 0;
    for (const { manager, overflow } of this.nodes) {
      const stats = manager.stats();
      kv.reservedByteSeconds += stats.kv.reservedByteMs / 1000;
      kv.maxTokenByteSeconds += stats.kv.maxTokenByteMs / 1000;
      kv.usedByteSeconds += stats.kv.usedByteMs / 1000;
      coldStarts.count += stats.coldStarts.count;
      coldStarts.requestSeconds += stats.coldStarts.requestMs / 1000;
      preemptions += stats.preemptions;
      failedMoves += stats.moves.failures;
      windows += overflow.windows;
      exceeded += overflow.exceeded;
    }
    kv.nodeOverflowRate = windows === 0 ? 0 : exceeded / windows;
    return {
      workflows: this.workflows,
      stages: this.stages,
      fleet: {
        kv,
        coldStarts,
        preemptions,
        outcomes: this.outcomes,
        samples: this.samples,
        ...(this.hbm.length > 0 ? { hbm: this.hbm } : {}),
      },
      counters: {
        events: this.loop.fired,
        stages: this.stageCount,
        workflows: this.workflows.length,
        simulatedMs: this.loop.nowMs,
        promptTokens: this.promptTokens,
        cachedTokens: this.cachedTokens,
        outcomes: this.outcomes,
        failedMoves,
        overcommittedBytes: this.overcommittedBytes,
        left,
      },
    };
  }

  private sample(busy: () => boolean): void {
    const atMs = this.loop.nowMs;
    for (const node of this.nodes) {
      for (const { spec, state, leases, reservedKvTokens, kvPoolTokens } of node.manager.views()) {
        const { running, waiting, kvUsage } = node.engine(spec.engineId).stats();
        this.samples.push({
          atMs,
          nodeId: spec.nodeId,
          engineId: spec.engineId,
          model: spec.model,
          state,
          running,
          waiting,
          leases,
          kvReservedTokens: reservedKvTokens,
          kvUsedTokens: Math.round(kvUsage * spec.kvPoolTokens),
          kvPoolTokens,
        });
      }
      for (const { index, usedBytes, totalBytes } of node.device.snapshot().gpus) {
        this.hbm.push({ atMs, nodeId: node.spec.nodeId, gpu: index, usedBytes, totalBytes });
      }
    }
    this.loop.watch(SAMPLE_MS, () => {
      if (busy()) this.sample(busy);
    });
  }
}
