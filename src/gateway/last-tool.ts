import { type BodyScan, elementsOf, findMember, memberStart } from './json-scan.js';

const OPEN_BRACKET = 0x5b;

/** Results of tools that ran side by side stand between the last message and the calls; further back nobody looks. */
const MAX_MESSAGES_BACK = 16;

/** Names of tools by the rule of the OpenAI API; others are not names. */
const TOOL_NAME = /^"([\w.:-]{1,64})"$/;

/**
 * The tool that the conversation called last, in any of the APIs: `tool_calls` of an assistant's message, a `tool_use` in its content, or an item of type
 * `function_call`. Undefined where none of the last messages has one.
 */
export function lastToolCalled(body: Buffer, { messageOffsets }: BodyScan): string | undefined {
  const last = messageOffsets.length / 2 - 1;
  for (let index = last; index >= Math.max(0, last - MAX_MESSAGES_BACK); index--) {
    const name = toolOf(body, messageOffsets[2 * index]!);
    if (name !== undefined) return name;
  }
  return undefined;
}

function toolOf(body: Buffer, start: number): string | undefined {
  // What a tool said may be long: the role stands before it, and who has one calls by its message.
  const role = textOf(body, start, 'role');
  if (role === undefined) return textOf(body, start, 'type') === '"function_call"' ? nameOf(body, start) : undefined;
  if (role !== '"assistant"') return undefined;
  const calls = findMember(body, start, 'tool_calls');
  if (calls && calls.elements > 0) {
    const call = elementsOf(body, calls.start).at(-1)!;
    const called = findMember(body, call, 'function');
    return called && nameOf(body, called.start);
  }
  const content = memberStart(body, start, 'content');
  if (body[content] !== OPEN_BRACKET) return undefined;
  const use = elementsOf(body, content).findLast((part) => textOf(body, part, 'type') === '"tool_use"');
  return use === undefined ? undefined : nameOf(body, use);
}

function nameOf(body: Buffer, start: number): string | undefined {
  return TOOL_NAME.exec(textOf(body, start, 'name') ?? '')?.[1];
}

/** A member as it is written; undefined where there is none. */
function textOf(body: Buffer, start: number, key: string): string | undefined {
  const range = findMember(body, start, key);
  return range && body.toString('latin1', range.start, range.end);
}
