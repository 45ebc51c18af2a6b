import { KeyMemo } from '../model/key-memo.js';
import type { KvMemory } from '../model/kv-memory.js';
import { LruMap } from '../model/lru-map.js';
import type { Prediction, Stage, StageContext, StageOutcome } from '../model/stage.js';
import { BoundCalibration } from './calibration.js';
import type { LengthContestant, Said } from './contest.js';
import { contested, mediansOf, shifted, workSaid } from './contested.js';
import { KvNeed } from './kv-need.js';
import { LengthTrust } from './length-trust.js';
import { NextRoles } from './next-roles.js';
import { isOfKind, OutputLengths } from './output-length.js';
import type { PredictorState } from './predictor-state.js';
import { NO_SHIFT } from './recent-shift.js';
import { NO_NOTE, RemainingWork, type WorkFeatures, workMs, workScale } from './remaining-work.js';
import { ModelSuccession, type SuccessionEvent } from './retraining/succession.js';
import type { NextRole } from './role-transitions.js';
import { SaidWork, type WorkSaid } from './said-work.js';
import { type ServiceTimeModel, ServiceTimes } from './service-time.js';
import { servingModel } from './serving-model.js';
import type { StageModel } from './stage-model.js';
import { ToolIntent } from './tool-intent.js';
import type { StageKind } from './work-trails.js';

export interface PredictorConfig {
  /** Share of calls that may outgrow their KV bound, in (0, 1). */
  readonly targetOverflow: number;
  /** Tokens of a KV block; vLLM allocates whole blocks. */
  readonly blockTokens: number;
  /** Names (roles, models, templates and their combinations) of which statistics are kept. */
  readonly maxCells: number;
  /** Running workflows whose stages are remembered until they end. */
  readonly maxWorkflows: number;
  /** Learn which role follows which, for {@link OnlinePredictor.nextAfter}. A door that never asks spares the cost. */
  readonly learnsNextRoles: boolean;
  /** Learn what a workflow has left after a stage. Without, `remainingMs` is 0, for runs in which nobody reads it. A trained model always has it. */
  readonly learnsRemainingWork: boolean;
  /** Service time of a call alone, from the step-time model; without it the times are learned. */
  readonly serviceTimeMs?: ServiceTimeModel | undefined;
  /** What sequences of a model take of memory; without it a token is a token. */
  readonly kvMemory?: ((model: string) => KvMemory | undefined) | undefined;
  /** A trained model of lengths and tool calls, asked first. */
  readonly model?: StageModel | undefined;
}

export const DEFAULT_PREDICTOR_CONFIG: PredictorConfig = {
  targetOverflow: 0.05,
  blockTokens: 16,
  maxCells: 4096,
  maxWorkflows: 10_000,
  learnsNextRoles: true,
  learnsRemainingWork: true,
};

/** Is told of every call that is predicted, and of its end. */
export interface CallWatcher {
  begin(stage: Stage, context: StageContext): void;
  /** @param saidTokens The median that a model, or its contest with the lookup, had told; undefined where no model served. */
  end(stage: Stage, outcome: StageOutcome, saidTokens: number | undefined): void;
}

/** A prediction of the model that has not been put to the test yet. */
interface OpenPrediction {
  readonly boundTokens: number;
  /** The median that served. */
  readonly saidTokens: number;
  readonly medians: Said<LengthContestant>;
  /** The model's own median, and the mean of the last residuals of its template at that time. */
  readonly modelTokens: number;
  readonly recent: number;
  /** What was said to be left from it on, by {@link workScale}; undefined where the model has not learned that. */
  readonly work: WorkSaid | undefined;
}

/** Where nobody asks what is left of a workflow. */
const NO_WORK: WorkFeatures = { attainedMs: 0, medianMs: undefined };

/** More calls are under way in no fleet. */
const MAX_OPEN = 100_000;

/**
 * What a stage will cost, from what earlier stages of its kind have cost. Learns online, forgets with a window, and needs no
 * model file. A trained model that is given is asked first; where it has no answer, what was learned online serves.
 */
