import { KeyMemo } from '../model/key-memo.js';
import { LruMap } from '../model/lru-map.js';
import type { Stage, StageContext, StageOutcome } from '../model/stage.js';
import { KeyedWindows, type KeyedWindowsState } from './keyed-windows.js';
import { logBin } from './log-bin.js';
import type { ServiceTimes } from './service-time.js';

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

/** What is remembered of a stage until its workflow ends. */
export type TrailedStage = Pick<Stage, 'stageId' | 'template' | 'model' | 'role'>;

/** One ended stage of a workflow that is still running. */
interface TrailStage {
  readonly stage: TrailedStage;
  readonly invocationIndex: number;
  /** Service of the workflow before this stage arrived. */
  readonly beforeMs: number;
  /** Service that this stage added to its workflow: its own, less the share that ran beside a sibling. */
  readonly addedMs: number;
  /** On the gateway's clock. */
  readonly endMs: number;
}

interface Trail {
  readonly stages: TrailStage[];
  attainedMs: number;
  /** Up to when some stage of the workflow was in service, on the gateway's clock. */
  coveredUntilMs: number;
}

/** Samples that an estimate needs. Recorded workflows rank worse with fewer. */
const MIN_SAMPLES = 20;
/** The coarsest estimates are better than nothing much earlier. */
const MIN_SAMPLES_COARSE = 5;
const WINDOW_SAMPLES = 128;
/** Stages after which a workflow's trail keeps its end only; longer ones rank by the last bins anyway. */
const MAX_TRAIL_STAGES = 1024;
const GLOBAL_KEY = 'g';

/**
 * What a workflow still has to do from a stage on, the stage itself included, learned without a declared graph: the median of the service milliseconds that
 * earlier workflows had left when a stage of the same (template, role, invocation index) arrived, with back-off to (template, role),
 * the template and all. A workflow teaches when it has ended; nothing is read ahead of time.
 *
 * The stage is included because the sum of two medians, of its own time and of what follows, ranks workflows worse: siblings of a fan-out end together, and long
 * answers make long workflows. On the recorded traces the median of the whole ranks 83 of 100 pairs right, the sum 79.
 */
export class RemainingWork {
  private readonly history: KeyedWindows;
  private readonly trails: LruMap<string, Trail>;

  /** @param onLearned Is told what every workflow that has ended had left when each of its stages arrived. */
  constructor(
    limits: { readonly maxCells: number; readonly maxWorkflows: number },
    private readonly services: ServiceTimes,
    private readonly onLearned: (stage: TrailedStage, toEndMs: number) => void = () => undefined,
  ) {
    this.history = new KeyedWindows(limits.maxCells, WINDOW_SAMPLES);
    this.trails = new LruMap(limits.maxWorkflows);
  }

  features(stage: Stage, context: StageContext): WorkFeatures {
    const attainedMs = this.trails.peek(stage.workflowId)?.attainedMs ?? 0;
    return { attainedMs, medianMs: this.medianToEnd(stage, context) };
  }

  /**
   * Notes a completed stage. What counts is its service time on an idle engine, so that a slow afternoon does not teach long workflows, and of that the
   * share which did not run beside siblings: of a fan-out the longest counts.
   */
  observe(stage: Stage, context: StageContext, outcome: StageOutcome): void {
    const { outputTokens = 0, cachedTokens = 0, promptTokens = stage.promptTokens } = outcome;
    const isolatedMs = this.services.serviceMs(stage.model, promptTokens, cachedTokens, outputTokens);
    const endMs = stage.arrivalMs + outcome.durationMs;
    const startMs = endMs - (outcome.serviceMs ?? outcome.durationMs);
    const { stageId, template, model, role, workflowId } = stage;
    const trail = this.trails.get(workflowId);
    const coveredUntilMs = trail?.coveredUntilMs ?? Number.NEGATIVE_INFINITY;
    const busyMs = Math.max(1, endMs - startMs);
    const newMs = Math.max(0, endMs - Math.max(startMs, coveredUntilMs));
    const addedMs = isolatedMs * Math.min(1, newMs / busyMs);
    const { invocationIndex } = context;
    const beforeMs = trail ? attainedBefore(trail, stage.arrivalMs) : 0;
    const ended: TrailStage = { stage: { stageId, template, model, role }, invocationIndex, beforeMs, addedMs, endMs };
    if (!trail) {
      // Most workflows of clients that name none have one stage: the list is made for it.
      const evicted = this.trails.set(workflowId, { stages: [ended], attainedMs: addedMs, coveredUntilMs: endMs });
      if (evicted) this.learn(evicted[1]);
      return;
    }
    trail.coveredUntilMs = Math.max(coveredUntilMs, endMs);
    trail.attainedMs += addedMs;
    trail.stages.push(ended);
    if (trail.stages.length > MAX_TRAIL_STAGES) trail.stages.shift();
  }

  /** The workflow is over (or idle for so long that it counts as over): its trail becomes history. */
  workflowEnded(workflowId: string): void {
    const trail = this.trails.peek(workflowId);
    if (!trail) return;
    this.trails.delete(workflowId);
    this.learn(trail);
  }

  /** What ended workflows have taught; the trails of running ones are not saved. */
  state(): KeyedWindowsState {
    return this.history.state();
  }

  restore(state: KeyedWindowsState): void {
    this.history.restore(state);
  }

  private learn(trail: Trail): void {
    for (const { stage, invocationIndex, beforeMs } of trail.stages) {
      const toEndMs = trail.attainedMs - beforeMs;
      for (const key of keysOf(stage.template, stage.role, invocationIndex)) this.history.add(key, toEndMs);
      this.onLearned(stage, toEndMs);
      this.history.add(GLOBAL_KEY, toEndMs);
    }
  }

  private medianToEnd({ template, role }: Stage, { invocationIndex }: StageContext): number | undefined {
    const [fine, ofRole, ofTemplate] = keysOf(template, role, invocationIndex);
    return (
      this.median(fine, MIN_SAMPLES) ??
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

/** Service that the workflow had attained when a stage arrived: all but that of stages which ended later. */
function attainedBefore({ stages, attainedMs }: Trail, arrivalMs: number): number {
  let beforeMs = attainedMs;
  for (let index = stages.length - 1; index >= 0 && stages[index]!.endMs > arrivalMs; index--) {
    beforeMs -= stages[index]!.addedMs;
  }
  return beforeMs;
}

const ROLE = new KeyMemo((template, role) => `${template}\n${role}`);
const FINE = new KeyMemo((template, role, bin) => `${template}\n${role}\n${bin}`);

function keysOf(template: string, name: string, invocationIndex: number): readonly [string, string, string] {
  return [FINE.of(template, name, String(logBin(invocationIndex))), ROLE.of(template, name), template];
}
