import { LruMap } from '../model/lru-map.js';
import type { OutcomeKind, Stage, StageContext, StageOutcome } from '../model/stage.js';
import { MINUTE_MS } from '../model/units.js';
import { NOTHING_YET, WorkflowMemory } from './workflow-past.js';

/** A workflow as far as its calls have revealed it. Times are clock milliseconds. */
export interface WorkflowState {
  readonly workflowId: string;
  /** Class of its first stage. */
  readonly sloClass: string;
  /** Arrival of its first stage. */
  arrivalMs: number;
  /** The earliest deadline that any of its stages named. */
  deadlineMs: number;
  /** Stages seen so far, and how many of them have not ended. */
  stages: number;
  liveStages: number;
  /** Stages that have left our queue. A workflow with none has not started. */
  dispatchedStages: number;
  /** Service time of the ended stages, milliseconds. */
  attainedServiceMs: number;
  lastOutputTokens: number | undefined;
  lastEndMs: number | undefined;
  /** How the stage that ended last did, rejected ones included; undefined before the first end. */
  lastOutcome: OutcomeKind | undefined;
  lastSeenMs: number;
  readonly memory: WorkflowMemory;
}

/** What {@link WorkflowTracker} remembers at most, and for how long. */
export interface TrackerConfig {
  /** A workflow without live stages counts as over after this long without a call; a later call of it begins a new one. */
  readonly idleMs: number;
  /** Workflows remembered; beyond it the one that has been quiet longest is forgotten. */
  readonly maxWorkflows: number;
  /** Hears of each workflow once, when it is over: said to be, idle, or forgotten. */
  readonly onOver?: (workflow: WorkflowState) => void;
}

const DEFAULT_TRACKER_CONFIG: TrackerConfig = { idleMs: 3 * MINUTE_MS, maxWorkflows: 10_000 };

/** Whoever keeps a tracker looks so often for idle workflows. */
export const IDLE_CHECK_MS = 5_000;

/** What is known before the first call of any workflow. */
const FIRST_CALL: StageContext = {
  stageIndex: 0,
  invocationIndex: 0,
  liveStages: 0,
  lastRoleOutputTokens: undefined,
  lastOutputTokens: undefined,
  gapMs: undefined,
  past: NOTHING_YET,
};

/** Bounds the work of one look for idle workflows. */
const MAX_EXPIRED_PER_CALL = 256;

/**
 * Follows workflows from nothing but the identity on their calls: no declared graph, no end marker needed. A workflow begins with
 * its first stage and is over when it says so, when it has been idle for long, or when it is forgotten for lack of room.
 */
export class WorkflowTracker {
  private readonly workflows: LruMap<string, WorkflowState>;
  private forgotten: string[] = [];

  private readonly config: TrackerConfig;

  constructor(config: Partial<TrackerConfig> = {}) {
    this.config = { ...DEFAULT_TRACKER_CONFIG, ...config };
    this.workflows = new LruMap(this.config.maxWorkflows);
  }

  /** Workflows remembered now. */
  get size(): number {
    return this.workflows.size;
  }

  workflow(workflowId: string): WorkflowState | undefined {
    return this.workflows.peek(workflowId);
  }

  /** Counts a new stage; returns what was known of its workflow before it, the input of the predictors. */
  begin(stage: Stage, nowMs: number): StageContext {
    const workflow = this.workflows.get(stage.workflowId);
    if (!workflow) {
      this.create(stage, nowMs);
      return FIRST_CALL;
    }
    const role = workflow.memory.ofRole(stage.role);
    const context: StageContext = {
      stageIndex: workflow.stages,
      invocationIndex: role.begun,
      liveStages: workflow.liveStages,
      lastRoleOutputTokens: role.lastTokens,
      lastOutputTokens: workflow.lastOutputTokens,
      gapMs: workflow.lastEndMs === undefined ? undefined : Math.max(0, nowMs - workflow.lastEndMs),
      past: workflow.memory.begin(stage),
    };
    workflow.stages += 1;
    workflow.liveStages += 1;
    workflow.deadlineMs = Math.min(workflow.deadlineMs, stage.deadlineMs);
    workflow.lastSeenMs = nowMs;
    return context;
  }

