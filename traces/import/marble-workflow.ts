import { z } from 'zod';
import { objectOf, parseJson } from '../../src/model/json.js';
import type { TraceRow } from '../schema.js';
import { plainName } from './names.js';
import { type KeptText, textFields } from './text-fields.js';

const iteration = z.object({
  task_assignments: z.record(z.string(), z.unknown()).nullish(),
  task_results: z
    .array(
      z
        .record(z.string(), z.unknown())
        .refine((entry) => !('agent_id' in entry) || typeof entry.agent_id === 'string', 'agent_id must be a text'),
    )
    .nullish(),
  summary: z.unknown(),
  communications: z.array(z.unknown()).nullish(),
});
/** What a file of results holds of one run. */
export const marbleRun = z.object({
  task: z.string(),
  iterations: z.array(iteration),
});

export type MarbleRun = z.infer<typeof marbleRun>;

/** What the benchmark's config says about a task. */
export interface MarbleConfig {
  readonly scenario: string;
  readonly outputFormat: string;
  /** Profile text of each agent. */
  readonly profiles: ReadonlyMap<string, string>;
}

/** A row whose output length may still be unknown. */
export interface DraftRow {
  readonly row: Omit<TraceRow, 'output_length'>;
  readonly outputTokens: number | undefined;
}

export interface MarbleBuild {
  readonly workflowId: string;
  readonly template: string;
  readonly task: string;
  readonly model: string | undefined;
  readonly count: (text: string) => number;
  readonly kept: KeptText;
  readonly nextBlockId: number;
}

/** Block size of the derived prefix blocks: that of vLLM's KV pages. */
const BLOCK_TOKENS = 16;
/** The framework cuts every result to this many characters before it is summarised. */
const SUMMARISED_CHARACTERS = 1000;
/** Instructions and tool descriptions around the recorded texts, which the source does not store. */
const INSTRUCTION_TOKENS = 150;

type Iteration = MarbleRun['iterations'][number];

/**
 * The calls of one run, after the framework's loop: in the first iteration every agent acts on the task; in later ones each agent first
 * plans its task (or, where one planner assigns, the planner does), then acts; messages follow the act that opened the session; the
 * summary waits for all of them and the next iteration for the summary.
 */
export function buildMarbleRows(
  run: MarbleRun,
  config: MarbleConfig | undefined,
  build: MarbleBuild,
): { readonly rows: readonly DraftRow[]; readonly nextBlockId: number } {
  const rows = new WorkflowRows(run, config, build);
  for (const [index, iteration] of run.iterations.entries()) rows.addIteration(iteration, index);
  return { rows: rows.drafts, nextBlockId: rows.nextBlockId };
}

class WorkflowRows {
  readonly drafts: DraftRow[] = [];
  nextBlockId: number;
  private readonly taskTokens: number;
  /** Tokens of what an agent remembers: its own tasks and results so far. */
  private readonly memoryTokens = new Map<string, number>();
  /** First block and count of the leading text that calls of one kind share. */
  private readonly prefixes = new Map<string, readonly [number, number]>();
  /** What each agent was told last by its tools or itself. */
  private readonly lastResults = new Map<string, string>();
  private lastSummary = '';
  private previousSummary: string | undefined;
  private lastSummaryTokens = 0;
  /** One planner writes the tasks of all agents, instead of each agent its own. */
  private central = false;

  constructor(
    private readonly run: MarbleRun,
    private readonly config: MarbleConfig | undefined,
    private readonly build: MarbleBuild,
  ) {
    this.nextBlockId = build.nextBlockId;
    this.taskTokens = build.count(run.task);
  }

