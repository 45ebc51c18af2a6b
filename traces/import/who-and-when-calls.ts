import { slug } from './names.js';

export interface LoggedMessage {
  readonly content: string;
  readonly role: string;
  readonly name?: string | undefined;
}

/** A call that a message history shows. */
export interface LoggedCall {
  readonly role: string;
  readonly agent: string;
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** False where the log tells what the call did instead of what the model wrote. */
  readonly outputKnown: boolean;
  readonly toolCalled?: boolean;
  /** The framework asks for a JSON object. */
  readonly json?: boolean;
  readonly lastKind: 'user' | 'tool' | 'none';
  readonly lastTokens: number;
  /** Counts how often the conversation was thrown away and begun anew. */
  readonly restarts: number;
}

type Count = (text: string) => number;

/** Warnings of Python that the logs caught behind a message. */
const WARNING = /\n\/\S+\.py:\d+: UserWarning:[\s\S]*$/;
const FACTS = /\n\nHere is an? \w+ fact sheet to consider:\s*/;
const PLAN = /\n\nHere is the plan to follow as best as possible:\s*/;
const LEDGER = 'Updated Ledger:';

/**
 * Magentic-One. A plan is two calls, facts and plan. A ledger is one call; the hand-off behind it repeats its answer. Surfers write tool
 * calls, of which the log keeps what was done (the first line) and the page that was seen. Thread: what the orchestrator shares with all.
 */
export function magenticCalls(history: readonly LoggedMessage[], count: Count): LoggedCall[] {
  const calls: LoggedCall[] = [];
  let threadTokens = 0;
  let lastTokens = 0;
  let restarts = 0;
  const say = (text: string) => {
    lastTokens = count(text);
    threadTokens += lastTokens;
  };
  const add = (role: string, agent: string, output: string, rest: Partial<LoggedCall> = {}) => {
    calls.push({
      role,
      agent,
      inputTokens: threadTokens,
      outputTokens: count(output),
      outputKnown: true,
      lastKind: 'user',
      lastTokens,
      restarts,
      ...rest,
    });
  };
  for (const { role, content } of history) {
    const text = content.replace(WARNING, '').trim();
    if (role === 'human' || role === 'ComputerTerminal' || role.startsWith('Orchestrator (->')) say(text);
    else if (role === 'Orchestrator (thought)') {
      if (text.startsWith(LEDGER)) {
        add('ledger', 'orchestrator', text.slice(LEDGER.length).trim(), { json: true });
        continue;
      }
      const [head, plan] = text.split(PLAN);
      if (plan === undefined) continue;
      const facts = head!.split(FACTS)[1] ?? '';
      add('facts', 'orchestrator', facts);
      const factTokens = count(facts);
      add('plan', 'orchestrator', plan, { inputTokens: threadTokens + factTokens, lastTokens: factTokens });
      // A new plan takes the place of everything that was said.
      threadTokens = 0;
      restarts += 1;
      say(text);
    } else if (!role.startsWith('Orchestrator')) {
      const name = slug(role);
      if (name.endsWith('surfer')) {
        add(name, name, text.split('\n')[0]!, { outputKnown: false, toolCalled: true });
      } else add(name, name, text);
      say(text);
    }
  }
  return calls;
}

const TERMINAL = 'Computer_terminal';

/**
 * Group chats of CaptainAgent. The first message is the manager's task; then everybody but the terminal is a model. An agent's prompt is
 * its own instruction and everything said. Code that the terminal ran next was a tool call.
 */
export function captainCalls(
  history: readonly LoggedMessage[],
  systemPrompts: Readonly<Record<string, string>>,
  count: Count,
): LoggedCall[] {
  const calls: LoggedCall[] = [];
  let saidTokens = 0;
  let last: { readonly kind: 'user' | 'tool' | 'none'; readonly tokens: number } = { kind: 'none', tokens: 0 };
  for (const [index, { name = 'unknown', content }] of history.entries()) {
    const tokens = count(content);
    if (index > 0 && name !== TERMINAL) {
      calls.push({
        role: slug(name),
        agent: slug(name),
        inputTokens: count(systemPrompts[name] ?? '') + saidTokens,
        outputTokens: tokens,
        outputKnown: true,
        toolCalled: content.includes('```') && history[index + 1]?.name === TERMINAL,
        lastKind: last.kind,
        lastTokens: last.tokens,
        restarts: 0,
      });
    }
    saidTokens += tokens;
    last = { kind: name === TERMINAL ? 'tool' : 'user', tokens };
  }
  return calls;
}
