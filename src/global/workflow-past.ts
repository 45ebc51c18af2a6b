import { LruMap } from '../model/lru-map.js';
import type { OutputTrail, Stage, WorkflowPast } from '../model/stage.js';

/** What is remembered of one agent, or of one role, of a workflow. */
interface Party {
  begun: number;
  outputs: OutputTrail | undefined;
  lastPromptTokens: number | undefined;
}

const MAX_AGENTS = 128;
const MAX_ROLES = 64;

/** What the calls of one workflow have shown so far: the detailed part of a stage's context. */
export class WorkflowMemory {
  private readonly agents = new LruMap<string, Party>(MAX_AGENTS);
  private readonly roles = new LruMap<string, Party>(MAX_ROLES);
  private outputs: OutputTrail | undefined;
  private parents: OutputTrail | undefined;
  /** Calls that have finished since a call last began: whether there are any, and their outputs where these are known. */
  private hasFinished = false;
  private finished: OutputTrail | undefined;
  private generation = 0;
  private toolAnswers = 0;
  private toolCalls = 0;
  private toolRun = 0;
  private lastToolCalled: boolean | undefined;
  private lastRole: string | undefined;
  private beforeLastRole: string | undefined;

  /** Counts a stage that begins; returns what was known before it. */
  begin(stage: Stage): WorkflowPast {
    if (this.hasFinished) {
      this.parents = this.finished;
      this.finished = undefined;
      this.hasFinished = false;
      this.generation += 1;
    }
    const agent = party(this.agents, agentKey(stage));
    const role = party(this.roles, stage.role);
    const past: WorkflowPast = {
      ofAgent: agent.outputs,
      ofRole: role.outputs,
      ofWorkflow: this.outputs,
      ofParents: this.parents,
      agentIndex: agent.begun,
      generation: this.generation,
      lastPromptTokens: agent.lastPromptTokens,
      toolShare: this.toolAnswers === 0 ? undefined : this.toolCalls / this.toolAnswers,
      toolRun: this.toolRun,
      lastToolCalled: this.lastToolCalled,
      lastRole: this.lastRole,
      beforeLastRole: this.beforeLastRole,
    };
    agent.begun += 1;
    agent.lastPromptTokens = stage.promptTokens;
    return past;
  }

  /** The stage never happened: it was turned away. */
  undo(stage: Stage): void {
    const agent = party(this.agents, agentKey(stage));
    agent.begun = Math.max(0, agent.begun - 1);
  }

  /** Learns from a stage that finished; its length and whether it called a tool are not always told. */
  end(stage: Stage, outputTokens: number | undefined, toolCalled: boolean | undefined): void {
    this.hasFinished = true;
    if (outputTokens !== undefined) this.learnOutput(stage, outputTokens);
    this.beforeLastRole = this.lastRole;
    this.lastRole = stage.role;
    if (toolCalled === undefined) return;
    this.toolAnswers += 1;
    this.toolCalls += toolCalled ? 1 : 0;
    this.toolRun = toolCalled ? this.toolRun + 1 : 0;
    this.lastToolCalled = toolCalled;
  }

  private learnOutput(stage: Stage, outputTokens: number): void {
    const agent = party(this.agents, agentKey(stage));
    const role = party(this.roles, stage.role);
    // In most workflows the four are one and the same for long.
    const { outputs: before } = agent;
    const after = extend(before, outputTokens);
    agent.outputs = after;
    role.outputs = role.outputs === before ? after : extend(role.outputs, outputTokens);
    this.outputs = this.outputs === before ? after : extend(this.outputs, outputTokens);
    this.finished = this.finished === before ? after : extend(this.finished, outputTokens);
  }
}

function party(parties: LruMap<string, Party>, key: string): Party {
  let known = parties.get(key);
  if (!known) {
    known = { begun: 0, outputs: undefined, lastPromptTokens: undefined };
    parties.set(key, known);
  }
  return known;
}

function extend(trail: OutputTrail | undefined, tokens: number): OutputTrail {
  if (!trail) {
    return { calls: 1, lastTokens: tokens, beforeLastTokens: undefined, meanTokens: tokens, maxTokens: tokens };
  }
  const calls = trail.calls + 1;
  return {
    calls,
    lastTokens: tokens,
    beforeLastTokens: trail.lastTokens,
    meanTokens: trail.meanTokens + (tokens - trail.meanTokens) / calls,
    maxTokens: Math.max(trail.maxTokens, tokens),
  };
}

/** A role that names no agent is one. Names hold no line breaks. */
function agentKey({ role, agent }: Stage): string {
  return agent === undefined ? role : `${role}\n${agent}`;
}
