import type { Foresight } from '../../src/global/order/policy.js';
import { nextNormal, SeededRng } from '../../src/model/rng.js';
import type { Prediction, Stage, StageContext, StageOutcome } from '../../src/model/stage.js';
import { KeyedWindows } from '../../src/predict/keyed-windows.js';
import { NextModels } from '../../src/predict/next-models.js';
import { OnlinePredictor } from '../../src/predict/predictor.js';
import type { ServiceTimeModel } from '../../src/predict/service-time.js';
import type { TraceRow } from '../../traces/schema.js';
import type { PredictionMode, Reservation, SimScenario } from '../types.js';
import { WorkflowFuture } from './foresight.js';
import { loadStageModel } from './model-file.js';
import type { Run } from './runs.js';

/** Tokens that every stage is taken for where nothing is predicted. */
const BLIND_TOKENS = 256;
const MAX_WORKFLOWS = 100_000;

const MAX_ROLES = 4096;
const WINDOW_CALLS = 128;

/**
 * What the schedulers are told of a stage: by the live predictor, or by whatever takes its place in an experiment. A token of KV memory is a token, also of models whose short sequences take more:
 * so the simulated engines count.
 */
export class Predictions {
  /** Fed with every stage where several models are served; learns online, as live, whatever the mode. Only what can be put to sleep is ever asked about. */
  readonly nextModels: NextModels | undefined;
  private readonly online: OnlinePredictor;
  private readonly mode: PredictionMode;
  private readonly reservation: Reservation;
  private readonly rng: SeededRng;
  private readonly serviceTimeMs: ServiceTimeModel | undefined;
  private readonly roleLengths = new KeyedWindows(MAX_ROLES, WINDOW_CALLS);
  private readonly futures = new WeakMap<Run, WorkflowFuture>();

  constructor(
    scenario: Pick<
      SimScenario,
      | 'prediction'
      | 'reservation'
      | 'kvOverflowTarget'
      | 'serviceTimeMs'
      | 'seed'
      | 'policy'
      | 'controller'
      | 'nodes'
      | 'faults'
    >,
  ) {
    // An engine that has died comes back asleep where others have taken its memory.
    const engines = scenario.nodes.flatMap((node) => node.engines);
    const mayWake = scenario.faults.length > 0 || engines.some(({ sleepCapable }) => sleepCapable);
    const several = new Set(engines.map(({ model }) => model)).size > 1;
    this.nextModels = several && mayWake ? new NextModels(MAX_WORKFLOWS) : undefined;
    this.mode = scenario.prediction;
    this.reservation = scenario.reservation;
    this.serviceTimeMs = scenario.serviceTimeMs;
    this.rng = new SeededRng(scenario.seed ^ 0x5eed);
    this.online = new OnlinePredictor({
      targetOverflow: scenario.kvOverflowTarget,
      serviceTimeMs: scenario.serviceTimeMs,
      learnsNextRoles: false,
      // A controller may change the policy, and shows predictions to those it could change to.
      learnsRemainingWork: scenario.policy.ignoresRemainingWork !== true || scenario.controller !== undefined,
      model: this.mode.kind === 'model' ? loadStageModel(this.mode.path) : undefined,
    });
  }

  predict(stage: Stage, context: StageContext, run: Run, row: TraceRow, outputTokens: number): Prediction {
    this.nextModels?.stageBegan(stage, stage.arrivalMs);
    if (this.mode.kind === 'told') return this.mode.byRequest.get(row.request_id)!;
    const base = this.online.predict(stage, context);
    const seen = this.seen(stage, base, run, row, outputTokens);
    if (this.reservation === 'predicted') return seen;
    const tokens = this.reservation === 'oracle' ? outputTokens : stage.maxTokens;
    const kvTokens = stage.promptTokens + tokens;
    return { ...seen, kvTokens: { q50: kvTokens, bound: kvTokens } };
  }

  observe(stage: Stage, context: StageContext, outcome: StageOutcome): void {
    if (this.mode.kind === 'told') return;
    this.online.observe(stage, context, outcome);
    if (this.mode.kind === 'role-median' && outcome.outputTokens !== undefined) {
      this.roleLengths.add(roleKey(stage), outcome.outputTokens);
    }
  }

  workflowEnded(workflowId: string): void {
    this.online.workflowEnded(workflowId);
    this.nextModels?.workflowEnded(workflowId);
  }

  /** The truth about a stage. */
  foresight(run: Run, row: TraceRow, outputTokens: number): Foresight {
    const future = this.futureOf(run);
    return { outputTokens, serviceMs: future.serviceMs(row), remainingMs: future.remainingMs(row) };
  }

  private seen(stage: Stage, base: Prediction, run: Run, row: TraceRow, outputTokens: number): Prediction {
    switch (this.mode.kind) {
      case 'online':
      case 'model':
      case 'told':
        return base;
      case 'role-median':
        return this.roleMedian(stage, base);
      case 'none':
        return { ...base, ...lengths(BLIND_TOKENS), serviceMs: 1, remainingMs: 0, source: 'none' };
      case 'oracle':
        return this.truth(stage, base, run, row, outputTokens, 1);
      case 'noise':
        return this.truth(stage, base, run, row, outputTokens, Math.exp(this.mode.sigma * nextNormal(this.rng)));
    }
  }

  private roleMedian(stage: Stage, base: Prediction): Prediction {
    const window = this.roleLengths.peek(roleKey(stage));
    const tokens = Math.min(stage.maxTokens, Math.round(window?.quantile(0.5) ?? BLIND_TOKENS));
    const serviceMs = this.online.callMs(stage, tokens);
    return { ...base, ...lengths(Math.max(1, tokens)), serviceMs, source: 'role-median' };
  }

  private truth(
    stage: Stage,
    base: Prediction,
    run: Run,
    row: TraceRow,
    outputTokens: number,
    factor: number,
  ): Prediction {
    const tokens = Math.max(1, Math.round(outputTokens * factor));
    return {
      ...base,
      ...lengths(tokens),
      serviceMs: this.online.callMs(stage, tokens),
      remainingMs: this.futureOf(run).remainingMs(row) * factor,
      source: 'foresight',
    };
  }

  private futureOf(run: Run): WorkflowFuture {
    let future = this.futures.get(run);
    if (!future) {
      future = new WorkflowFuture(run.arrival.workflow, this.serviceTimeMs);
      this.futures.set(run, future);
    }
    return future;
  }
}

/** A length that is taken for sure. The promise of KV memory stays the calibrated one. */
function lengths(tokens: number): Pick<Prediction, 'outputTokens'> {
  return { outputTokens: { q30: tokens, q50: tokens, q95: tokens, mean: tokens } };
}

function roleKey({ template, role }: Stage): string {
  return `${template}\n${role}`;
}
