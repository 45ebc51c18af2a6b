import { z } from 'zod';
import type { TraceRow } from '../schema.js';
import { parseRecord, readRecords, type TraceImporter } from './importer.js';
import { leftOutField } from './left-out.js';
import { fingerprint, slug, stem, UniqueNames } from './names.js';
import { BLOCK_TOKENS, PrefixBlocks } from './rows.js';
import { TokenCounter } from './tokens.js';
import { captainCalls, type LoggedCall, magenticCalls } from './who-and-when-calls.js';

const failure = z.object({
  question: z.string(),
  history: z.array(
    z.object({
      content: z
        .string()
        .nullish()
        .transform((text) => text ?? ''),
      role: z.string(),
      name: z
        .string()
        .nullish()
        .transform((name) => name ?? undefined),
    }),
  ),
  system_prompt: z.record(z.string(), z.string()).nullish(),
});

/**
 * The failure logs of Who&When: Magentic-One (an orchestrator with a ledger hands tasks to workers) and generated teams of AutoGen's
 * CaptainAgent (a group chat). Both are chains; the two kinds are told apart by the names that only group chats carry.
 */
export const whoAndWhen: TraceImporter = {
  format: 'who-and-when',
  summary: 'Who&When failure logs: JSON of message histories (Magentic-One, CaptainAgent)',
  async read(files, { limitWorkflows }) {
    const rows: TraceRow[] = [];
    const names = new UniqueNames();
    const counter = new TokenCounter();
    const blocks = new PrefixBlocks();
    const count = (text: string) => counter.count(text);
    let taken = 0;
    let empty = 0;
    for (const file of files) {
      for await (const { record, line, origin } of readRecords(file)) {
        if (taken === limitWorkflows) break;
        const parsed = parseRecord(failure, record, file, line);
        if (!parsed) continue;
        const { question, history, system_prompt } = parsed;
        const grouped = history.some(({ name }) => name !== undefined);
        const template = grouped ? 'captain-agent' : 'magentic-one';
        const calls = grouped ? captainCalls(history, system_prompt ?? {}, count) : magenticCalls(history, count);
        const workflowId = names.take(`${template}/${slug(stem(origin))}`);
        const task = `who-and-when-${fingerprint(question.trim())}`;
        if (calls.length === 0) empty += 1;
        rows.push(...calls.map((call, index) => toRow(call, index, { workflowId, template, task, blocks })));
        taken += 1;
      }
    }
    return {
      header: {
        maestro_trace: 1,
        source: 'mingyin1/Agents_Failure_Attribution, Who&When/',
        licence: 'MIT',
        notes: [
          'Recorded: order, who spoke, the texts. All runs failed their task.',
          'Derived: which messages are calls (ledger and hand-off are one; terminals, the human and notes of the framework are none), edges (one after the other), token counts (o200k_base), tool calls (code that was run), prefix blocks.',
          'By rule: output tokens of web and file surfers (only what they did is recorded, not the call).',
          'Not in the source: times, models, calls that choose the next speaker; instructions of Magentic-One, so its prompts are longer than counted.',
        ],
        ...leftOutField([empty, taken, 'runs, which hold no call']),
      },
      rows,
    };
  },
};

interface Build {
  readonly workflowId: string;
  readonly template: string;
  readonly task: string;
  readonly blocks: PrefixBlocks;
}

function toRow(call: LoggedCall, index: number, { workflowId, template, task, blocks }: Build): TraceRow {
  const session = `${workflowId}/${call.agent}${call.restarts === 0 ? '' : `~${call.restarts}`}`;
  return {
    request_id: `${workflowId}/${index + 1}`,
    workflow_id: workflowId,
    session_id: session,
    ...(index > 0 && { wait_for: [`${workflowId}/${index}`] }),
    input_length: call.inputTokens,
    output_length: call.outputTokens,
    hash_runs: blocks.runs([[session, call.inputTokens]]),
    block_tokens: BLOCK_TOKENS,
    template,
    role: call.role,
    agent: call.agent,
    task,
    ...(call.toolCalled !== undefined && { tool_called: call.toolCalled }),
    ...(call.json && { response_format: 'json_object' as const }),
    last_message_kind: call.lastKind,
    last_message_tokens: call.lastTokens,
    derived: [
      'wait_for:rule',
      'input_length:count:o200k_base',
      call.outputKnown ? 'output_length:count:o200k_base' : 'output_length:rule',
      'last_message_tokens:count:o200k_base',
      'hash_runs:rule',
      ...(call.toolCalled === undefined ? [] : ['tool_called:rule']),
      ...(call.json ? ['response_format:rule'] : []),
    ],
  };
}
