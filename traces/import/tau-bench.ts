import { z } from 'zod';
import type { TraceRow } from '../schema.js';
import { parseRecord, readRecords, type TraceImporter } from './importer.js';
import { leftOutField } from './left-out.js';
import { plainName, slug, stem, UniqueNames } from './names.js';
import { BLOCK_TOKENS, PrefixBlocks } from './rows.js';
import { type KeptText, textFields } from './text-fields.js';
import { TokenCounter, VOCABULARY } from './tokens.js';

const message = z.object({
  role: z.enum(['system', 'user', 'assistant', 'tool']),
  content: z.string().nullish(),
  tool_calls: z.array(z.object({ function: z.object({ name: z.string(), arguments: z.string() }) })).nullish(),
});
const episode = z.object({
  task_id: z.int(),
  trial: z.int(),
  traj: z.array(message),
  info: z.object({ task: z.object({ instruction: z.string().nullish() }).nullish() }).nullish(),
});

type Message = z.infer<typeof message>;
type Episode = z.infer<typeof episode>;

/** Tools that the environments of tau-bench offer their agent (folder `tools` of each environment). */
const TOOLS_BY_DOMAIN: Readonly<Record<string, number>> = { airline: 14, retail: 16 };

/**
 * Recorded episodes of tau-bench: an agent with tools and a simulated user, both of them models, take turns. Every message of either is
 * a call; its prompt is what came before, as that side sees it.
 */
export const tauBench: TraceImporter = {
  format: 'tau-bench',
  summary: 'tau-bench trajectories: JSON of episodes of a tool-calling agent and a simulated user',
  async read(files, kept) {
    const { limitWorkflows } = kept;
    const rows: TraceRow[] = [];
    const names = new UniqueNames();
    const counter = new TokenCounter();
    const blocks = new PrefixBlocks();
    let taken = 0;
    let empty = 0;
    for (const file of files) {
      for await (const { record, line, origin } of readRecords(file)) {
        if (taken === limitWorkflows) break;
        const parsed = parseRecord(episode, record, file, line);
        if (!parsed) continue;
        const { model, domain } = setOf(stem(origin));
        const template = domain === undefined ? 'tau-bench' : `tau-bench-${domain}`;
        const task = `${template}-${parsed.task_id}`;
        const workflowId = names.take(`${task}/${parsed.trial}`);
        const made = episodeRows(parsed, { workflowId, template, task, model, domain, kept, counter, blocks });
        if (made.length === 0) empty += 1;
        rows.push(...made);
        taken += 1;
      }
    }
    return {
      header: {
        maestro_trace: 1,
        source: 'sierra-research/tau-bench, historical_trajectories/',
        licence: 'MIT',
        notes: [
          'Recorded: order, who speaks, tool calls, kind of the message before.',
          'Derived: edges (strict turns), all token counts (texts counted with o200k_base; tool calls with their arguments), prefix blocks, number of tools, model of the agent (from the file name).',
          'Not in the source: times; tool definitions and the rules of the simulated user, so prompts are longer than counted.',
        ],
        ...leftOutField([empty, taken, 'episodes, in which nobody says anything']),
      },
      rows,
    };
  },
};

/** `gpt-4o-airline`: model, then domain. */
function setOf(name: string): { readonly model: string | undefined; readonly domain: string | undefined } {
  const match = /^(.+?)-(airline|retail)/.exec(name);
  return { model: match?.[1] === undefined ? undefined : slug(match[1]), domain: match?.[2] };
}

interface Build {
  readonly workflowId: string;
  readonly template: string;
  readonly task: string;
  readonly model: string | undefined;
  readonly domain: string | undefined;
  readonly kept: KeptText;
  readonly counter: TokenCounter;
  readonly blocks: PrefixBlocks;
}

function episodeRows(source: Episode, build: Build): TraceRow[] {
  const { workflowId, template, task, model, counter } = build;
  const rows: TraceRow[] = [];
  const tools = build.domain === undefined ? undefined : TOOLS_BY_DOMAIN[build.domain];
  // The agent sees the policy, all messages and tool results; the simulated user its instruction and what is said.
  let policyTokens = 0;
  let agentTokens = 0;
  let userTokens = counter.count(source.info?.task?.instruction ?? '');
  let before: { readonly kind: 'user' | 'tool' | 'none'; readonly tokens: number } = { kind: 'none', tokens: 0 };
  let lastTool: string | undefined;
  let lastText = '';
  for (const said of source.traj) {
    const tokens = tokensOf(said, counter);
    if (said.role === 'system') {
      policyTokens += tokens;
      continue;
    }
    if (said.role === 'user' || said.role === 'assistant') {
      const byAgent = said.role === 'assistant';
      const toolCalled = (said.tool_calls?.length ?? 0) > 0;
      const input = byAgent ? policyTokens + agentTokens : userTokens;
      const session = `${workflowId}/${byAgent ? 'agent' : 'user'}`;
      const previous = rows.at(-1)?.request_id;
      const parts: [string, number][] = [[session, byAgent ? agentTokens : userTokens]];
      rows.push({
        request_id: `${workflowId}/${rows.length + 1}`,
        workflow_id: workflowId,
        session_id: session,
        ...(previous !== undefined && { wait_for: [previous] }),
        input_length: input,
        output_length: tokens,
        hash_runs: build.blocks.runs(byAgent ? [[`policy ${template}`, policyTokens], ...parts] : parts),
        block_tokens: BLOCK_TOKENS,
        template,
        role: byAgent ? 'agent' : 'user-simulator',
        agent: byAgent ? 'agent' : 'user-simulator',
        ...(byAgent && model !== undefined && { model }),
        task,
        ...(byAgent && tools !== undefined && { tools_offered: tools }),
        ...(byAgent && { tool_called: toolCalled, finish_reason: toolCalled ? 'tool_calls' : 'stop' }),
        last_message_kind: before.kind,
        last_message_tokens: before.tokens,
        ...(before.kind === 'tool' && lastTool !== undefined && { last_tool: lastTool }),
        ...textFields(build.kept, () => lastText),
        derived: [
          ...DERIVED,
          ...(byAgent ? ['finish_reason:rule'] : []),
          ...(byAgent && model !== undefined ? ['model:rule'] : []),
          ...(byAgent && tools !== undefined ? ['tools_offered:rule'] : []),
        ],
      });
    }
    const tool = said.tool_calls?.at(-1)?.function.name;
    if (tool !== undefined) lastTool = plainName(tool);
    lastText = said.content ?? '';
    // A simulated user takes what the agent says for the messages of its own user.
    before = { kind: said.role === 'tool' ? 'tool' : 'user', tokens };
    agentTokens += tokens;
    if (said.role === 'user' || (said.role === 'assistant' && !said.tool_calls?.length)) userTokens += tokens;
  }
  return rows;
}

const DERIVED = [
  'wait_for:rule',
  `input_length:count:${VOCABULARY}`,
  `output_length:count:${VOCABULARY}`,
  `last_message_tokens:count:${VOCABULARY}`,
  'hash_runs:rule',
];

function tokensOf(said: Message, counter: TokenCounter): number {
  let tokens = counter.count(said.content ?? '');
  for (const call of said.tool_calls ?? []) {
    tokens += counter.count(call.function.name) + counter.count(call.function.arguments);
  }
  return tokens;
}
