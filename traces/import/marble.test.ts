import { describe, expect, it } from 'vitest';
import { SeededRng } from '../../src/model/rng.js';
import { textGrams } from '../../src/model/text-grams.js';
import { checkTrace } from '../reader.js';
import type { TraceRow } from '../schema.js';
import type { SourceFile } from './importer.js';
import { marble } from './marble.js';
import { answerOf, messagesOf } from './marble-workflow.js';
import { TokenCounter } from './tokens.js';

const file = (name: string, ...records: object[]): SourceFile => ({
  name,
  path: name,
  async *lines() {
    for (const record of records) yield JSON.stringify(record);
  },
});

const TASK = 'Research task: find out why the sky is blue.';
const config = {
  scenario: 'research',
  task: { content: TASK, output_format: 'One line.' },
  agents: [
    { agent_id: 'agent1', profile: 'I like optics.' },
    { agent_id: 'agent2', profile: 'I like the weather and long walks in the rain.' },
  ],
};
const run = {
  task: TASK,
  token_usage: 5000,
  iterations: [
    {
      task_assignments: { agent1: TASK, agent2: TASK },
      task_results: [
        { agent_id: 'agent1', result: 'Result from the model:Light scatters.\nResult from the function:{"data":1}' },
        { agent2: 'Result from the model:\nResult from the function:{"success": true, "papers": []}' },
      ],
      summary: 'Scattering seems likely.',
      communications: [],
    },
    {
      task_assignments: { agent1: 'Look at short waves.', agent2: 'Measure it.' },
      task_results: [{ agent1: 'Result from the model:\nResult from the function:{"full_chat_history": "..."}' }],
      summary: 'Short waves scatter more.',
      communications: ['In Session 1 \nFrom agent1 to agent2: Do you agree?\nFrom agent2 to agent1: Yes,\nI do.'],
    },
  ],
};

async function rowsOf(...files: SourceFile[]): Promise<readonly TraceRow[]> {
  const { header, rows } = await marble.read(files, {
    textGrams: false,
    limitWorkflows: Number.POSITIVE_INFINITY,
    rng: new SeededRng(1),
  });
  expect((await checkTrace([header, ...rows].map((line) => JSON.stringify(line)))).issues).toEqual([]);
  return rows;
}

