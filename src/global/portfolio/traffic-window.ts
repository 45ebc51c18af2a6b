import { ChurnMap } from '../../model/churn-map.js';
import type { Prediction, Stage, StageOutcome } from '../../model/stage.js';
import { prefixBoundary, sharedBoundaries } from '../prefix-overlap.js';

/** A stage of the window. What is not known of it yet is undefined. Times are clock milliseconds. */
export interface SeenStage {
  readonly role: string;
  readonly model: string;
  readonly promptTokens: number;
  readonly maxTokens: number;
  readonly outputLimited: boolean;
  readonly stream: boolean;
  readonly prediction: Prediction;
  /** Places, in the same workflow, of the stages whose ends this one waited for. */
  readonly waitFor: readonly number[];
  /** Think and tool time from the last of those ends to this stage; for a root, from the arrival of the workflow. */
  readonly delayMs: number;
  /** Place of the stage that it shares its leading tokens with; undefined for those that others of its template begin with too. */
  readonly prefixOf: number | undefined;
  readonly sharedTokens: number;
  readonly submittedMs: number;
  startedMs: number | undefined;
  endedMs: number | undefined;
  outputTokens: number | undefined;
}

/** A workflow of the window, with the stages that it has revealed. */
export interface SeenWorkflow {
  readonly workflowId: string;
  readonly tenant: string;
  readonly template: string;
  readonly sloClass: string;
  readonly arrivalMs: number;
  /** After the arrival. */
  deadlineMs: number;
  stages: SeenStage[];
  liveStages: number;
  /** It said that it is over, or a stage of it failed. */
  over: boolean;
  /** A stage of it did not complete. */
  failed: boolean;
  lastSeenMs: number;
  /** Whether it is in {@link TrafficWindow.takeOutcomes} already. */
  judged: boolean;
  longestGapMs: number;
  /** Ended stages that the next one waits for, and whether one has been seen that waited for them. */
  frontier: readonly number[];
  frontierUsed: boolean;
  /** Prefixes of the newest stage of each agent, to compare the next one with: agents of a workflow each have a context that grows. */
  prefixes: AgentPrefix[];
}

interface AgentPrefix {
  readonly agent: string;
  hashes: readonly string[];
  index: number;
}

export interface TrafficWindowConfig {
  /** Arrivals of this long are kept. */
  readonly windowMs: number;
  /** Workflows kept at most, whatever the window; twice as many for a while, so that they need not be counted out one by one. */
  readonly maxWorkflows: number;
  /** Finished workflows of each template that are kept as examples of how its workflows go on. */
  readonly examplesPerTemplate: number;
  readonly maxTemplates: number;
  /** A workflow without calls for so long, and three times its longest pause so far, counts as over. */
  readonly idleMs: number;
}

const DEFAULT_TRAFFIC_CONFIG: TrafficWindowConfig = {
  windowMs: 5 * 60_000,
  maxWorkflows: 4_000,
  examplesPerTemplate: 32,
  maxTemplates: 64,
  idleMs: 20_000,
};

/** Stages of one workflow that are remembered; an agent that goes on for ever must not make the window grow. */
const MAX_STAGES = 512;
/** Agents of a workflow whose prefixes are compared. */
const MAX_PREFIXES = 16;

const NO_STAGES: readonly number[] = [];

interface Live {
  readonly workflow: SeenWorkflow;
  readonly index: number;
  readonly stage: SeenStage;
}

/**
 * The last minutes of traffic as the scheduler has seen it: arrivals, stages with who waited for whom, pauses, lengths, shared prefixes. Structure is inferred from times: a stage
 * waits for whatever ended since the last stage began that waited for something. Constant work a stage, besides a binary search in its prefix.
 */
export class TrafficWindow {
  readonly config: TrafficWindowConfig;
  private readonly workflows = new Map<string, SeenWorkflow>();
  private readonly live = new ChurnMap<Live>();
  private readonly examples = new Map<string, SeenWorkflow[]>();
  private readonly templateHashes = new Map<string, readonly string[]>();
  private submitted = 0;
  private delayed = 0;
  private ended = 0;
  private inTime = 0;

  constructor(config: Partial<TrafficWindowConfig> = {}) {
    this.config = { ...DEFAULT_TRAFFIC_CONFIG, ...config };
  }