  /** What had happened to a workflow before its first stage came here; a replay takes it up half-way. */
  resume(workflowId: string, before: { ageMs: number; startedStages: number; attainedServiceMs: number }): void {
    const workflow = this.workflows.peek(workflowId);
    if (!workflow) return;
    workflow.arrivalMs -= before.ageMs;
    workflow.dispatchedStages = before.startedStages;
    workflow.attainedServiceMs = before.attainedServiceMs;
  }

  /**
   * Counts the end of a stage, however it ended. True when its workflow is over with it: the client had called the stage the last one, and no other is under way. What is forgotten then
   * learns nothing more.
   */
  end(stage: Stage, outcome: StageOutcome, nowMs: number): boolean {
    const workflow = this.workflows.get(stage.workflowId);
    if (!workflow) return false;
    workflow.lastOutcome = outcome.kind;
    if (stage.finalStage && workflow.liveStages <= 1) {
      workflow.lastEndMs = nowMs;
      this.over(workflow);
      return true;
    }
    if (workflow.liveStages > 0) endStage(workflow, stage, outcome, nowMs);
    return false;
  }

  /** The workflow said that it is over. False when nothing is known of it or stages of it are still alive. */
  finishWorkflow(workflowId: string): boolean {
    const workflow = this.workflows.peek(workflowId);
    if (!workflow || workflow.liveStages > 0) return false;
    this.over(workflow);
    return true;
  }

  /** Ids of workflows that are over by now: idle for long, or forgotten since the last call. */
  endIdle(nowMs: number): string[] {
    const ended = this.forgotten;
    this.forgotten = [];
    for (let looked = 0; looked < MAX_EXPIRED_PER_CALL; looked++) {
      const oldest = this.workflows.oldest();
      if (!oldest || oldest[1].lastSeenMs + this.config.idleMs > nowMs) break;
      const workflow = oldest[1];
      if (workflow.liveStages > 0) {
        // A long call is not idleness; the workflow goes to the back so that it does not hide others.
        workflow.lastSeenMs = nowMs;
        this.workflows.get(workflow.workflowId);
        continue;
      }
      this.over(workflow);
      ended.push(workflow.workflowId);
    }
    return ended;
  }

  private over(workflow: WorkflowState): void {
    this.workflows.delete(workflow.workflowId);
    this.config.onOver?.(workflow);
  }

  /** Begins with this stage. */
  private create(stage: Stage, nowMs: number): void {
    const workflow: WorkflowState = {
      workflowId: stage.workflowId,
      sloClass: stage.sloClass,
      arrivalMs: stage.arrivalMs,
      deadlineMs: stage.deadlineMs,
      stages: 1,
      liveStages: 1,
      dispatchedStages: 0,
      attainedServiceMs: 0,
      lastOutputTokens: undefined,
      lastEndMs: undefined,
      lastOutcome: undefined,
      lastSeenMs: nowMs,
      memory: new WorkflowMemory(),
    };
    workflow.memory.begin(stage);
    const evicted = this.workflows.set(stage.workflowId, workflow);
    if (evicted) {
      this.forgotten.push(evicted[0]);
      this.config.onOver?.(evicted[1]);
    }
  }
}

/** A rejected stage never happened: the client may send it again. */
function endStage(workflow: WorkflowState, stage: Stage, outcome: StageOutcome, nowMs: number): void {
  workflow.liveStages -= 1;
  workflow.lastSeenMs = nowMs;
  if (outcome.kind === 'rejected') {
    workflow.stages -= 1;
    workflow.memory.undo(stage);
    return;
  }
  workflow.lastEndMs = nowMs;
  workflow.attainedServiceMs += outcome.serviceMs ?? 0;
  if (outcome.kind !== 'completed') return;
  workflow.memory.end(stage, outcome.outputTokens, outcome.toolCalled);
  if (outcome.outputTokens === undefined) return;
  workflow.lastOutputTokens = outcome.outputTokens;
}
