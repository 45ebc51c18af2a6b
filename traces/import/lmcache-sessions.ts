import type { TraceRow } from '../schema.js';

/** A line of the source. */
export interface Call {
  readonly atUs: number;
  readonly prompt: string;
  readonly answer: string;
}

/** What a session says about one of its calls. */
export type CallFields = Pick<TraceRow, 'input_length' | 'output_length' | 'last_message_kind'> &
  Partial<
    Pick<TraceRow, 'role' | 'agent' | 'tool_called' | 'last_message_tokens' | 'response_format' | 'finish_reason'>
  > & {
    /** Conversation that the prompt continues. */
    readonly thread: string;
    readonly derived: readonly string[];
  };

/** The calls of a session in the order of time, each described. */
export type SessionCalls = (calls: readonly Call[], count: (text: string) => number) => CallFields[];

const COUNTED = ['input_length:count:o200k_base', 'output_length:count:o200k_base'];
const LAST = ['last_message_kind:rule', 'last_message_tokens:count:o200k_base'];

/**
 * mini-swe-agent: one agent that writes a shell command in every answer. The export holds the user's messages only, so an agent's own
 * answers are added to its prompts.
 */
export const sweRows: SessionCalls = (calls, count) => {
  let answered = 0;
  return calls.map(({ prompt, answer }, index) => {
    const previous = calls[index - 1]?.prompt;
    const last = previous !== undefined && prompt.startsWith(previous) ? prompt.slice(previous.length).trim() : prompt;
    const outputTokens = count(answer);
    const fields: CallFields = {
      thread: 'agent',
      input_length: count(prompt) + answered,
      output_length: outputTokens,
      role: 'swe-agent',
      agent: 'swe-agent',
      // The framework hands the output of a command back in a user message.
      last_message_kind: last.startsWith('<returncode>') ? 'tool' : 'user',
      last_message_tokens: count(last),
      derived: [...COUNTED, ...LAST, 'role:rule'],
    };
    answered += outputTokens;
    return fields;
  });
};

/** Tokens of a tool call whose text is not stored: the median of the recorded ones of tau-bench (airline). */
const TOOL_CALL_TOKENS = 17;
const GREETING = 'Hi! How can I help you today?';

/** tau-bench: an agent and a simulated user, whose prompts begin with the agent's greeting. An empty answer was a tool call. */
export const turnRows: SessionCalls = (calls, count) => {
  const answered = new Map<string, number>();
  let before: { readonly prompt: string; readonly role: string } | undefined;
  return calls.map(({ prompt, answer }) => {
    const role = prompt.startsWith(GREETING) ? 'user-simulator' : 'agent';
    const toolCalled = role === 'agent' && answer === '';
    const outputTokens = toolCalled ? TOOL_CALL_TOKENS : count(answer);
    const own = answered.get(role) ?? 0;
    // Nothing new was said to the agent: it goes on after the result of its tool call.
    const afterTool = before?.role === role && before.prompt === prompt;
    const fields: CallFields = {
      thread: role,
      input_length: count(prompt) + own,
      output_length: outputTokens,
      role,
      agent: role,
      ...(role === 'agent' && { tool_called: toolCalled, finish_reason: toolCalled ? 'tool_calls' : 'stop' }),
      last_message_kind: afterTool ? 'tool' : 'user',
      derived: [
        'input_length:rule',
        toolCalled ? 'output_length:rule' : COUNTED[1]!,
        'role:rule',
        'last_message_kind:rule',
        ...(role === 'agent' ? ['tool_called:rule', 'finish_reason:rule'] : []),
      ],
    };
    answered.set(role, own + outputTokens);
    before = { prompt, role };
    return fields;
  });
};

/**
 * Magentic-One. The export cut later messages off, so many prompts of a session are equal: such a prompt is counted with all answers
 * since it was first seen. Prompts of the web surfer are not stored at all.
 */
export const magenticRows: SessionCalls = (calls, count) => {
  const firstSeen = new Map<string, number>();
  let answered = 0;
  let lastTokens: number | undefined;
  return calls.map(({ prompt, answer }) => {
    const role = magenticRole(prompt, answer);
    const since = prompt === '' ? 0 : (firstSeen.get(prompt) ?? answered);
    firstSeen.set(prompt, since);
    const outputTokens = count(answer);
    const agent = WORKERS.has(role) ? role : 'orchestrator';
    const fields: CallFields = {
      // The orchestrator's plan and the ledger are threads of their own.
      thread: agent === 'orchestrator' && role !== 'ledger' ? `orchestrator-${role}` : agent,
      input_length: count(prompt) + answered - since,
      output_length: outputTokens,
      role,
      agent,
      ...(role === 'web-surfer' && { tool_called: true }),
      ...(role === 'ledger' && { response_format: 'json_object' as const }),
      last_message_kind: 'user',
      ...(lastTokens !== undefined && { last_message_tokens: lastTokens }),
      derived: [
        'input_length:rule',
        COUNTED[1]!,
        'role:rule',
        'last_message_kind:rule',
        ...(lastTokens === undefined ? [] : ['last_message_tokens:rule']),
        ...(role === 'web-surfer' ? ['tool_called:rule'] : []),
        ...(role === 'ledger' ? ['response_format:rule'] : []),
      ],
    };
    answered += outputTokens;
    lastTokens = outputTokens;
    return fields;
  });
};

const WORKERS = new Set(['coder', 'summariser', 'web-surfer']);

/** Who made the call, read off the beginning of its prompt or the form of its answer. */
function magenticRole(prompt: string, answer: string): string {
  if (prompt === '') return 'web-surfer';
  if (prompt.startsWith('user: Below I will present you a request')) {
    return prompt.includes('we have assembled the following team') ? 'plan' : 'facts';
  }
  if (prompt.startsWith('system: You are a helpful assistant that can summarize')) return 'summariser';
  if (prompt.startsWith('system: ')) return 'coder';
  const text = answer.trimStart();
  if (text.startsWith('{')) return 'ledger';
  if (/^here is the [*\s\w]*updated|^here is the [*\s\w]*revised|fact sheet/i.test(text.slice(0, 120))) return 'facts';
  if (/^\W*(what went wrong|root cause)/i.test(text)) return 'plan';
  return 'final-answer';
}
