import { LruMap } from '../model/lru-map.js';
import type { Stage, StageContext } from '../model/stage.js';
import { type NextRole, RoleTransitions, type RoleTransitionsState } from './role-transitions.js';

/** An ended stage of which nothing has followed yet. */
interface Ended {
  readonly stage: Stage;
  readonly context: StageContext;
  readonly toolCalled: boolean | undefined;
}

/** Siblings that wait for a follower together; wider fan-outs teach with their last ones. */
const MAX_SIBLINGS = 64;

/**
 * Watches which role follows which as calls begin and end, and says what comes next. The stages of a fan-out are each followed by the first
 * stage that begins after them. For how much of each model the whole fleet is about to need, see `NextModels`.
 */
export class NextRoles {
  private readonly transitions: RoleTransitions;
  private readonly open: LruMap<string, Ended[]>;

  constructor(limits: { readonly maxCells: number; readonly maxWorkflows: number }) {
    this.transitions = new RoleTransitions(limits.maxCells);
    this.open = new LruMap(limits.maxWorkflows);
  }

  /** What may follow a stage that has ended, the most likely first. */
  after(stage: Stage, context: StageContext, toolCalled: boolean | undefined): NextRole[] {
    return this.transitions.next(stage, context, toolCalled);
  }

  begun(stage: Stage): void {
    this.settle(stage.workflowId, stage);
  }

  ended(stage: Stage, context: StageContext, toolCalled: boolean | undefined): void {
    const list = this.open.get(stage.workflowId);
    if (!list) this.open.set(stage.workflowId, [{ stage, context, toolCalled }]);
    else if (list.push({ stage, context, toolCalled }) > MAX_SIBLINGS) list.shift();
  }

  workflowEnded(workflowId: string): void {
    this.settle(workflowId, undefined);
  }

  state(): RoleTransitionsState {
    return this.transitions.state();
  }

  restore(state: RoleTransitionsState): void {
    this.transitions.restore(state);
  }

  private settle(workflowId: string, next: Stage | undefined): void {
    const list = this.open.peek(workflowId);
    if (!list) return;
    this.open.delete(workflowId);
    for (const { stage, context, toolCalled } of list) this.transitions.follow(stage, context, toolCalled, next);
  }
}