  addIteration(iteration: Iteration, index: number): void {
    const { count } = this.build;
    const results = resultsOf(iteration);
    const assignments = new Map(
      Object.entries(iteration.task_assignments ?? {}).map(([agent, task]) => [agent, textOf(task)]),
    );
    const agents = [...results.keys()];
    if (agents.length === 0) return;
    const start = this.previousSummary === undefined ? [] : [this.previousSummary];
    const joined: string[] = [];
    // The task itself is handed out without a call; any other text was written by a model.
    const planned = [...assignments.values()].some((text) => text !== this.run.task);
    // Where agents plan for themselves, the first iteration hands out the bare task.
    if (planned && index === 0) this.central = true;
    const { central } = this;
    let plannerId: string | undefined;
    if (planned && central) {
      const profiles = agents.reduce((sum, agent) => sum + this.profileTokens(agent), 0);
      plannerId = this.add({
        id: `${index + 1}/plan`,
        role: 'planner',
        waitFor: start,
        prefixTokens: INSTRUCTION_TOKENS + profiles + this.taskTokens,
        inputTokens: INSTRUCTION_TOKENS + profiles + this.taskTokens + this.lastSummaryTokens,
        outputTokens: count(JSON.stringify(Object.fromEntries(assignments))),
        text: () => `${this.run.task} ${this.lastSummary}`,
      });
    }
    for (const [agent, result] of results) {
      const id = `${index + 1}/${plainName(agent)}`;
      const task = assignments.get(agent) ?? this.run.task;
      const taskTokens = count(task);
      const memory = this.memoryTokens.get(agent) ?? 0;
      const profile = this.profileTokens(agent);
      let waitFor = plannerId === undefined ? start : [plannerId];
      if (planned && !central) {
        waitFor = [
          this.add({
            id: `${id}/plan`,
            role: 'plan',
            agent,
            waitFor,
            prefixTokens: profile,
            inputTokens: INSTRUCTION_TOKENS + profile + this.taskTokens + memory,
            outputTokens: taskTokens,
            text: () => `${this.run.task} ${this.lastResults.get(agent) ?? ''}`,
          }),
        ];
      }
      const messages = messagesOf(iteration, agent);
      const answer = answerOf(result, messages[0]);
      let last = this.add({
        id,
        role: 'act',
        agent,
        waitFor,
        prefixTokens: profile,
        inputTokens: INSTRUCTION_TOKENS + profile + this.otherProfiles(agent) + taskTokens + memory,
        outputTokens: answer === undefined ? undefined : count(answer),
        toolCalled: result.includes(FUNCTION_MARK),
        text: () => `${task} ${this.lastResults.get(agent) ?? ''}`,
      });
      let transcript = messages[0] === undefined ? 0 : count(messages[0]);
      for (const [number, message] of messages.slice(1).entries()) {
        const tokens = count(message);
        last = this.add({
          id: `${id}/message-${number + 1}`,
          role: 'message',
          agent,
          waitFor: [last],
          prefixTokens: profile,
          inputTokens: INSTRUCTION_TOKENS + profile + taskTokens + transcript,
          outputTokens: tokens,
          text: () => messages[number]!,
        });
        transcript += tokens;
      }
      joined.push(last);
      this.memoryTokens.set(agent, memory + (index > 0 ? taskTokens : 0) + count(result));
    }
    this.addSummary(iteration, index, results, joined);
    for (const [agent, result] of results) this.lastResults.set(agent, result);
  }

  private addSummary(
    iteration: Iteration,
    index: number,
    results: ReadonlyMap<string, string>,
    waitFor: readonly string[],
  ): void {
    const { count } = this.build;
    let resultTokens = 0;
    for (const result of results.values()) resultTokens += count(result.slice(0, SUMMARISED_CHARACTERS));
    const text = typeof iteration.summary === 'string' ? iteration.summary : '';
    this.lastSummaryTokens = count(text);
    this.previousSummary = this.add({
      id: `${index + 1}/summary`,
      role: 'summary',
      waitFor,
      prefixTokens: INSTRUCTION_TOKENS + this.taskTokens,
      inputTokens: INSTRUCTION_TOKENS + this.taskTokens + count(this.config?.outputFormat ?? '') + resultTokens,
      outputTokens: text === '' ? undefined : this.lastSummaryTokens,
      text: () => [...results.values()].map((result) => result.slice(0, SUMMARISED_CHARACTERS)).join(' '),
    });
    this.lastSummary = text;
  }

