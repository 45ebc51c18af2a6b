import { isObject, parseJson } from '../../src/model/json.js';
import type { TraceRow } from '../schema.js';
import { HUMANEVAL_PROMPT_TOKENS } from './humaneval-prompts.js';
import { refuse, type SourceFile, type TraceImporter } from './importer.js';
import { leftOutField } from './left-out.js';
import { slug, stem, UniqueNames } from './names.js';
import { TokenCounter, VOCABULARY } from './tokens.js';

/** `record[agent][round]`: text of the agent's answer; null where it was not asked. */
type Answers = readonly (readonly (string | null)[])[];

/** Roles by the number of agents, from the run scripts of the source. Teams of four differ by subject, which is not recorded. */
const ROLES: Readonly<Record<number, readonly string[]>> = {
  7: ['economist', 'doctor', 'lawyer', 'mathematician', 'psychologist', 'programmer', 'historian'],
  // The last four of eight judge; their texts are not stored.
  8: [
    'python-assistant',
    'algorithm-developer',
    'computer-scientist',
    'programmer',
    'judge',
    'judge',
    'judge',
    'judge',
  ],
};
const CODING_TEAM = 8;

/** Usual size of an agent's instruction and the question, neither of which the source stores. */
const MMLU_PROMPT_TOKENS = 200;
/** Usual size of an agent's instruction alone: the questions of HumanEval are public, and so are their lengths. */
const CODING_INSTRUCTION_TOKENS = 120;
/** Of a question that is none of HumanEval's. */
const USUAL_QUESTION_TOKENS = 130;
/** Questions in an upstream file of HumanEval, whose name ends in the number of the part and the seed: `…_0_2_443`. */
const QUESTIONS_A_PART = 50;

/**
 * Experiments of DyLAN: teams of agents answer a question in up to three rounds, each round reads all answers of the one before, and
 * agreement ends it early. Every answer is a call.
 */
export const dylan: TraceImporter = {
  format: 'dylan',
  summary: 'DyLAN experiment records: JSONL of answers by agent and round (HumanEval, MMLU)',
  async read(files, { limitWorkflows }) {
    const rows: TraceRow[] = [];
    const names = new UniqueNames();
    const counter = new TokenCounter();
    let taken = 0;
    let empty = 0;
    for (const file of files) {
      for await (const { answers, origin, line } of readAnswers(file)) {
        if (taken === limitWorkflows) break;
        const made = teamRows(answers, origin, line, names, counter);
        if (made.length === 0) empty += 1;
        rows.push(...made);
        taken += 1;
      }
    }
    return {
      header: {
        maestro_trace: 1,
        source: 'SALT-NLP/DyLAN, exp/{HumanEval,MMLU}',
        licence: 'MIT',
        notes: [
          'Recorded: which agents answered in which round, the texts of their answers, early stops, the model of HumanEval (in the path).',
          'Derived: edges (a round reads all answers of the round before), roles (from the run scripts), output tokens (counted with o200k_base).',
          'By rule: prompt tokens (a usual size of the instruction, the question of HumanEval by its number or a usual size of one of MMLU, and the answers of the round before); prompts are not stored.',
          'Not in the source: times, and the calls that rank agents and judge code.',
        ],
        ...leftOutField([empty, taken, 'questions, which nobody answered']),
      },
      rows,
    };
  },
};

interface Sourced {
  readonly answers: Answers;
  readonly origin: string;
  /** Line in the upstream file, from 0: the question. */
  readonly line: number;
}

/** One matrix a line, bare as upstream writes it, or wrapped by an archived copy. Summaries beside them hold no calls. */
async function* readAnswers(file: SourceFile): AsyncGenerator<Sourced> {
  let number = 0;
  for await (const text of file.lines()) {
    number += 1;
    if (text.trim() === '') continue;
    const value = parseJson(text);
    if (isObject(value) && typeof value.text === 'string') continue;
    const answers = isObject(value) ? value.record : value;
    if (!isMatrix(answers)) {
      refuse(file, number, 'not a matrix of answers by agent and round');
      continue;
    }
    const origin = isObject(value) && typeof value._file === 'string' ? value._file : file.name;
    const line = isObject(value) && typeof value._line === 'number' ? value._line : number - 1;
    yield { answers, origin, line };
  }
}

function isMatrix(value: unknown): value is Answers {
  return (
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((row) => Array.isArray(row) && row.every((cell) => cell === null || typeof cell === 'string'))
  );
}

function teamRows(
  answers: Answers,
  origin: string,
  line: number,
  names: UniqueNames,
  counter: TokenCounter,
): TraceRow[] {
  const coding = answers.length === CODING_TEAM;
  const roles = ROLES[answers.length];
  const experiment = slug(stem(origin));
  const folder = coding ? /HumanEval\/([^/]+)\//.exec(origin)?.[1] : undefined;
  const model = folder === undefined ? undefined : slug(folder.replaceAll('_', '-').replace('-35-', '-3.5-'));
  const set = coding ? 'humaneval' : 'mmlu';
  const template = coding ? 'dylan-humaneval' : `dylan-mmlu-${answers.length}`;
  // Two models answer the same programming questions; questions of a subject are alike.
  const task = coding ? `${set}-${experiment}-${line}` : `${set}-${experiment.replace(/-test.*$/, '')}`;
  const workflowId = names.take([template, model, experiment, line].filter((part) => part !== undefined).join('/'));
  const promptTokens = coding ? codingPromptTokens(experiment, line) : MMLU_PROMPT_TOKENS;
  const rows: TraceRow[] = [];
  let before: { readonly ids: readonly string[]; readonly tokens: number } = { ids: [], tokens: 0 };
  const rounds = Math.max(...answers.map((row) => row.length));
  for (let round = 0; round < rounds; round++) {
    const ids: string[] = [];
    let tokens = 0;
    for (const [agent, row] of answers.entries()) {
      const answer = row[round];
      if (answer == null) continue;
      const outputTokens = counter.count(answer);
      const id = `${workflowId}/${round + 1}/${agent + 1}`;
      const role = roles?.[agent];
      rows.push({
        request_id: id,
        workflow_id: workflowId,
        ...(before.ids.length > 0 && { wait_for: [...before.ids] }),
        input_length: promptTokens + before.tokens,
        output_length: outputTokens,
        template,
        ...(role !== undefined && { role }),
        agent: `agent-${agent + 1}`,
        ...(model !== undefined && { model }),
        task,
        tools_offered: 0,
        last_message_kind: 'user',
        derived: role === undefined ? DERIVED : [...DERIVED, 'role:rule'],
      });
      ids.push(id);
      tokens += outputTokens;
    }
    if (ids.length > 0) before = { ids, tokens };
  }
  return rows;
}

function codingPromptTokens(experiment: string, line: number): number {
  const part = /-(\d+)-\d+$/.exec(experiment)?.[1];
  const question = part === undefined ? undefined : HUMANEVAL_PROMPT_TOKENS[Number(part) * QUESTIONS_A_PART + line];
  return CODING_INSTRUCTION_TOKENS + (question ?? USUAL_QUESTION_TOKENS);
}

const DERIVED = [
  'wait_for:rule',
  'input_length:rule',
  `output_length:count:${VOCABULARY}`,
  'tools_offered:rule',
  'last_message_kind:rule',
];
