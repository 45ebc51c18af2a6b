import { describe, expect, it } from 'vitest';
import { fieldsOf, importFiles, SECRET, sourceFile } from './import-fixture.js';

const wrap = (path: string, line: number, record: (string | null)[][]) => ({ _file: path, _line: line, record });
const coding = (text: string) => [
  [text, text, null],
  [text, null, null],
  [text, text, text],
  [text, text, null],
  [null, null, null],
  [null, null, null],
  [null, null, null],
  [null, null, null],
];
const HUMAN_EVAL = 'exp/HumanEval/gpt_35_turbo_0301/llmlp_human_eval_0_2_443.json';

describe('dylan', () => {
  it('lets each round wait for all answers of the round before', async () => {
    const trace = await importFiles('dylan', [sourceFile('h.jsonl', wrap(HUMAN_EVAL, 7, coding('one two three')))]);
    const id = 'dylan-humaneval/gpt-3.5-turbo-0301/llmlp-human-eval-0-2-443/7';
    expect(fieldsOf(trace, 'request_id', 'wait_for', 'role', 'input_length', 'output_length')).toEqual([
      [`${id}/1/1`, undefined, 'python-assistant', 325, 3],
      [`${id}/1/2`, undefined, 'algorithm-developer', 325, 3],
      [`${id}/1/3`, undefined, 'computer-scientist', 325, 3],
      [`${id}/1/4`, undefined, 'programmer', 325, 3],
      [`${id}/2/1`, [1, 2, 3, 4].map((n) => `${id}/1/${n}`), 'python-assistant', 337, 3],
      [`${id}/2/3`, [1, 2, 3, 4].map((n) => `${id}/1/${n}`), 'computer-scientist', 337, 3],
      [`${id}/2/4`, [1, 2, 3, 4].map((n) => `${id}/1/${n}`), 'programmer', 337, 3],
      [`${id}/3/3`, [1, 3, 4].map((n) => `${id}/2/${n}`), 'computer-scientist', 334, 3],
    ]);
    expect(trace.rows[0]).toMatchObject({ template: 'dylan-humaneval', model: 'gpt-3.5-turbo-0301', tools_offered: 0 });
  });

  it('knows the length of a question of HumanEval by its number, and takes the usual one for others', async () => {
    const lengthOf = async (name: string, line: number) => {
      const file = sourceFile('h.jsonl', wrap(`exp/HumanEval/gpt_4_0613/${name}.json`, line, coding('one')));
      return (await importFiles('dylan', [file])).rows[0]!.input_length;
    };
    expect(await lengthOf('llmlp_human_eval_0_0_443', 0)).toBe(120 + 119);
    expect(await lengthOf('llmlp_human_eval_0_3_443', 13)).toBe(120 + 103);
    expect(await lengthOf('llmlp_human_eval_0_3_443', 14)).toBe(120 + 130);
    expect(await lengthOf('my_own', 0)).toBe(120 + 130);
  });

  it('tells the teams apart by their size, and names no role where none is recorded', async () => {
    const team = (size: number) => Array.from({ length: size }, () => [SECRET, null, null]);
    const trace = await importFiles('dylan', [
      sourceFile(
        'mmlu.jsonl',
        wrap('exp/MMLU/mmlu_optimal7_4/professional_law_test_100_43.json', 0, team(4)),
        wrap('exp/MMLU/mmlu_optimal7_7/professional_law_test_0_73.json', 0, team(7)),
      ),
      sourceFile('summary.jsonl', { _file: 'x.txt', text: '[True] 0.35\n114 5.7' }),
    ]);
    const rows = fieldsOf(trace, 'template', 'role', 'agent', 'task');
    expect(rows).toHaveLength(11);
    expect(rows[0]).toEqual(['dylan-mmlu-4', undefined, 'agent-1', 'mmlu-professional-law']);
    expect(rows[5]).toEqual(['dylan-mmlu-7', 'doctor', 'agent-2', 'mmlu-professional-law']);
  });

  it('gives a question the same task under two models, also in bare upstream files', async () => {
    const other = HUMAN_EVAL.replace('gpt_35_turbo_0301', 'gpt_4_0613');
    const wrapped = sourceFile('h.jsonl', wrap(HUMAN_EVAL, 3, coding('a')), wrap(other, 3, coding('b')));
    const { rows } = await importFiles('dylan', [wrapped]);
    expect(new Set(rows.map(({ task }) => task))).toEqual(new Set(['humaneval-llmlp-human-eval-0-2-443-3']));
    expect(new Set(rows.map(({ model }) => model))).toEqual(new Set(['gpt-3.5-turbo-0301', 'gpt-4-0613']));
    const bare = sourceFile('llmlp_human_eval_0_2_443.json', JSON.stringify(coding('a')), JSON.stringify(coding('b')));
    const twice = await importFiles('dylan', [bare, bare]);
    expect(new Set(twice.rows.map(({ workflow_id }) => workflow_id)).size).toBe(4);
    expect((await importFiles('dylan', [bare], { limitWorkflows: 1 })).rows).toHaveLength(8);
  });

  it.each([
    ['an object', { a: 1 }],
    ['ragged cells', [[1]]],
    ['nothing', []],
  ])('refuses %s', async (_name, record) => {
    await expect(importFiles('dylan', [sourceFile('x.jsonl', JSON.stringify(record))])).rejects.toThrow(
      'x.jsonl: line 1: not a matrix',
    );
  });
});