  private add(call: {
    readonly id: string;
    readonly role: string;
    readonly agent?: string;
    readonly waitFor: readonly string[];
    readonly prefixTokens: number;
    readonly inputTokens: number;
    readonly outputTokens: number | undefined;
    readonly toolCalled?: boolean;
    /** What is new in the prompt. */
    readonly text: () => string;
  }): string {
    const { workflowId, template, task, model } = this.build;
    const rowId = `${workflowId}/${call.id}`;
    this.drafts.push({
      row: {
        request_id: rowId,
        workflow_id: workflowId,
        ...(call.waitFor.length > 0 && { wait_for: [...call.waitFor] }),
        input_length: call.inputTokens,
        hash_runs: this.blocks(`${call.role}/${call.agent ?? ''}`, call.prefixTokens, call.inputTokens),
        block_tokens: BLOCK_TOKENS,
        template,
        role: call.role,
        ...(call.agent !== undefined && { agent: plainName(call.agent) }),
        ...(model !== undefined && { model }),
        task,
        ...(call.toolCalled !== undefined && { tool_called: call.toolCalled }),
        ...textFields(this.build.kept, () => call.text()),
        derived: ['wait_for:rule', 'input_length:count:o200k_base', 'hash_runs:rule'],
      },
      outputTokens: call.outputTokens,
    });
    return rowId;
  }

  /** Leading blocks that all calls of one kind share, then blocks of this call alone. */
  private blocks(kind: string, prefixTokens: number, inputTokens: number): [number, number][] {
    const total = Math.floor(inputTokens / BLOCK_TOKENS);
    let shared = this.prefixes.get(kind);
    if (!shared) {
      shared = [this.nextBlockId, Math.min(total, Math.floor(prefixTokens / BLOCK_TOKENS))];
      this.nextBlockId += shared[1];
      this.prefixes.set(kind, shared);
    }
    const sharedCount = Math.min(shared[1], total);
    const runs: [number, number][] = [];
    if (sharedCount > 0) runs.push([shared[0], sharedCount]);
    const own = total - sharedCount;
    if (own > 0) {
      runs.push([this.nextBlockId, own]);
      this.nextBlockId += own;
    }
    return runs;
  }

  private profileTokens(agent: string): number {
    return this.build.count(this.config?.profiles.get(agent) ?? '');
  }

  /** An agent's prompt lists the profiles of the agents it may talk to. */
  private otherProfiles(agent: string): number {
    let tokens = 0;
    for (const other of this.config?.profiles.keys() ?? []) if (other !== agent) tokens += this.profileTokens(other);
    return tokens;
  }
}

/** Results by agent; the source writes them in two shapes and leaves out agents that failed. */
function resultsOf(iteration: Iteration): Map<string, string> {
  const results = new Map<string, string>();
  for (const entry of iteration.task_results ?? []) {
    if (typeof entry.agent_id === 'string') results.set(entry.agent_id, textOf(entry.result));
    else for (const [agent, result] of Object.entries(entry)) results.set(agent, textOf(result));
  }
  return results;
}

/** What stands in a prompt for a value; objects as JSON. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : value == null ? '' : JSON.stringify(value);
}

const MODEL_MARK = 'Result from the model:';
const FUNCTION_MARK = 'Result from the function:';

/**
 * The text that the model wrote: the answer itself, or the argument of its function call where the function's result repeats it (the
 * code it saved, the query it ran, the message it sent). Undefined when nothing of it is recorded.
 */
export function answerOf(result: string, firstMessage: string | undefined): string | undefined {
  const [head = '', ...tail] = result.split(FUNCTION_MARK);
  const spoken = head.startsWith(MODEL_MARK) ? head.slice(MODEL_MARK.length) : head;
  if (spoken.trim() !== '') return spoken.trim();
  if (firstMessage !== undefined) return firstMessage;
  const { code, explanation } = objectOf(parseJson(tail.join(FUNCTION_MARK)));
  if (typeof code === 'string' && code !== '') return code;
  const query = typeof explanation === 'string' ? /Your query is: \n?(.+)/s.exec(explanation)?.[1] : undefined;
  return query?.split('\n')[0];
}

const MESSAGE = /^From (\S+) to (\S+): /;

/** The messages of the chat sessions that an agent opened in this iteration, in order. */
export function messagesOf(iteration: Pick<Iteration, 'communications'>, agent: string): string[] {
  const messages: string[] = [];
  for (const session of iteration.communications ?? []) {
    if (typeof session !== 'string') continue;
    const lines = session.split('\n');
    const opener = lines.map((line) => MESSAGE.exec(line)?.[1]).find((from) => from !== undefined);
    if (opener !== agent) continue;
    const before = messages.length;
    for (const line of lines) {
      const match = MESSAGE.exec(line);
      if (match) messages.push(line.slice(match[0].length));
      else if (messages.length > before) messages[messages.length - 1] += `\n${line}`;
    }
  }
  return messages;
}
