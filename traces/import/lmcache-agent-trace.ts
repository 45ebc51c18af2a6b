import { z } from 'zod';
import type { TraceRow } from '../schema.js';
import { parseRecord, readRecords, type TraceImporter } from './importer.js';
import { type Call, magenticRows, type SessionCalls, sweRows, turnRows } from './lmcache-sessions.js';
import { fingerprint } from './names.js';
import { BLOCK_TOKENS, PrefixBlocks, rebaseRecordedTimes } from './rows.js';
import { TokenCounter } from './tokens.js';

const call = z.object({
  // Microseconds since 1970, up to the year 2100.
  timestamp: z.number().min(0).max(4.1e15),
  input: z.string(),
  output: z.string(),
  session_id: z.string().min(1),
});

/** Applications of the source, told apart by the prompts of a session. */
const APPLICATIONS: readonly {
  readonly template: string;
  readonly opens: (prompt: string) => boolean;
  readonly rows: SessionCalls;
}[] = [
  { template: 'mini-swe-agent', opens: (prompt) => prompt.startsWith('<pr_description>'), rows: sweRows },
  { template: 'magentic-one', opens: (prompt) => /^(user|system|assistant): /.test(prompt), rows: magenticRows },
  { template: 'tau-bench', opens: () => true, rows: turnRows },
];

/** LMCache's agent traces: one line a call, grouped by session, in the order of their times. All three applications are chains. */
export const lmcacheAgentTrace: TraceImporter = {
  format: 'lmcache-agent-trace',
  summary: 'LMCache agent traces: JSONL of calls of Magentic-One, mini-swe-agent and tau-bench',
  async read(files, { limitWorkflows }) {
    const sessions = new Map<string, Call[]>();
    for (const file of files) {
      for await (const { record, line } of readRecords(file)) {
        const parsed = parseRecord(call, record, file, line);
        if (!parsed) continue;
        const { session_id, timestamp, input, output } = parsed;
        const calls = sessions.get(session_id) ?? [];
        calls.push({ atUs: timestamp, prompt: input, answer: output });
        sessions.set(session_id, calls);
      }
    }
    const counter = new TokenCounter();
    const blocks = new PrefixBlocks();
    const rows: TraceRow[] = [];
    for (const [sessionId, unordered] of [...sessions].slice(0, limitWorkflows)) {
      const calls = unordered.sort((a, b) => a.atUs - b.atUs);
      const first = calls.find(({ prompt }) => prompt !== '')?.prompt ?? '';
      const { template, rows: describe } = APPLICATIONS.find(({ opens }) => opens(first))!;
      const workflowId = `${template}/${fingerprint(sessionId)}`;
      // Every session of tau-bench begins with the same greeting; its user's first words tell the task.
      const opening = template === 'tau-bench' ? (calls[0]?.answer ?? '') : first;
      const task = `${template}-${fingerprint(opening)}`;
      for (const [index, row] of describe(calls, (text) => counter.count(text)).entries()) {
        const { thread, ...fields } = row;
        const session = `${workflowId}/${thread}`;
        rows.push({
          request_id: `${workflowId}/${index + 1}`,
          workflow_id: workflowId,
          session_id: session,
          ...(index > 0 && { wait_for: [`${workflowId}/${index}`] }),
          ...fields,
          hash_runs: blocks.runs([[session, row.input_length]]),
          block_tokens: BLOCK_TOKENS,
          template,
          task,
          recorded_at_ms: calls[index]!.atUs / 1000,
          derived: ['wait_for:rule', 'hash_runs:rule', ...row.derived],
        });
      }
    }
    return {
      header: {
        maestro_trace: 1,
        source: 'LMCache/lmcache-agent-trace, {magagent,miniswe,taubench}',
        licence: 'Apache-2.0',
        notes: [
          'Recorded: order and time of the calls (start or end is not said), texts.',
          'Derived: edges (one after the other), roles (from the wording), token counts (o200k_base), prompt tokens with the answers that the export left out of them, prefix blocks.',
          'By rule: output tokens of tool calls of tau-bench (not stored). Three quarters of the prompts of magentic-one are cut: do not learn prompt lengths from it.',
          'Not in the source: models, instructions and tool results of tau-bench, most calls of the web surfer.',
        ],
      },
      rows: rebaseRecordedTimes(rows),
    };
  },
};