export class OnlinePredictor {
  private readonly config: PredictorConfig;
  private readonly lengths: OutputLengths;
  private readonly tools: ToolIntent;
  private readonly services: ServiceTimes;
  private readonly trust: LengthTrust;
  private readonly remaining: RemainingWork;
  private readonly learnsRemainingWork: boolean;
  private readonly nextRoles: NextRoles | undefined;
  private readonly calibration: BoundCalibration;
  private readonly kvNeed: KvNeed;
  private readonly models: ModelSuccession;
  private watcher: CallWatcher | undefined;
  /** What the model said of stages that have not ended: it is judged by what it said, not by what it would say by now. */
  private open = new LruMap<string, OpenPrediction>(MAX_OPEN);
  /** Tokens that were last said of the answers of stages that have not ended. */
  private readonly said = new LruMap<string, number>(MAX_OPEN);
  /** The same of stages that have ended in workflows that have not. */
  private readonly saidWork = new SaidWork();

  constructor(config: Partial<PredictorConfig> = {}) {
    this.config = { ...DEFAULT_PREDICTOR_CONFIG, ...config };
    const { maxCells, maxWorkflows, targetOverflow, serviceTimeMs, learnsNextRoles } = this.config;
    this.kvNeed = new KvNeed(this.config.blockTokens, this.config.kvMemory);
    this.lengths = new OutputLengths(maxCells);
    this.tools = new ToolIntent(maxCells);
    this.services = new ServiceTimes(serviceTimeMs);
    this.trust = new LengthTrust(maxCells);
    this.remaining = new RemainingWork({ maxCells, maxWorkflows }, this.services, {
      learned: (kind, toEndMs, note) => this.workLearned(kind, toEndMs, note),
      forgotten: (note) => {
        if (note !== NO_NOTE) this.saidWork.take(note);
      },
    });
    this.learnsRemainingWork = this.config.learnsRemainingWork || this.config.model !== undefined;
    if (learnsNextRoles) this.nextRoles = new NextRoles({ maxCells, maxWorkflows });
    this.calibration = new BoundCalibration({ targetOverflow, maxRoles: maxCells });
    const { model } = this.config;
    this.models = new ModelSuccession(model && servingModel(model, this.config));
  }

  predict(stage: Stage, context: StageContext): Prediction {
    this.watcher?.begin(stage, context);
    this.nextRoles?.begun(stage);
    const lookup = this.lengths.estimate(stage, context);
    const { serving } = this.models;
    const work = this.learnsRemainingWork ? this.remaining.features(stage, context) : NO_WORK;
    const online = { work, lookup };
    const modelled = serving?.estimates.estimate(stage, context, online);
    const { template } = stage;
    const recent = serving?.lengthShift.of(template) ?? NO_SHIFT;
    const said = modelled && shifted(modelled.length, recent.shift);
    // What is looked up among calls of any kind is no match for a model, however well looking up did in training.
    const winner = isOfKind(lookup) ? serving?.contest.winner(stage) : 'model';
    const length = said && winner ? contested(winner, said, lookup) : lookup;
    const calibration = serving && modelled ? serving.calibration : this.calibration;
    this.models.predict(stage, context, online, modelled?.length ?? lookup);
    const limit = Math.max(1, stage.maxTokens);
    const q50 = nearestTokens(length.q50, limit);
    const boundTokens = clampTokens(length.q95 * calibration.factor(calibrationKey(stage)), limit);
    const left = workSaid(work, modelled?.toEndMs);
    const servedLeft = serving && left?.[serving.remaining.winner(stage)];
    const recentWork = serving?.workShift.of(template) ?? NO_SHIFT;
    if (modelled && said) {
      // Without a spread, behind which every object would have a hidden class of its own.
      const saidLeft =
        left && servedLeft !== undefined
          ? { model: left.model, lookup: left.lookup, blend: left.blend, served: servedLeft, recent: recentWork.mean }
          : undefined;
      this.open.set(stage.stageId, {
        boundTokens,
        saidTokens: q50,
        medians: mediansOf(said, lookup),
        modelTokens: modelled.length.q50,
        recent: recent.mean,
        work: saidLeft,
      });
    }
    const outputTokens = {
      q30: nearestTokens(length.q30, limit),
      q50,
      q95: clampTokens(length.q95, limit),
      mean: nearestTokens(length.mean, limit),
    };
    const cachedTokens = this.services.expectedCachedTokens(stage);
    const serviceMs = this.callMs(stage, q50, cachedTokens);
    // The forecasts of a node are of one answer each; several at once hold their bound.
    const forecast = stage.choices
      ? undefined
      : {
          kind: kindKey(stage),
          mean: outputTokens.mean,
          q50,
          q95: outputTokens.q95,
        };
    const { kvTokens, kvBytes } = this.kvNeed.of(stage, q50, boundTokens, cachedTokens, forecast);
    return {
      // The model has a say only where the request leaves the choice to the answer.
      toolProbability: modelled?.toolProbability ?? this.tools.probability(stage),
      outputTokens,
      kvTokens,
      kvBytes,
      serviceMs,
      remainingMs: Math.max(
        0,
        (servedLeft === undefined ? (work.medianMs ?? 0) : workMs(servedLeft + recentWork.shift)) - serviceMs,
      ),
      source: length.source,
    };
  }

