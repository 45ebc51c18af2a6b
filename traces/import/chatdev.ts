import type { TraceRow } from '../schema.js';
import { type ChatDevRun, parseChatDevLog } from './chatdev-log.js';
import { readTexts, type TraceImporter } from './importer.js';
import { leftOutField } from './left-out.js';
import { fingerprint, slug, stem, UniqueNames } from './names.js';
import { rebaseRecordedTimes } from './rows.js';
import { type KeptText, textFields } from './text-fields.js';
import { TokenCounter, VOCABULARY } from './tokens.js';

/**
 * Logs of ChatDev's WareHouse: a chain of chats between two roles, with loops of review and test. The role of a call is the phase of the
 * work, its agent is who spoke: the same programmer writes code in one phase and answers comments in another.
 */
export const chatdev: TraceImporter = {
  format: 'chatdev',
  summary: 'ChatDev WareHouse run logs: chains of role-playing chats with token counts (data CC BY-NC 4.0)',
  async read(files, options) {
    const { limitWorkflows } = options;
    const rows: TraceRow[] = [];
    const names = new UniqueNames();
    const counter = new TokenCounter();
    let taken = 0;
    let aborted = 0;
    for (const file of files) {
      for await (const { text, origin } of readTexts(file)) {
        if (taken === limitWorkflows) break;
        const run = parseChatDevLog(text);
        // An aborted run has a log, but no usage record of a call.
        if (run.calls.length === 0) {
          aborted += 1;
          continue;
        }
        rows.push(...runRows(run, names.take(`chatdev-${fingerprint(stem(origin))}`), counter, options));
        taken += 1;
      }
    }
    return {
      header: {
        maestro_trace: 1,
        source: 'OpenBMB/ChatDev, WareHouse/**/*.log (branch chatdev1.0)',
        licence: 'CC-BY-NC-4.0 (data; non-commercial, and so is what is trained on it)',
        notes: [
          'Recorded: order, phase (role), speaker (agent), prompt and completion tokens, temperature, model; limits and latencies in about half of the runs.',
          'Derived: edges (one call after the other), tokens of the last message, whether a call stopped at its limit.',
          'Times are those of log lines, 1 s fine and up to 2 s late. Runs are unrelated: compose them with arrivals.',
        ],
        ...leftOutField([aborted, aborted + taken, 'logs, which hold no call']),
      },
      rows: rebaseRecordedTimes(rows),
    };
  },
};

function runRows(run: ChatDevRun, workflowId: string, counter: TokenCounter, kept: KeptText): TraceRow[] {
  const model = run.model
    ?.replace('ModelType.', '')
    .toLowerCase()
    .replaceAll('_', '-')
    .replace(/(\d)-(\d)/, '$1.$2');
  return run.calls.map((call, index): TraceRow => {
    const previous = run.calls[index - 1];
    // The framework turns functions off, so a call that reached its limit was cut there.
    const cut = call.maxTokens !== undefined && call.completionTokens >= call.maxTokens;
    const opened = call.openedWith === undefined ? undefined : counter.count(call.openedWith);
    const lastTokens = opened ?? previous?.completionTokens;
    return {
      request_id: `${workflowId}/${index + 1}`,
      workflow_id: workflowId,
      ...(previous && { wait_for: [`${workflowId}/${index}`] }),
      input_length: call.promptTokens,
      output_length: call.completionTokens,
      template: 'chatdev',
      role: slug(call.phase),
      agent: slug(call.speaker),
      ...(model !== undefined && { model: slug(model) }),
      ...(run.task !== undefined && { task: `chatdev-${fingerprint(run.task)}` }),
      tools_offered: 0,
      ...(cut && { finish_reason: 'length' }),
      last_message_kind: 'user',
      ...(lastTokens !== undefined && { last_message_tokens: lastTokens }),
      ...textFields(kept, () => call.openedWith),
      ...(call.maxTokens !== undefined && { max_tokens: Math.max(1, call.maxTokens) }),
      ...(run.temperature !== undefined && { temperature: run.temperature }),
      recorded_at_ms: call.loggedAtMs,
      ...(call.latencyMs !== undefined && { recorded_latency_ms: call.latencyMs }),
      derived: [
        'wait_for:rule',
        'tools_offered:rule',
        ...(cut ? ['finish_reason:rule'] : []),
        ...(lastTokens === undefined
          ? []
          : [`last_message_tokens:${opened === undefined ? 'rule' : `count:${VOCABULARY}`}`]),
      ],
    };
  });
}
