import { describe, expect, it } from 'vitest';
import { textGrams } from '../../src/model/text-grams.js';
import { fieldsOf, importFiles, SECRET, sourceFile } from './import-fixture.js';

const call = (name: string, args: string) => [{ id: 'c', type: 'function', function: { name, arguments: args } }];
const record = {
  task_id: 3,
  trial: 1,
  reward: 0,
  info: { task: { instruction: `You are ${SECRET}` } },
  traj: [
    { role: 'system', content: 'a b c d e f g h i j' },
    { role: 'user', content: 'x x x' },
    { role: 'assistant', content: null, tool_calls: call('look', 'up') },
    { role: 'tool', name: 'look', content: 'r r r r' },
    { role: 'assistant', content: 'y y' },
    { role: 'user', content: 'z' },
  ],
};

describe('tau-bench', () => {
  it('makes a call of every message of the agent and of the simulated user, each with what that side saw', async () => {
    const instruction = 6; // "You are zyzzyva" in o200k_base.
    const trace = await importFiles('tau-bench', [sourceFile('gpt-4o-airline.jsonl.gz', record)]);
    const id = 'tau-bench-airline-3/1';
    expect(fieldsOf(trace, 'request_id', 'role', 'wait_for', 'input_length', 'output_length')).toEqual([
      [`${id}/1`, 'user-simulator', undefined, instruction, 3],
      [`${id}/2`, 'agent', [`${id}/1`], 13, 2],
      [`${id}/3`, 'agent', [`${id}/2`], 19, 2],
      [`${id}/4`, 'user-simulator', [`${id}/3`], instruction + 5, 1],
    ]);
    expect(fieldsOf(trace, 'last_message_kind', 'last_message_tokens', 'tool_called', 'finish_reason')).toEqual([
      ['none', 0, undefined, undefined],
      ['user', 3, true, 'tool_calls'],
      ['tool', 4, false, 'stop'],
      ['user', 2, undefined, undefined],
    ]);
    expect(fieldsOf(trace, 'last_tool')).toEqual([[undefined], [undefined], ['look'], [undefined]]);
    expect(trace.rows[1]).toMatchObject({ model: 'gpt-4o', tools_offered: 14, task: 'tau-bench-airline-3' });
    expect(trace.rows[0]).not.toHaveProperty('model');
  });

  it('keeps hashed words of what was said last where that is asked for', async () => {
    const { rows } = await importFiles('tau-bench', [sourceFile('a.jsonl', record)], { textGrams: true });
    const grams = [undefined, 'x x x', 'r r r r', 'y y'].map((text) => text && textGrams(text));
    expect(rows.map(({ text_grams }) => text_grams)).toEqual(grams);
  });

  it('shares the blocks of the policy between episodes, and of the conversation inside one', async () => {
    const long = Array.from({ length: 40 }, () => 'word').join(' ');
    const traj = [
      { role: 'system', content: long },
      { role: 'user', content: long },
      { role: 'assistant', content: long },
      { role: 'user', content: long },
      { role: 'assistant', content: long },
    ];
    const lines = JSON.stringify(
      [
        { ...record, traj },
        { ...record, trial: 2, traj },
      ],
      null,
      1,
    ).split('\n');
    const { rows } = await importFiles('tau-bench', [sourceFile('gpt-4o-airline.json', ...lines)]);
    const agents = rows.filter(({ role }) => role === 'agent').map(({ hash_runs }) => hash_runs!);
    expect(agents.map((runs) => runs[0])).toEqual([agents[0]![0], agents[0]![0], agents[0]![0], agents[0]![0]]);
    expect(agents[1]![1]![0]).toBe(agents[0]![1]![0]);
    expect(agents[2]![1]![0]).not.toBe(agents[0]![1]![0]);
    // 40 + 40 and 40 + 120 tokens, in blocks of 16.
    expect(agents.slice(0, 2).map((runs) => runs.map(([, count]) => count))).toEqual([
      [2, 3],
      [2, 8],
    ]);
  });

  it('names the field of a bad episode, and does without the model where the file tells none', async () => {
    const bad = { ...record, task_id: 'x' };
    await expect(importFiles('tau-bench', [sourceFile('a.jsonl', record, bad)])).rejects.toThrow(
      'a.jsonl: line 2: task_id',
    );
    const { rows } = await importFiles('tau-bench', [sourceFile('a.jsonl', record, record)]);
    expect(rows[1]).toMatchObject({ template: 'tau-bench', role: 'agent' });
    expect(rows[1]!.derived).not.toContain('model:rule');
    expect(new Set(rows.map(({ workflow_id }) => workflow_id))).toEqual(new Set(['tau-bench-3/1', 'tau-bench-3/1~2']));
    expect(
      (await importFiles('tau-bench', [sourceFile('a.jsonl', record, record)], { limitWorkflows: 1 })).rows,
    ).toHaveLength(4);
  });
});