  /**
   * Time of a call alone of whose answer so many tokens are said: the prompt's as it is, the answer's as far as what is said of such calls comes true. Whoever says something
   * else than {@link predict} asks here, and is judged by what it said last.
   */
  callMs(stage: Stage, saidTokens: number, cachedTokens = this.services.expectedCachedTokens(stage)): number {
    this.said.set(stage.stageId, saidTokens);
    const tokens = Math.min(this.trust.drawnIn(kindKey(stage), saidTokens), Math.max(1, stage.maxTokens));
    return this.services.serviceMs(stage.model, stage.promptTokens, cachedTokens, tokens);
  }

  /**
   * Learns from a stage that ended, with the context it was predicted with. Stages that were cut short by a client, a deadline
   * or a failure say nothing about the length of an answer; one that was stopped at its token limit counts at that length,
   * because it used exactly that much memory.
   */
  observe(stage: Stage, context: StageContext, outcome: StageOutcome): void {
    const { outputTokens } = outcome;
    const open = this.open.peek(stage.stageId);
    this.open.delete(stage.stageId);
    const saidTokens = this.said.peek(stage.stageId);
    this.said.delete(stage.stageId);
    this.watcher?.end(stage, outcome, open?.saidTokens);
    if (outcome.kind !== 'completed') return;
    this.nextRoles?.ended(stage, context, outcome.toolCalled);
    if (outcome.toolCalled !== undefined) this.tools.observe(stage, outcome.toolCalled);
    const { serving } = this.models;
    serving?.estimates.observe(stage, context, outcome);
    // What the model before said must not teach the calibration of the one that follows.
    const succeeded = this.models.observe(stage, context, outcome);
    if (succeeded) {
      this.open = new LruMap(MAX_OPEN);
      this.saidWork.revoke();
    }
    if (outputTokens === undefined) return;
    if (saidTokens !== undefined) this.trust.observe(kindKey(stage), saidTokens, outputTokens);
    if (serving && open) {
      serving.calibration.observe(calibrationKey(stage), outputTokens > open.boundTokens);
      serving.contest.observe(stage, open.medians, outputTokens);
      const residual = Math.log1p(outputTokens) - Math.log1p(open.modelTokens);
      serving.lengthShift.observe(stage.template, open.recent, residual);
    }
    const length = this.lengths.estimate(stage, context);
    const role = calibrationKey(stage);
    const boundTokens = clampTokens(length.q95 * this.calibration.factor(role), Math.max(1, stage.maxTokens));
    this.calibration.observe(role, outputTokens > boundTokens);
    this.lengths.observe(stage, context, outputTokens);
    this.services.observe(stage, outcome);
    if (!this.learnsRemainingWork) return;
    const note = open?.work && !succeeded ? this.saidWork.keep(open.work) : NO_NOTE;
    this.remaining.observe(stage, context, outcome, note);
  }