describe('marble', () => {
  const sources = [
    file('whatever', { _file: 'result/graph_research_Llama3.1_70B.jsonl', record: run }),
    // The config may come later, in any file.
    file('else', config),
  ];

  it('fans out per iteration, joins in the summary, plans before later acts, drops absent agents', async () => {
    const rows = await rowsOf(...sources);
    const edges = rows.map(({ request_id, role, wait_for }) => [
      request_id.replace('marble-research-1/', ''),
      role,
      wait_for?.map((id) => id.replace('marble-research-1/', '')),
    ]);
    expect(edges).toEqual([
      ['1/agent1', 'act', undefined],
      ['1/agent2', 'act', undefined],
      ['1/summary', 'summary', ['1/agent1', '1/agent2']],
      ['2/agent1/plan', 'plan', ['1/summary']],
      ['2/agent1', 'act', ['2/agent1/plan']],
      ['2/agent1/message-1', 'message', ['2/agent1']],
      ['2/summary', 'summary', ['2/agent1/message-1']],
    ]);
    expect(rows.every(({ model, template }) => model === 'llama-3.1-70b' && template === 'marble-research')).toBe(true);
  });

  it('counts recorded text and samples the rest from the same role, and says so', async () => {
    const rows = await rowsOf(...sources);
    const counter = new TokenCounter();
    const output = (id: string) => rows.find((row) => row.request_id === `marble-research-1/${id}`)!;
    expect(output('1/agent1').output_length).toBe(counter.count('Light scatters.'));
    expect(output('1/agent1').derived).toContain('output_length:count:o200k_base');
    expect(output('2/agent1/plan').output_length).toBe(counter.count('Look at short waves.'));
    expect(output('2/agent1').output_length).toBe(counter.count('Do you agree?'));
    expect(output('2/agent1/message-1').output_length).toBe(counter.count('Yes,\nI do.'));
    const sampled = output('1/agent2');
    expect(sampled.derived).toContain('output_length:sample:role');
    expect([counter.count('Light scatters.'), counter.count('Do you agree?')]).toContain(sampled.output_length);
    expect(sampled.tool_called).toBe(true);
  });

  it('keeps hashed words of the task and of what came back last where that is asked for', async () => {
    const options = { textGrams: true, limitWorkflows: 1, rng: new SeededRng(1) };
    const { rows } = await marble.read([...sources], options);
    const grams = (id: string) => rows.find((row) => row.request_id === `marble-research-1/${id}`)!.text_grams;
    expect(grams('1/agent1')).toEqual(textGrams(TASK));
    // Never the call's own result: that of the iteration before.
    const before = run.iterations[0]!.task_results[0] as { result: string };
    expect(grams('2/agent1')).toEqual(textGrams(`Look at short waves. ${before.result}`));
    expect(grams('2/agent1/message-1')).toEqual(textGrams('Do you agree?'));
    expect((await rowsOf(...sources)).every((row) => row.text_grams === undefined)).toBe(true);
  });

  it('lets prompts grow with memory and shares their leading blocks', async () => {
    const long = { ...config, agents: config.agents.map((agent) => ({ ...agent, profile: agent.profile.repeat(20) })) };
    const rows = await rowsOf(file('runs', run), file('configs', long));
    const [first, second] = rows.filter(({ role, agent }) => role === 'act' && agent === 'agent1');
    expect(second!.input_length).toBeGreaterThan(first!.input_length - new TokenCounter().count(TASK));
    expect(first!.hash_runs![0]).toEqual(second!.hash_runs![0]);
    expect(first!.hash_runs![0]![1]).toBeGreaterThan(0);
    expect(first!.hash_runs![1]![0]).not.toBe(second!.hash_runs![1]![0]);
    for (const { hash_runs, input_length } of rows) {
      expect(hash_runs!.reduce((sum, [, count]) => sum + count, 0)).toBe(Math.floor(input_length / 16));
    }
  });

  it('has one planner where even the first iteration has written tasks', async () => {
    const central = {
      task: 'A database is slow.',
      iterations: [
        {
          task_assignments: { agent1: 'Look at locks.' },
          task_results: [{ agent1: 'Result from the model:None.' }],
          summary: 'No.',
        },
      ],
    };
    const rows = await rowsOf(file('star.json', central));
    expect(rows.map(({ role, template }) => [role, template])).toEqual([
      ['planner', 'marble-database'],
      ['act', 'marble-database'],
      ['summary', 'marble-database'],
    ]);
    expect(rows[1]!.wait_for).toEqual([rows[0]!.request_id]);
  });
});

describe('answerOf', () => {
  it.each([
    ['Result from the model:Hello.\nResult from the function:{}', undefined, 'Hello.'],
    ['Result from the model:\nResult from the function:{"code": "print(1)"}', undefined, 'print(1)'],
    [
      'Result from the model:\nResult from the function:{"explanation": "It went well. \\nYour query is: SELECT 1\\nmore"}',
      undefined,
      'SELECT 1',
    ],
    ['Result from the model:\nResult from the function:{"papers": []}', undefined, undefined],
    ['Result from the model:\nResult from the function:not json', undefined, undefined],
    ['Result from the model:\nResult from the function:{"full_chat_history": ""}', 'Hi', 'Hi'],
  ])('%s', (result, message, answer) => {
    expect(answerOf(result, message)).toBe(answer);
  });
});

describe('messagesOf', () => {
  it('gives a session to the agent that opened it', () => {
    const communications = ['In Session 1 \nFrom a to b: one\nFrom b to a: two\nthree', 'junk', 7];
    expect(messagesOf({ communications }, 'a')).toEqual(['one', 'two\nthree']);
    expect(messagesOf({ communications }, 'b')).toEqual([]);
  });
});
