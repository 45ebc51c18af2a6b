import type { ReplayStage, ReplayWorkflow } from './replay.js';
import type { SeenStage, SeenWorkflow, TrafficWindow } from './traffic-window.js';

export interface ReplayPlan {
  readonly workflows: readonly ReplayWorkflow[];
  readonly horizonMs: number;
  /** How much of the window is replayed. */
  readonly spanMs: number;
  /** One workflow in so many has been taken. */
  readonly thinning: number;
  /** Workflows that count. */
  readonly counted: number;
  readonly stages: number;
}

export interface PlanLimits {
  /** Stages of one replay at most. Where the window holds more, one workflow in so many is taken, and if that is not enough, a shorter part of it. */
  readonly maxStages: number;
  /** One in how many workflows may be taken, in rising order. */
  readonly thinnings: readonly number[];
  /** Changes which example stands in for what is not known, so that chance evens out over several plans. */
  readonly round: number;
}

/** How often the arrivals of the window come again. */
const COPIES = 2;
/** A share of a call's output is left however long it has run. */
const LEAST_LEFT = 0.1;

/**
 * What is likely to come: the workflows under way go on from where they are, and the arrivals of the window come again, twice. The first time they count; the second they keep the fleet
 * loaded while the counted ones end, since an ordering that only defers must not look good for the quiet after the last arrival. How an unfinished workflow goes on is taken from a finished
 * one of its template.
 */
export function planReplay(window: TrafficWindow, nowMs: number, limits: PlanLimits): ReplayPlan {
  const all = [...window.all()];
  const stages = all.reduce((sum, workflow) => sum + COPIES * workflow.stages.length, 0);
  const thinning = limits.thinnings.find((k) => stages / k <= limits.maxStages) ?? limits.thinnings.at(-1)!;
  const seen = thinning === 1 ? all : all.filter(({ workflowId }) => hashOf(workflowId) % thinning === 0);
  const fromMs = windowStart(seen, nowMs, window.config.windowMs, limits.maxStages);
  const spanMs = nowMs - fromMs;
  const open = seen.filter((workflow) => !workflow.over || workflow.liveStages > 0);
  const arrivals = seen.filter(({ arrivalMs }) => arrivalMs >= fromMs);
  const workflows = [
    ...open.map((workflow) => goOn(workflow, window, nowMs, limits.round)).sort(runningFirst),
    ...Array.from({ length: COPIES }, (_, turn) => turn).flatMap((turn) =>
      arrivals.map((workflow) =>
        comeAgain(workflow, window, workflow.arrivalMs - fromMs + turn * spanMs, limits.round, turn === 0),
      ),
    ),
  ].filter(({ stages }) => stages.some(({ state }) => state !== 'done'));
  const longest = workflows.reduce(
    (last, { counts, atMs, deadlineMs }) => (counts ? Math.max(last, atMs + deadlineMs) : last),
    0,
  );
  return {
    workflows,
    horizonMs: Math.max(COPIES * spanMs, longest),
    spanMs,
    thinning,
    counted: workflows.filter(({ counts }) => counts).length,
    stages: workflows.reduce((sum, { stages }) => sum + stages.length, 0),
  };
}

/** Start of the part of the window that is replayed: all of it, unless it holds too many stages. */
function windowStart(seen: readonly SeenWorkflow[], nowMs: number, windowMs: number, maxStages: number): number {
  let stages = 0;
  let fromMs = nowMs;
  for (let index = seen.length - 1; index >= 0; index--) {
    const workflow = seen[index]!;
    if (workflow.arrivalMs < nowMs - windowMs) break;
    stages += COPIES * Math.max(1, workflow.stages.length);
    if (stages > maxStages) break;
    fromMs = workflow.arrivalMs;
  }
  return fromMs;
}

function runningFirst(a: ReplayWorkflow, b: ReplayWorkflow): number {
  return Math.sign(b.before.startedStages) - Math.sign(a.before.startedStages) || b.before.ageMs - a.before.ageMs;
}