  get size(): number {
    return this.workflows.size;
  }

  /** All workflows of the window, oldest first; those that are under way stay however old they are. */
  all(): Iterable<SeenWorkflow> {
    return this.workflows.values();
  }

  /** Finished workflows of the template, oldest first; of any template where it has none. */
  examplesOf(template: string): readonly SeenWorkflow[] {
    return this.examples.get(template) ?? [...this.examples.values()].flat();
  }

  /** Stages begun since the last call, and how many of them had to wait for a turn. Order does not matter to traffic that never waits. */
  takeCounts(): { readonly submitted: number; readonly delayed: number } {
    const { submitted, delayed } = this;
    this.submitted = 0;
    this.delayed = 0;
    return { submitted, delayed };
  }

  /** Workflows whose fate has become known since the last call, and how many of them were in time; as of the last {@link prune}. */
  takeOutcomes(): { readonly ended: number; readonly inTime: number } {
    const { ended, inTime } = this;
    this.ended = 0;
    this.inTime = 0;
    return { ended, inTime };
  }

  stageSubmitted(stage: Stage, prediction: Prediction, nowMs: number): void {
    const workflow = this.workflows.get(stage.workflowId) ?? this.open(stage, nowMs);
    workflow.deadlineMs = Math.min(workflow.deadlineMs, stage.deadlineMs - workflow.arrivalMs);
    workflow.lastSeenMs = nowMs;
    workflow.liveStages += 1;
    workflow.over = false;
    if (workflow.stages.length >= MAX_STAGES) return;
    const { frontier, stages } = workflow;
    const readyMs = frontier.reduce((last, index) => Math.max(last, stages[index]!.endedMs!), workflow.arrivalMs);
    const delayMs = Math.max(0, nowMs - readyMs);
    if (frontier.length > 0) workflow.longestGapMs = Math.max(workflow.longestGapMs, delayMs);
    const { prefixOf, sharedTokens } = this.prefixOf(workflow, stage);
    const seen: SeenStage = {
      role: stage.role,
      model: stage.model,
      promptTokens: stage.promptTokens,
      maxTokens: stage.maxTokens,
      outputLimited: stage.outputLimited === true,
      stream: stage.features.stream,
      prediction,
      waitFor: frontier,
      delayMs,
      prefixOf,
      sharedTokens,
      submittedMs: nowMs,
      startedMs: undefined,
      endedMs: undefined,
      outputTokens: undefined,
    };
    workflow.frontierUsed = true;
    this.live.set(stage.stageId, { workflow, index: stages.length, stage: seen });
    // Most workflows of clients that name none have one stage: the lists are made for it.
    if (stages.length === 0) workflow.stages = [seen];
    else stages.push(seen);
    if (stage.finalStage) workflow.over = true;
    this.submitted += 1;
  }

  stageStarted(stageId: string, nowMs: number): void {
    const live = this.live.get(stageId);
    if (!live || live.stage.startedMs !== undefined) return;
    live.stage.startedMs = nowMs;
    if (nowMs - live.stage.submittedMs >= WAITED_MS) this.delayed += 1;
  }

  /** The stage went back to the queue. */
  stageReturned(stageId: string): void {
    const live = this.live.get(stageId);
    if (live) live.stage.startedMs = undefined;
  }

  /** The stage is over. Without an outcome it was given up before it ran, and its workflow with it. */
  stageEnded(stageId: string, outcome: StageOutcome | undefined, nowMs: number): void {
    const live = this.live.get(stageId);
    if (!live) return;
    this.live.delete(stageId);
    const { workflow, index, stage } = live;
    workflow.liveStages -= 1;
    workflow.lastSeenMs = nowMs;
    stage.endedMs = nowMs;
    stage.outputTokens = outcome?.outputTokens;
    if (outcome?.kind !== 'completed') {
      workflow.over = true;
      workflow.failed = true;
    }
    workflow.frontier = workflow.frontierUsed ? [index] : [...workflow.frontier, index];
    workflow.frontierUsed = false;
    if (workflow.over && workflow.liveStages === 0 && outcome?.kind === 'completed') this.keepExample(workflow);
  }

