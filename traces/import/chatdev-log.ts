/** A call of a ChatDev run, as its log tells it. */
export interface ChatDevCall {
  readonly phase: string;
  /** Who spoke. */
  readonly speaker: string;
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Limit of the completion, where the log states it. */
  readonly maxTokens?: number;
  /** When the answer was logged, ms since 1970 (resolution 1 s, up to 2 s late). */
  readonly loggedAtMs: number;
  /** From the line that says what is sent to the line that says what came back. */
  readonly latencyMs?: number;
  /** The message that opened the chat, for its first call; later ones answer the call before. */
  readonly openedWith?: string;
}

export interface ChatDevRun {
  readonly task: string | undefined;
  readonly temperature: number | undefined;
  readonly model: string | undefined;
  readonly calls: readonly ChatDevCall[];
}

/** What the log says before a call is complete; phase and speaker come with a later line. */
interface OpenCall {
  call: ChatDevCall;
}

/** Every entry begins `[year-day-month time level] `; the day stands before the month. */
const ENTRY = /^\[(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d) [A-Z]+\] /gm;
const TURN = /^(.+?): \*\*(.+?)<->(.+?) on : (\w+), turn \d+\*\*/;
/** The one call outside of any phase rewrites the task; its answer has no turn header. */
const SELF_IMPROVEMENT = /^Prompt Engineer: /;

/**
 * The calls of a log. Usage records and turn headers are matched first in, first out, because both calls of a turn can be logged before
 * their headers. A call whose header never came keeps the phase that it was made in.
 */
export function parseChatDevLog(log: string): ChatDevRun {
  const calls: OpenCall[] = [];
  const waiting: OpenCall[] = [];
  let phase = 'none';
  let assistant = 'unknown';
  let model: string | undefined;
  let sent: { readonly atMs: number; readonly maxTokens: number | undefined } | undefined;
  let openedWith: string | undefined;
  for (const { atMs, head, body } of entriesOf(log)) {
    if (head.includes('**[chatting]**')) {
      phase = parameter(body, 'phase_name') ?? phase;
      assistant = parameter(body, 'assistant_role_name') ?? assistant;
      model = parameter(body, 'model_type') ?? model;
    } else if (head.includes('**[Start Chat]**')) openedWith = withoutSystemPrompt(body);
    else if (head.includes('[OpenAI_Usage_Info Send]')) {
      sent = { atMs, maxTokens: numberOf(head + body, /max_(?:completion_)?tokens: (\d+)/) };
    } else if (head.includes('[OpenAI_Usage_Info Receive]')) {
      const promptTokens = numberOf(head + body, /prompt_tokens: (\d+)/);
      const completionTokens = numberOf(head + body, /completion_tokens: (\d+)/);
      if (promptTokens === undefined || completionTokens === undefined) continue;
      const open: OpenCall = {
        call: {
          phase,
          speaker: assistant,
          promptTokens,
          completionTokens,
          loggedAtMs: atMs,
          ...(sent?.maxTokens !== undefined && { maxTokens: sent.maxTokens }),
          ...(sent && atMs >= sent.atMs && { latencyMs: atMs - sent.atMs }),
          ...(openedWith !== undefined && { openedWith }),
        },
      };
      sent = undefined;
      openedWith = undefined;
      calls.push(open);
      waiting.push(open);
    } else if (SELF_IMPROVEMENT.test(head)) {
      const open = waiting.shift();
      if (open) open.call = { ...open.call, phase: 'TaskPromptSelfImprovement', speaker: 'Prompt Engineer' };
    } else {
      const turn = TURN.exec(head);
      const open = turn && waiting.shift();
      if (turn && open) open.call = { ...open.call, phase: turn[4]!, speaker: turn[1]! };
    }
  }
  return {
    task: /\*\*task_prompt\*\*: (.*)/.exec(log)?.[1]?.trim(),
    temperature: numberOf(log, /\btemperature=([\d.]+)/),
    model,
    calls: calls.map(({ call }) => call),
  };
}

function* entriesOf(log: string): Generator<{ readonly atMs: number; readonly head: string; readonly body: string }> {
  const starts = [...log.matchAll(ENTRY)];
  for (const [index, start] of starts.entries()) {
    const [year, day, month, hour, minute, second] = start.slice(1, 7).map(Number);
    const text = log.slice(start.index + start[0].length, starts[index + 1]?.index);
    const line = text.search(/[\r\n]/);
    yield {
      atMs: Date.UTC(year!, month! - 1, day, hour, minute, second),
      head: line < 0 ? text : text.slice(0, line),
      body: line < 0 ? '' : text.slice(line),
    };
  }
}

/** A row of the table of parameters that opens a chat. */
function parameter(table: string, name: string): string | undefined {
  return new RegExp(`\\*\\*${name}\\*\\* \\| (.*?) \\|`).exec(table)?.[1];
}

/** The opening prompt is logged as `[system prompt]`, a blank line, message. */
function withoutSystemPrompt(prompt: string): string {
  const end = prompt.search(/\]\r?\n\r?\n/);
  return (prompt.trimStart().startsWith('[') && end >= 0 ? prompt.slice(end + 1) : prompt).trim();
}

function numberOf(text: string, pattern: RegExp): number | undefined {
  const digits = pattern.exec(text)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
