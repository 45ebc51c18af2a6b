import { KeyMemo } from '../model/key-memo.js';
import { NO_PLACE } from '../model/lru-places.js';
import type { Stage, StageContext, StageOutcome } from '../model/stage.js';
import { KeyedWindows, type KeyedWindowsState } from './keyed-windows.js';
import { logBin } from './log-bin.js';
import type { ServiceTimes } from './service-time.js';
import { type StageKind, WorkTrails } from './work-trails.js';

/** What is known of a workflow's work before a stage: the input of the trained models. */
export interface WorkFeatures {
  /** Service milliseconds of its ended stages. */
  readonly attainedMs: number;
  /** Median of the service milliseconds that workflows had left when such a stage began; undefined where nothing is known. */
  readonly medianMs: number | undefined;
}

/** The scale on which two ways to tell what is left are compared: a second more or less is nothing, beyond that ratios count, as they do for ranking. */
export function workScale(leftMs: number): number {
  return Math.log(1000 + leftMs);
}

/** The milliseconds of a number on the {@link workScale}, none below nothing. */
export function workMs(scaled: number): number {
  return Math.max(0, Math.exp(scaled) - 1000);
}

/** Says nothing of a stage. */
export const NO_NOTE = -1;

/** Hears of the stages of workflows that have ended. */
export interface WorkListener {
  /** What the workflow had left when the stage arrived, and what {@link RemainingWork.observe} was told of it. */
  learned(kind: StageKind, toEndMs: number, note: number): void;
  /** Of this one nothing will be learned. */
  forgotten(note: number): void;
}

const NOBODY: WorkListener = { learned: () => undefined, forgotten: () => undefined };

/** Samples that an estimate needs. Recorded workflows rank worse with fewer. */
const MIN_SAMPLES = 20;
/** The coarsest estimates are better than nothing much earlier. */
const MIN_SAMPLES_COARSE = 5;
const WINDOW_SAMPLES = 128;
const GLOBAL_KEY = 'g';

/**
 * What a workflow still has to do from a stage on, the stage itself included, learned without a declared graph: the median of the service milliseconds that
 * earlier workflows had left when a stage of the same (template, role, invocation index, model) arrived, with back-off to the same without the model, (template, role),
 * the template and all. A workflow teaches when it has ended; nothing is read ahead of time.
 *
 * The stage is included because the sum of two medians, of its own time and of what follows, ranks workflows worse: siblings of a fan-out end together, and long
 * answers make long workflows. On the recorded traces the median of the whole ranks 83 of 100 pairs right, the sum 79.
 */
export class RemainingWork {
  private readonly history: KeyedWindows;
  private readonly trails: WorkTrails;
  /** Of the stage that was noted last: of the next one more often than not. */
  private kind: StageKind = { template: '', model: '', role: '' };

  /** @param listener Is told what every workflow that has ended had left when each of its stages arrived. */
  constructor(
    limits: { readonly maxCells: number; readonly maxWorkflows: number },
    private readonly services: ServiceTimes,
    private readonly listener = NOBODY,
  ) {
    this.history = new KeyedWindows(limits.maxCells, WINDOW_SAMPLES);
    this.trails = new WorkTrails(
      limits.maxWorkflows,
      (trail) => this.learn(trail),
      (note) => listener.forgotten(note),
    );
  }

  features(stage: Stage, context: StageContext): WorkFeatures {
    const trail = this.trails.peek(stage.workflowId);
    const attainedMs = trail === NO_PLACE ? 0 : this.trails.attainedMs(trail);
    return { attainedMs, medianMs: this.medianToEnd(stage, context) };
  }

  /**
   * Notes a completed stage. What counts is its service time on an idle engine, so that a slow afternoon does not teach long workflows, and of that the
   * share which did not run beside siblings: of a fan-out the longest counts.
   *
   * @param note A number that comes back when the workflow has ended.
   */
  observe(stage: Stage, context: StageContext, outcome: StageOutcome, note = NO_NOTE): void {
    const { outputTokens = 0, cachedTokens = 0, promptTokens = stage.promptTokens } = outcome;
    const isolatedMs = this.services.serviceMs(stage.model, promptTokens, cachedTokens, outputTokens);
    const endMs = stage.arrivalMs + outcome.durationMs;
    const startMs = endMs - (outcome.serviceMs ?? outcome.durationMs);
    const { trails } = this;
    const { workflowId } = stage;
    const known = trails.get(workflowId);
    const coveredUntilMs = known === NO_PLACE ? Number.NEGATIVE_INFINITY : trails.coveredUntilMs(known);
    const busyMs = Math.max(1, endMs - startMs);
    const newMs = Math.max(0, endMs - Math.max(startMs, coveredUntilMs));
    const addedMs = isolatedMs * Math.min(1, newMs / busyMs);
    const beforeMs = known === NO_PLACE ? 0 : trails.attainedBefore(known, stage.arrivalMs);
    const { invocationIndex } = context;
    const trail = known === NO_PLACE ? trails.begin(workflowId) : known;
    trails.push(trail, { kind: this.kindOf(stage), invocationIndex, beforeMs, addedMs, endMs, note });
  }

  /** The workflow is over (or idle for so long that it counts as over): its trail becomes history. */
  workflowEnded(workflowId: string): void {
    const trail = this.trails.peek(workflowId);
    if (trail === NO_PLACE) return;
    this.learn(trail);
    this.trails.end(workflowId);
  }

  /** What ended workflows have taught; the trails of running ones are not saved. */
  state(): KeyedWindowsState {
    return this.history.state();
  }

  restore(state: KeyedWindowsState): void {
    this.history.restore(state);
  }

  private learn(trail: number): void {
    const attainedMs = this.trails.attainedMs(trail);
    this.trails.visit(trail, (kind, invocationIndex, beforeMs, note) => {
      const toEndMs = attainedMs - beforeMs;
      for (const key of keysOf(kind, invocationIndex)) this.history.add(key, toEndMs);
      this.listener.learned(kind, toEndMs, note);
      this.history.add(GLOBAL_KEY, toEndMs);
    });
  }

  private kindOf({ template, model, role }: Stage): StageKind {
    const { kind } = this;
    if (kind.template === template && kind.model === model && kind.role === role) return kind;
    this.kind = { template, model, role };
    return this.kind;
  }

  private medianToEnd(stage: Stage, { invocationIndex }: StageContext): number | undefined {
    const [ofModel, ofIndex, ofRole, ofTemplate] = keysOf(stage, invocationIndex);
    return (
      this.median(ofModel, MIN_SAMPLES) ??
      this.median(ofIndex, MIN_SAMPLES) ??
      this.median(ofRole, MIN_SAMPLES) ??
      this.median(ofTemplate, MIN_SAMPLES_COARSE) ??
      this.median(GLOBAL_KEY, MIN_SAMPLES_COARSE)
    );
  }

  private median(key: string, minSamples: number): number | undefined {
    const window = this.history.peek(key);
    return window && window.count >= minSamples ? window.quantile(0.5) : undefined;
  }
}

const ROLE = new KeyMemo((template, role) => `${template}\n${role}`);
const INDEX = new KeyMemo((template, role, bin) => `${template}\n${role}\n${bin}`);
const MODEL = new KeyMemo((ofIndex, model) => `${ofIndex}\n${model}`);

/** From the finest to the coarsest. */
function keysOf(
  { template, role, model }: StageKind,
  invocationIndex: number,
): readonly [string, string, string, string] {
  const ofIndex = INDEX.of(template, role, String(logBin(invocationIndex)));
  return [MODEL.of(ofIndex, model), ofIndex, ROLE.of(template, role), template];
}
