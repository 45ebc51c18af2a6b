import type { OutputTrail, Stage, WorkflowPast } from '../model/stage.js';

/** Who makes a call. */
type Who = Pick<Stage, 'role' | 'agent'>;

/** What is remembered of one agent, or of one role, of a workflow. */
interface Party {
  readonly name: string;
  begun: number;
  outputs: OutputTrail | undefined;
  lastPromptTokens: number | undefined;
  toolCalled: boolean | undefined;
}

const MAX_AGENTS = 128;
const MAX_ROLES = 64;

/** Before the first stage of any workflow. Most workflows of clients that name none have one. */
export const NOTHING_YET: WorkflowPast = {
  ofAgent: undefined,
  ofRole: undefined,
  ofWorkflow: undefined,
  ofParents: undefined,
  agentIndex: 0,
  generation: 0,
  lastPromptTokens: undefined,
  firstPromptTokens: undefined,
  agentToolCalled: undefined,
  toolShare: undefined,
  toolRun: 0,
  lastToolCalled: undefined,
  lastRole: undefined,
  beforeLastRole: undefined,
};

/**
 * What the calls of one workflow have shown so far: the detailed part of a stage's context. There are thousands of workflows, nearly all of a few agents,
 * so these stand in plain lists, the last used one last: a map of their own for each workflow costs more than all that is in it.
 */
export class WorkflowMemory {
  /** Who made the first call, and how it ended, until a second one begins: many workflows have one call, and need no lists. */
  private firstRole: string | undefined;
  private firstAgent: string | undefined;
  private firstEnded = false;
  private firstOutputTokens: number | undefined;
  private firstToolCalled: boolean | undefined;
  private agents: Party[] | undefined;
  private roles: Party[] | undefined;
  private outputs: OutputTrail | undefined;
  private parents: OutputTrail | undefined;
  /** Calls that have finished since a call last began: whether there are any, and their outputs where these are known. */
  private hasFinished = false;
  private finished: OutputTrail | undefined;
  private firstPromptTokens: number | undefined;
  private generation = 0;
  private toolAnswers = 0;
  private toolCalls = 0;
  private toolRun = 0;
  private lastToolCalled: boolean | undefined;
  private lastRole: string | undefined;
  private beforeLastRole: string | undefined;

  /** How many stages of the role have begun, and the output of the last one that finished. */
  ofRole(name: string): { readonly begun: number; readonly lastTokens: number | undefined } {
    this.listFirst();
    const role = this.role(name);
    return { begun: role.begun, lastTokens: role.outputs?.lastTokens };
  }

  /** Counts a stage that begins; returns what was known before it. */
  begin(stage: Stage): WorkflowPast {
    if (this.firstPromptTokens === undefined) {
      this.firstPromptTokens = stage.promptTokens;
      this.firstRole = stage.role;
      this.firstAgent = stage.agent;
      return NOTHING_YET;
    }
    this.listFirst();
    if (this.hasFinished) {
      this.parents = this.finished;
      this.finished = undefined;
      this.hasFinished = false;
      this.generation += 1;
    }
    const agent = this.agent(stage);
    const role = this.role(stage.role);
    const past: WorkflowPast = {
      ofAgent: agent.outputs,
      ofRole: role.outputs,
      ofWorkflow: this.outputs,
      ofParents: this.parents,
      agentIndex: agent.begun,
      generation: this.generation,
      lastPromptTokens: agent.lastPromptTokens,
      firstPromptTokens: this.firstPromptTokens,
      agentToolCalled: agent.toolCalled,
      toolShare: this.toolAnswers === 0 ? undefined : this.toolCalls / this.toolAnswers,
      toolRun: this.toolRun,
      lastToolCalled: this.lastToolCalled,
      lastRole: this.lastRole,
      beforeLastRole: this.beforeLastRole,
    };
    count(agent, role, stage.promptTokens);
    return past;
  }

  /** The stage never happened: it was turned away. */
  undo(stage: Stage): void {
    this.listFirst();
    const agent = this.agent(stage);
    const role = this.role(stage.role);
    agent.begun = Math.max(0, agent.begun - 1);
    role.begun = Math.max(0, role.begun - 1);
  }

  /** Learns from a stage that finished; its length and whether it called a tool are not always told. */
  end(stage: Stage, outputTokens: number | undefined, toolCalled: boolean | undefined): void {
    if (this.firstRole === undefined || this.firstEnded) {
      this.listFirst();
      this.learn(stage, outputTokens, toolCalled);
      return;
    }
    this.firstEnded = true;
    this.firstOutputTokens = outputTokens;
    this.firstToolCalled = toolCalled;
  }

  private learn(who: Who, outputTokens: number | undefined, toolCalled: boolean | undefined): void {
    this.hasFinished = true;
    if (outputTokens !== undefined) this.learnOutput(who, outputTokens);
    this.beforeLastRole = this.lastRole;
    this.lastRole = who.role;
    if (toolCalled === undefined) return;
    this.toolAnswers += 1;
    this.toolCalls += toolCalled ? 1 : 0;
    this.toolRun = toolCalled ? this.toolRun + 1 : 0;
    this.lastToolCalled = toolCalled;
    this.agent(who).toolCalled = toolCalled;
  }

  private listFirst(): void {
    const { firstRole: role, firstAgent: agent } = this;
    if (role === undefined) return;
    this.firstRole = undefined;
    this.firstAgent = undefined;
    const first = { role, agent };
    count(this.agent(first), this.role(role), this.firstPromptTokens!);
    if (this.firstEnded) this.learn(first, this.firstOutputTokens, this.firstToolCalled);
  }

  private agent(who: Who): Party {
    this.agents ??= [newParty(agentKey(who))];
    return party(this.agents, agentKey(who), MAX_AGENTS);
  }

  private role(name: string): Party {
    // A list that begins with its first entry takes no more room than that.
    this.roles ??= [newParty(name)];
    return party(this.roles, name, MAX_ROLES);
  }

  private learnOutput(who: Who, outputTokens: number): void {
    const agent = this.agent(who);
    const role = this.role(who.role);
    // In most workflows the four are one and the same for long.
    const { outputs: before } = agent;
    const after = extend(before, outputTokens);
    agent.outputs = after;
    role.outputs = role.outputs === before ? after : extend(role.outputs, outputTokens);
    this.outputs = this.outputs === before ? after : extend(this.outputs, outputTokens);
    this.finished = this.finished === before ? after : extend(this.finished, outputTokens);
  }
}

function count(agent: Party, role: Party, promptTokens: number): void {
  agent.begun += 1;
  role.begun += 1;
  agent.lastPromptTokens = promptTokens;
}

function newParty(name: string): Party {
  return { name, begun: 0, outputs: undefined, lastPromptTokens: undefined, toolCalled: undefined };
}

/** The party of this name, which becomes the last used; a new one takes the place of the one that has been unused longest, where there are too many. */
function party(parties: Party[], name: string, most: number): Party {
  const last = parties.length - 1;
  for (let index = last; index >= 0; index--) {
    const known = parties[index]!;
    if (known.name !== name) continue;
    if (index < last) {
      parties.splice(index, 1);
      parties.push(known);
    }
    return known;
  }
  const added = newParty(name);
  parties.push(added);
  if (parties.length > most) parties.shift();
  return added;
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
function agentKey({ role, agent }: Who): string {
  return agent === undefined ? role : `${role}\n${agent}`;
}
