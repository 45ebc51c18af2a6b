import { LruMap } from '../model/lru-map.js';
import type { Stage, StageContext } from '../model/stage.js';
import { KeyedWindows, type KeyedWindowsState } from './keyed-windows.js';
import { logBin } from './log-bin.js';

/** One ended stage of a workflow that is still running. */
interface TrailStage {
  readonly template: string;
  readonly role: string;
  readonly invocationIndex: number;
  /** Service that this stage added to its workflow: its own, less the share that ran beside a sibling. */
  readonly addedMs: number;
}

interface Trail {
  readonly stages: TrailStage[];
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
 * What a workflow still has to do after a stage, learned without a declared graph: the median of the service milliseconds that
 * earlier workflows had left after a stage of the same (template, role, invocation index), with back-off to (template, role),
 * the template and all. A workflow teaches when it has ended; nothing is read ahead of time.
 */
export class RemainingWork {
  private readonly history: KeyedWindows;
  private readonly trails: LruMap<string, Trail>;

  constructor(limits: { readonly maxCells: number; readonly maxWorkflows: number }) {
    this.history = new KeyedWindows(limits.maxCells, WINDOW_SAMPLES);
    this.trails = new LruMap(limits.maxWorkflows);
  }

  /** Median of the service milliseconds after this stage; 0 when nothing is known. */
  afterMs(stage: Stage, context: StageContext): number {
    const [fine, role, template] = keysOf(stage.template, stage.role, context.invocationIndex);
    return (
      this.median(fine, MIN_SAMPLES) ??
      this.median(role, MIN_SAMPLES) ??
      this.median(template, MIN_SAMPLES_COARSE) ??
      this.median(GLOBAL_KEY, MIN_SAMPLES_COARSE) ??
      0
    );
  }

  /**
   * Notes an ended stage. `isolatedMs` is its service time on an idle engine, so that a slow afternoon does not teach long
   * workflows; `startMs` and `endMs` say how much of it ran beside siblings, which is counted once.
   */
  stageEnded(stage: Stage, context: StageContext, startMs: number, endMs: number, isolatedMs: number): void {
    const { template, role, workflowId } = stage;
    const trail = this.trails.get(workflowId);
    const coveredUntilMs = trail?.coveredUntilMs ?? Number.NEGATIVE_INFINITY;
    const busyMs = Math.max(1, endMs - startMs);
    const newMs = Math.max(0, endMs - Math.max(startMs, coveredUntilMs));
    const addedMs = isolatedMs * Math.min(1, newMs / busyMs);
    const ended: TrailStage = { template, role, invocationIndex: context.invocationIndex, addedMs };
    if (!trail) {
      // Most workflows of clients that name none have one stage: the list is made for it.
      const evicted = this.trails.set(workflowId, { stages: [ended], coveredUntilMs: endMs });
      if (evicted) this.learn(evicted[1]);
      return;
    }
    trail.coveredUntilMs = Math.max(coveredUntilMs, endMs);
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
    let leftMs = 0;
    for (let index = trail.stages.length - 1; index >= 0; index--) {
      const { template, role, invocationIndex, addedMs } = trail.stages[index]!;
      for (const key of keysOf(template, role, invocationIndex)) this.history.add(key, leftMs);
      this.history.add(GLOBAL_KEY, leftMs);
      leftMs += addedMs;
    }
  }

  private median(key: string, minSamples: number): number | undefined {
    const window = this.history.peek(key);
    return window && window.count >= minSamples ? window.quantile(0.5) : undefined;
  }
}

function keysOf(template: string, name: string, invocationIndex: number): readonly [string, string, string] {
  const role = `${template}\n${name}`;
  return [`${role}\n${logBin(invocationIndex)}`, role, template];
}