  /** Forgets what has left the window. Call it now and then. */
  prune(nowMs: number): void {
    const { windowMs, maxWorkflows, idleMs } = this.config;
    let spare = this.workflows.size - maxWorkflows;
    for (const [workflowId, workflow] of this.workflows) {
      const { over, liveStages, lastSeenMs, longestGapMs } = workflow;
      if (!over && liveStages === 0 && nowMs - lastSeenMs > Math.max(idleMs, 3 * longestGapMs)) {
        workflow.over = true;
        this.keepExample(workflow);
      }
      this.judge(workflow, nowMs);
      const old = workflow.arrivalMs < nowMs - windowMs;
      if (workflow.liveStages > 0 || (!(old && workflow.over) && spare <= 0)) continue;
      this.workflows.delete(workflowId);
      spare -= 1;
    }
  }

  private judge(workflow: SeenWorkflow, nowMs: number): void {
    const { judged, over, failed, liveStages, lastSeenMs, arrivalMs, deadlineMs } = workflow;
    const dueMs = arrivalMs + deadlineMs;
    const ended = over && liveStages === 0;
    if (judged || !(ended || nowMs > dueMs)) return;
    workflow.judged = true;
    this.ended += 1;
    if (ended && !failed && lastSeenMs <= dueMs) this.inTime += 1;
  }

  private open(stage: Stage, nowMs: number): SeenWorkflow {
    if (this.workflows.size >= 2 * this.config.maxWorkflows) this.prune(nowMs);
    const workflow: SeenWorkflow = {
      workflowId: stage.workflowId,
      tenant: stage.tenant,
      template: stage.template,
      sloClass: stage.sloClass,
      arrivalMs: nowMs,
      deadlineMs: stage.deadlineMs - nowMs,
      stages: [],
      liveStages: 0,
      over: false,
      failed: false,
      lastSeenMs: nowMs,
      judged: false,
      longestGapMs: 0,
      frontier: NO_STAGES,
      frontierUsed: false,
      prefixes: [],
    };
    this.workflows.set(stage.workflowId, workflow);
    return workflow;
  }

  /** The stage of its workflow that it shares most of its prompt with; a first stage is compared with the first one of its template. */
  private prefixOf(workflow: SeenWorkflow, stage: Stage): Pick<SeenStage, 'prefixOf' | 'sharedTokens'> {
    const hashes = stage.prefixHashes;
    const { prefixes, stages } = workflow;
    const template = this.templateHashes.get(stage.template);
    let shared = template ? sharedBoundaries(hashes, template) : 0;
    let prefixOf: number | undefined;
    let whole = 0;
    for (const other of prefixes) {
      const common = sharedBoundaries(hashes, other.hashes);
      if (common < shared || common === 0) continue;
      shared = common;
      prefixOf = other.index;
      // Where all of the other's boundaries are shared, so is most likely what comes after the last of them.
      whole = common === other.hashes.length ? stages[other.index]!.promptTokens : 0;
    }
    if (!template && this.templateHashes.size < this.config.maxTemplates)
      this.templateHashes.set(stage.template, hashes);
    const agent = stage.agent === undefined ? stage.role : `${stage.role}\n${stage.agent}`;
    const known = prefixes.find((prefix) => prefix.agent === agent);
    if (known) {
      known.hashes = hashes;
      known.index = stages.length;
    } else if (prefixes.length === 0) workflow.prefixes = [{ agent, hashes, index: stages.length }];
    else if (prefixes.length < MAX_PREFIXES) prefixes.push({ agent, hashes, index: stages.length });
    const share = hashes.length === 0 ? 0 : prefixBoundary(shared) / prefixBoundary(hashes.length);
    const sharedTokens = Math.max(Math.floor(share * stage.promptTokens), Math.min(whole, stage.promptTokens));
    return { prefixOf, sharedTokens };
  }

  private keepExample(workflow: SeenWorkflow): void {
    let kept = this.examples.get(workflow.template);
    if (!kept) {
      if (this.examples.size >= this.config.maxTemplates) return;
      kept = [];
      this.examples.set(workflow.template, kept);
    }
    kept.push(workflow);
    if (kept.length > this.config.examplesPerTemplate) kept.shift();
  }
}

/** A start that comes sooner was not waited for. */
const WAITED_MS = 20;
