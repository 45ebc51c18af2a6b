import { isObject, parseJson } from '../../src/model/json.js';
import type { TraceRow } from '../schema.js';
import { readRecords, refuse, type TraceImporter } from './importer.js';
import { fingerprint } from './names.js';
import { type KeptText, textFields } from './text-fields.js';
import { TokenCounter, VOCABULARY } from './tokens.js';

/** Roles that fill in the fields of a document, by the names of the fields. */
const DOCUMENTS: readonly (readonly [RegExp, string])[] = [
  [/requirement pool|competitive analysis|product goals|project name|issue_type/i, 'product-manager'],
  [/data structures and interfaces|program call flow/i, 'architect'],
  [/required packages|task list|logic analysis/i, 'project-manager'],
  [/lgtm/i, 'code-reviewer'],
  [/./, 'action-node'],
];
/** Roles by how a prompt begins; the first that matches decides. */
const OPENINGS: readonly (readonly [RegExp, string])[] = [
  [/main task is to review/i, 'code-reviewer'],
  [/qa engineer/i, 'qa-engineer'],
  [/professional engineer|docstrings|technical professional|你是一个工程师/i, 'engineer'],
  [
    /data scientist|data analysis|data info|code interpreter|python assistant|task type|interface definition/i,
    'data-interpreter',
  ],
  [/user requirement/i, 'data-interpreter'],
  [/sequence diagram|class view/i, 'diagram-writer'],
  [/ocr text|invoice/i, 'invoice-assistant'],
  [/can reach 24|possible thoughts|4 short paragraphs|most promising/i, 'tree-of-thought'],
  [/function parser|action classifier|text-to-speech/i, 'skill-parser'],
  [/isabella|klaus|current activity|salient|area options|being used by someone|emoji|conversation:/i, 'stanford-town'],
  [
    /latest dialogue|conversation records|history messages|\[talk\]|lily is a girl|role-play|sentence above|preceding sentence/i,
    'dialogue',
  ],
  [/product requirement|requirements/i, 'product-manager'],
];
const OPENING_CHARACTERS = 400;

/** A prompt that begins with its context shows the fields that it wants after a format example. */
function roleOf(prompt: string): string {
  const fields = /^\s*## context/.test(prompt) ? prompt.split('## format example')[1] : undefined;
  const [text, roles] = fields === undefined ? [prompt.slice(0, OPENING_CHARACTERS), OPENINGS] : [fields, DOCUMENTS];
  return roles.find(([words]) => words.test(text))?.[1] ?? 'other';
}

/** How much of a prompt tells what kind of request it is: prompts of one wording are variants of one another. */
const WORDING_CHARACTERS = 90;

/** MetaGPT's cache of real prompts and answers, kept for its tests: no order, no runs. Every pair is a workflow of one stage. */
export const metagptRspCache: TraceImporter = {
  format: 'metagpt-rsp-cache',
  summary: 'MetaGPT response cache: JSON of prompts and answers, one stage each',
  async read(files, options) {
    const { limitWorkflows } = options;
    const rows: TraceRow[] = [];
    const counter = new TokenCounter();
    for (const file of files) {
      for await (const { record, line } of readRecords(file)) {
        const pairs = pairsOf(record);
        if (typeof pairs === 'string') {
          refuse(file, line, pairs);
          continue;
        }
        for (const [prompt, response] of pairs) {
          if (rows.length === limitWorkflows) break;
          rows.push(pairRow(rows.length + 1, prompt, response, counter, options));
        }
      }
    }
    return {
      header: {
        maestro_trace: 1,
        source: 'FoundationAgents/MetaGPT, tests/data/rsp_cache.json',
        licence: 'MIT',
        notes: [
          'Recorded: texts of prompts and answers.',
          'Derived: token counts (o200k_base), role (by the wording of the prompt), task (equal beginnings are one task).',
          'Not in the source: order, runs, times, models. For lengths by role only.',
        ],
      },
      rows,
    };
  },
};

/** `{prompt, response}`, or upstream's one map of prompt to response; or what is wrong with it. */
function pairsOf(record: unknown): readonly (readonly [prompt: string, response: unknown])[] | string {
  if (!isObject(record)) return 'neither a prompt with its response nor a map of them';
  const isPair = 'prompt' in record || 'response' in record;
  const pairs = isPair ? [[record.prompt, record.response] as const] : Object.entries(record);
  const sound = pairs.filter((pair): pair is [string, unknown] => typeof pair[0] === 'string');
  if (sound.length < pairs.length) return 'prompt: a text is needed';
  const isAnswer = (response: unknown) => typeof response === 'string' || (typeof response === 'object' && response);
  return sound.every(([, response]) => isAnswer(response)) ? sound : 'response: a text or an object is needed';
}

function pairRow(number: number, prompt: string, response: unknown, counter: TokenCounter, kept: KeptText): TraceRow {
  const messages = messagesOf(prompt);
  const last = messages.at(-1)!;
  const structured = typeof response !== 'string';
  const wording = prompt.replace(/\s+/g, ' ').slice(0, WORDING_CHARACTERS);
  return {
    request_id: `metagpt-${number}`,
    input_length: messages.reduce((sum, { content }) => sum + counter.count(content), 0),
    output_length: counter.count(structured ? JSON.stringify(response) : response),
    template: 'metagpt-cache',
    role: roleOf(prompt),
    task: `metagpt-${fingerprint(wording)}`,
    // A cached object is the argument of a function call.
    tool_called: structured,
    last_message_kind: last.role,
    last_message_tokens: counter.count(last.content),
    ...textFields(kept, () => last.content),
    derived: [
      `input_length:count:${VOCABULARY}`,
      `output_length:count:${VOCABULARY}`,
      'role:rule',
      'tool_called:rule',
      'last_message_kind:rule',
      `last_message_tokens:count:${VOCABULARY}`,
    ],
  };
}

interface CachedMessage {
  readonly role: 'system' | 'user' | 'assistant' | 'tool';
  readonly content: string;
}

const KINDS = ['system', 'user', 'assistant', 'tool'] as const;

/** A prompt is bare text, text with the cache's own separators, or a list of messages as JSON. */
function messagesOf(prompt: string): readonly CachedMessage[] {
  const value = prompt.startsWith('[{') ? parseJson(prompt) : undefined;
  if (Array.isArray(value) && value.length > 0 && value.every(isObject)) {
    return value.map(({ role, content }) => ({
      role: KINDS.find((kind) => kind === role) ?? 'user',
      content: typeof content === 'string' ? content : JSON.stringify(content ?? ''),
    }));
  }
  return prompt.split(/#SYSTEM_MSG_END#|#MSG_SEP#/).map((content) => ({ role: 'user', content }));
}