  /** The workflow is over or counts as over: what it did becomes history for the remaining work of others. */
  workflowEnded(workflowId: string): void {
    this.remaining.workflowEnded(workflowId);
    this.nextRoles?.workflowEnded(workflowId);
  }

  /** Roles and models that may follow a stage that has ended, the most likely first: what is worth making ready. None where that is not learned. */
  nextAfter(stage: Stage, context: StageContext, toolCalled: boolean | undefined): NextRole[] {
    return this.nextRoles?.after(stage, context, toolCalled) ?? [];
  }

  /** Lets another model compete with the one that serves, and serve where it proves better. */
  challenge(model: StageModel, onEvent: (event: SuccessionEvent) => void): void {
    this.models.challenge(servingModel(model, this.config), onEvent);
  }

  /** A further challenger would end the trial that is under way, and with it the way back to the model before. */
  get isOnTrial(): boolean {
    return this.models.isOnTrial;
  }

  watch(watcher: CallWatcher): void {
    this.watcher = watcher;
  }

  state(): PredictorState {
    const { serving } = this.models;
    return {
      lengths: this.lengths.state(),
      tools: this.tools.state(),
      remaining: this.remaining.state(),
      calibration: this.calibration.state(),
      transitions: this.nextRoles?.state() ?? { states: [], models: [] },
      lengthTrust: this.trust.state(),
      ...(serving && {
        model: {
          statistics: serving.estimates.state(),
          calibration: serving.calibration.state(),
          contest: serving.contest.state(),
          remaining: serving.remaining.state(),
          lengthShift: serving.lengthShift.state(),
          workShift: serving.workShift.state(),
        },
      }),
    };
  }

  /** Takes up what an earlier predictor had learned. */
  restore(state: PredictorState): void {
    this.lengths.restore(state.lengths);
    this.tools.restore(state.tools);
    this.remaining.restore(state.remaining);
    this.calibration.restore(state.calibration);
    this.nextRoles?.restore(state.transitions);
    if (state.lengthTrust) this.trust.restore(state.lengthTrust);
    const { serving } = this.models;
    if (!serving || !state.model) return;
    serving.estimates.restore(state.model.statistics);
    if (state.model.remaining) serving.remaining.restore(state.model.remaining);
    if (state.model.contest) serving.contest.restore(state.model.contest);
    if (state.model.lengthShift) serving.lengthShift.restore(state.model.lengthShift);
    if (state.model.workShift) serving.workShift.restore(state.model.workShift);
    if (state.model.calibration) serving.calibration.restore(state.model.calibration);
  }

  private workLearned(kind: StageKind, toEndMs: number, note: number): void {
    const said = note === NO_NOTE ? undefined : this.saidWork.take(note);
    const { serving } = this.models;
    if (!said || !serving) return;
    const truth = workScale(toEndMs);
    serving.remaining.observe(kind, said, truth);
    serving.workShift.observe(kind.template, said.recent, truth - said.served);
  }
}

/** What is expected, in whole tokens, at least one, never above what the request allows. */
function nearestTokens(tokens: number, limit: number): number {
  return Math.min(limit, Math.max(1, Math.round(tokens)));
}

/** What must be enough, in whole tokens. */
function clampTokens(tokens: number, limit: number): number {
  return Math.min(limit, Math.max(1, Math.ceil(tokens)));
}

const CALIBRATION = new KeyMemo((model, role) => `${model}\n${role}`);
const KIND = new KeyMemo((template, model, role) => `${template}\n${CALIBRATION.of(model, role)}`);

function calibrationKey({ model, role }: Stage): string {
  return CALIBRATION.of(model, role);
}

function kindKey({ template, model, role }: Stage): string {
  return KIND.of(template, model, role);
}
