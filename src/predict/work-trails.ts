import { FreePlaces, floatsWithRoom, intsWithRoom } from '../model/flat.js';
import { LruPlaces, NO_PLACE } from '../model/lru-places.js';
import type { Stage } from '../model/stage.js';

/** Whose stages count as alike. */
export type StageKind = Pick<Stage, 'template' | 'model' | 'role'>;

/** One ended stage of a workflow that is still running. */
export interface TrailedStage {
  readonly kind: StageKind;
  readonly invocationIndex: number;
  /** Service of the workflow before this stage arrived, milliseconds. */
  readonly beforeMs: number;
  /** Service that this stage added to its workflow: its own, less the share that ran beside a sibling. */
  readonly addedMs: number;
  /** On the gateway's clock. */
  readonly endMs: number;
  /** What the caller has to say of it. */
  readonly note: number;
}

/** Stages after which a workflow's trail keeps its end only; longer ones rank by the last bins anyway. */
const MAX_TRAIL_STAGES = 1024;

const NONE = -1;

/**
 * The ended stages of the workflows that are still running, the last of each workflow first. There are thousands of workflows, most of one stage where clients name none, and each is looked
 * at again only when it ends. So all of it lies in a few flat arrays: objects, and the boxed numbers in them, the garbage collector would have to move twice.
 */
export class WorkTrails {
  private readonly workflows: LruPlaces<string>;
  /** By workflow: service of its ended stages, up to when some stage was in service, how many stages, and which. */
  private attained = new Float64Array();
  private covered = new Float64Array();
  private counts = new Int32Array();
  private oldest = new Int32Array();
  private newest = new Int32Array();
  /** By stage, with the neighbours in its workflow. */
  private readonly stages = new FreePlaces();
  private readonly kinds: StageKind[] = [];
  private invocations = new Int32Array();
  private before = new Float64Array();
  private added = new Float64Array();
  private ends = new Float64Array();
  private notes = new Int32Array();
  private older = new Int32Array();
  private newer = new Int32Array();

  /**
   * @param onEvicted Is told of a workflow that has to be forgotten for another one, while its trail is there.
   * @param onShortened Is told the note of a stage that a long trail loses.
   */
  constructor(
    maxWorkflows: number,
    onEvicted: (trail: number) => void,
    private readonly onShortened: (note: number) => void,
  ) {
    this.workflows = new LruPlaces(maxWorkflows, (trail) => {
      onEvicted(trail);
      this.clear(trail);
    });
  }

  /** The trail of a workflow; {@link NO_PLACE} where it has none. */
  peek(workflowId: string): number {
    return this.workflows.peek(workflowId);
  }

  /** The same; the workflow becomes the most recently used. */
  get(workflowId: string): number {
    return this.workflows.get(workflowId);
  }

  attainedMs(trail: number): number {
    return this.attained[trail]!;
  }

  coveredUntilMs(trail: number): number {
    return this.covered[trail]!;
  }

  /** Service that the workflow had attained when a stage arrived: all but that of stages which ended later. */
  attainedBefore(trail: number, arrivalMs: number): number {
    let beforeMs = this.attained[trail]!;
    for (let stage = this.newest[trail]!; stage !== NONE && this.ends[stage]! > arrivalMs; stage = this.older[stage]!) {
      beforeMs -= this.added[stage]!;
    }
    return beforeMs;
  }

  /** Begins the trail of a workflow that has none. */
  begin(workflowId: string): number {
    const trail = this.workflows.add(workflowId);
    this.attained = floatsWithRoom(this.attained, trail);
    this.covered = floatsWithRoom(this.covered, trail);
    this.counts = intsWithRoom(this.counts, trail);
    this.oldest = intsWithRoom(this.oldest, trail);
    this.newest = intsWithRoom(this.newest, trail);
    this.attained[trail] = 0;
    this.covered[trail] = Number.NEGATIVE_INFINITY;
    this.counts[trail] = 0;
    this.oldest[trail] = NONE;
    this.newest[trail] = NONE;
    return trail;
  }

  /** Adds an ended stage. */
  push(trail: number, { kind, invocationIndex, beforeMs, addedMs, endMs, note }: TrailedStage): void {
    const stage = this.stages.take();
    if (stage >= this.notes.length) this.grow(stage);
    this.kinds[stage] = kind;
    this.invocations[stage] = invocationIndex;
    this.before[stage] = beforeMs;
    this.added[stage] = addedMs;
    this.ends[stage] = endMs;
    this.notes[stage] = note;
    const last = this.newest[trail]!;
    this.older[stage] = last;
    this.newer[stage] = NONE;
    if (last === NONE) this.oldest[trail] = stage;
    else this.newer[last] = stage;
    this.newest[trail] = stage;
    this.attained[trail]! += addedMs;
    this.covered[trail] = Math.max(this.covered[trail]!, endMs);
    this.counts[trail]! += 1;
    if (this.counts[trail]! > MAX_TRAIL_STAGES) this.shorten(trail);
  }

  /** Shows the stages of a trail, the one that ended first first. */
  visit(trail: number, each: (kind: StageKind, invocationIndex: number, beforeMs: number, note: number) => void): void {
    for (let stage = this.oldest[trail]!; stage !== NONE; stage = this.newer[stage]!) {
      each(this.kinds[stage]!, this.invocations[stage]!, this.before[stage]!, this.notes[stage]!);
    }
  }

  /** Forgets a workflow. */
  end(workflowId: string): void {
    const trail = this.workflows.delete(workflowId);
    if (trail !== NO_PLACE) this.clear(trail);
  }

  private clear(trail: number): void {
    for (let stage = this.oldest[trail]!; stage !== NONE; stage = this.newer[stage]!) this.stages.give(stage);
    this.oldest[trail] = NONE;
    this.newest[trail] = NONE;
  }

  private shorten(trail: number): void {
    const stage = this.oldest[trail]!;
    const next = this.newer[stage]!;
    this.oldest[trail] = next;
    this.older[next] = NONE;
    this.counts[trail]! -= 1;
    this.stages.give(stage);
    this.onShortened(this.notes[stage]!);
  }

  private grow(stage: number): void {
    this.invocations = intsWithRoom(this.invocations, stage);
    this.before = floatsWithRoom(this.before, stage);
    this.added = floatsWithRoom(this.added, stage);
    this.ends = floatsWithRoom(this.ends, stage);
    this.notes = intsWithRoom(this.notes, stage);
    this.older = intsWithRoom(this.older, stage);
    this.newer = intsWithRoom(this.newer, stage);
  }
}