/** A workflow under way, from now on. */
function goOn(workflow: SeenWorkflow, window: TrafficWindow, nowMs: number, round: number): ReplayWorkflow {
  const { arrivalMs, deadlineMs, stages } = workflow;
  const example = exampleFor(workflow, window, round);
  const own = stages.map((stage, index): ReplayStage => {
    const expected = expectedOutput(stage, index, example);
    const elapsed =
      stage.startedMs === undefined ? 0 : (nowMs - stage.startedMs) / Math.max(1, stage.prediction.serviceMs);
    return {
      ...plain(stage),
      waitFor: stage.waitFor.filter((before) => stages[before]!.endedMs === undefined),
      delayMs: 0,
      outputTokens: Math.max(1, Math.round(expected * Math.max(LEAST_LEFT, 1 - elapsed))),
      state: stage.endedMs !== undefined ? 'done' : stage.startedMs !== undefined ? 'running' : 'waiting',
    };
  });
  const live = own.flatMap(({ state }, index) => (state === 'done' ? [] : [index]));
  const idleMs = live.length > 0 ? 0 : nowMs - workflow.lastSeenMs;
  return {
    ...common(workflow),
    // All three kinds are marked, or a client's own name could be that of another's return.
    workflowId: `now:${workflow.workflowId}`,
    atMs: 0,
    deadlineMs: arrivalMs + deadlineMs - nowMs,
    // Who is late already is so under every ordering, and in a backlog there are many of them.
    counts: arrivalMs + deadlineMs >= nowMs,
    before: {
      ageMs: nowMs - arrivalMs,
      startedStages: stages.filter(({ startedMs }) => startedMs !== undefined).length,
      attainedServiceMs: stages.reduce(
        (sum, { startedMs, endedMs }) =>
          sum + (startedMs !== undefined && endedMs !== undefined ? endedMs - startedMs : 0),
        0,
      ),
    },
    stages: [...own, ...grafted(workflow, example, live, idleMs)],
  };
}

/** The same workflow, or one like it, arrives once more. */
function comeAgain(
  workflow: SeenWorkflow,
  window: TrafficWindow,
  atMs: number,
  round: number,
  counts: boolean,
): ReplayWorkflow {
  const { deadlineMs, stages } = workflow;
  const example = workflow.over && workflow.liveStages === 0 ? undefined : exampleFor(workflow, window, round);
  const own = stages.map(
    (stage, index): ReplayStage => ({
      ...plain(stage),
      outputTokens: expectedOutput(stage, index, example),
      state: 'waiting',
    }),
  );
  const open = own.flatMap((_, index) => (stages[index]!.endedMs === undefined ? [index] : []));
  return {
    ...common(workflow),
    workflowId: `${counts ? 'again' : 'after'}:${workflow.workflowId}`,
    atMs,
    deadlineMs,
    counts,
    before: { ageMs: 0, startedStages: 0, attainedServiceMs: 0 },
    stages: [...own, ...grafted(workflow, example, open, 0)],
  };
}

/** What follows the revealed stages, as it did in the example. It waits for what is still open here, where its own predecessors have no place. */
function grafted(
  workflow: SeenWorkflow,
  example: SeenWorkflow | undefined,
  open: readonly number[],
  idleMs: number,
): ReplayStage[] {
  const revealed = workflow.stages.length;
  if (!example) return [];
  return example.stages.slice(revealed).map((stage): ReplayStage => {
    const before = stage.waitFor.filter((index) => index >= revealed || open.includes(index));
    const waitFor = before.length > 0 ? before : open.length > 0 ? open : [];
    return {
      ...plain(stage),
      waitFor,
      delayMs: waitFor.length > 0 ? stage.delayMs : Math.max(0, stage.delayMs - idleMs),
      outputTokens: stage.outputTokens ?? Math.round(stage.prediction.outputTokens.mean),
      state: 'waiting',
    };
  });
}

/** A finished workflow of the same template that got further than this one has; which of them, goes by the name and the round. */
function exampleFor(workflow: SeenWorkflow, window: TrafficWindow, round: number): SeenWorkflow | undefined {
  if (workflow.over) return undefined;
  const all = window.examplesOf(workflow.template);
  const longer = all.filter(({ stages }) => stages.length >= workflow.stages.length);
  if (longer.length === 0) return undefined;
  return longer[(hashOf(workflow.workflowId) + 7919 * round) % longer.length];
}

function expectedOutput(stage: SeenStage, index: number, example: SeenWorkflow | undefined): number {
  if (stage.outputTokens !== undefined) return stage.outputTokens;
  const like = example?.stages[index];
  if (like?.role === stage.role && like.outputTokens !== undefined) return Math.min(like.outputTokens, stage.maxTokens);
  return Math.max(1, Math.round(stage.prediction.outputTokens.mean));
}

/** What is known of a stage. Its output and state are the caller's to set; they are named here so that all stages of a plan have one hidden class. */
function plain({
  role,
  model,
  promptTokens,
  maxTokens,
  outputLimited,
  stream,
  prediction,
  waitFor,
  delayMs,
  prefixOf,
  sharedTokens,
}: SeenStage): ReplayStage {
  return {
    role,
    model,
    promptTokens,
    maxTokens,
    outputLimited,
    stream,
    prediction,
    waitFor,
    delayMs,
    prefixOf,
    sharedTokens,
    outputTokens: 0,
    state: 'waiting',
  };
}

function common({ workflowId, tenant, template, sloClass }: SeenWorkflow) {
  return { workflowId, tenant, template, sloClass };
}

function hashOf(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index++) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0;
  return hash >>> 0;
}
