import { LruMap } from '../model/lru-map.js';
import type { OutputTrail, Stage, WorkflowPast } from '../model/stage.js';

/** What is remembered of one agent, or of one role, of a workflow. */
interface Party {
  begun: number;
  outputs: OutputTrail | undefined;
  lastPromptTokens: number | undefined;
}

const MAX_PARTIES = 128;

/** What the calls of one workflow have shown so far: the detailed part of a stage's context. */
export class WorkflowMemory {
  private readonly parties = new LruMap<string, Party>(MAX_PARTIES);
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
    const agent = this.party(agentKey(stage));
    const role = this.party(roleKey(stage));
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
    const agent = this.party(agentKey(stage));
    agent.begun = Math.max(0, agent.begun - 1);
  }

  /** Learns from a stage that finished; its length and whether it called a tool are not always told. */
  end(stage: Stage, outputTokens: number | undefined, toolCalled: boolean | undefined): void {
    this.hasFinished = true;
    if (outputTokens !== undefined) {
      const agent = this.party(agentKey(stage));
      const role = this.party(roleKey(stage));
      agent.outputs = extend(agent.outputs, outputTokens);
      role.outputs = extend(role.outputs, outputTokens);
      this.outputs = extend(this.outputs, outputTokens);
      this.finished = extend(this.finished, outputTokens);
    }
    this.beforeLastRole = this.lastRole;
    this.lastRole = stage.role;
    if (toolCalled === undefined) return;
    this.toolAnswers += 1;
    this.toolCalls += toolCalled ? 1 : 0;
    this.toolRun = toolCalled ? this.toolRun + 1 : 0;
    this.lastToolCalled = toolCalled;
  }

  private party(key: string): Party {
    let party = this.parties.get(key);
    if (!party) {
      party = { begun: 0, outputs: undefined, lastPromptTokens: undefined };
      this.parties.set(key, party);
    }
    return party;
  }
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

function roleKey(stage: Stage): string {
  return `r\n${stage.role}`;
}

function agentKey(stage: Stage): string {
  return `a\n${stage.role}\n${stage.agent ?? ''}`;
}
