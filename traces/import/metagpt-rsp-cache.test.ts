import { describe, expect, it } from 'vitest';
import { fieldsOf, importFiles, SECRET, sourceFile } from './import-fixture.js';

const context = (fields: string) =>
  `\n## context\n${SECRET} product goals\n\n-----\n\n## format example\n[CONTENT]\n${fields}`;
const messages = JSON.stringify([
  { role: 'system', content: 'You are an AI Python assistant.' },
  { role: 'assistant', content: 'one two' },
]);

describe('metagpt-rsp-cache', () => {
  it.each<[string, string]>([
    ['\nNOTICE\nRole: You are a professional engineer; the main goal is', 'engineer'],
    ['# System\nRole: You are a professional software engineer, and your main task is to review', 'code-reviewer'],
    ['NOTICE\n1. Role: You are a QA engineer;', 'qa-engineer'],
    [context('{"Product Goals": []}'), 'product-manager'],
    [context('{"Program call flow": ""}'), 'architect'],
    [context('{"Required packages": []}'), 'project-manager'],
    [context('{"answer": ""}'), 'action-node'],
    ['As a data scientist, you need to help user', 'data-interpreter'],
    ['hello world', 'other'],
  ])('reads the role off the wording: %j', async (prompt, role) => {
    const { rows } = await importFiles('metagpt-rsp-cache', [sourceFile('a.jsonl', { prompt, response: SECRET })]);
    expect(rows).toMatchObject([{ role, tool_called: false, last_message_kind: 'user' }]);
  });

  it('reads messages, and takes an object for the argument of a function call', async () => {
    const trace = await importFiles('metagpt-rsp-cache', [
      sourceFile(
        'a.jsonl',
        { prompt: messages, response: { code: '1' } },
        { prompt: 'a b#SYSTEM_MSG_END#c', response: 'd' },
      ),
    ]);
    expect(fieldsOf(trace, 'tool_called', 'last_message_kind', 'last_message_tokens')).toEqual([
      [true, 'assistant', 2],
      [false, 'user', 1],
    ]);
    expect(fieldsOf(trace, 'input_length').flat()).toEqual([9, 3]);
  });

  it('reads the one map of the upstream file; variants of a wording are one task', async () => {
    const long = 'Please write a poem about the sea and the wind and the stars, in the manner of the old masters. ';
    const map = JSON.stringify({ [`${long}Begin.`]: 'a', [`${long} Begin now.`]: 'b c', other: 'd' }, null, 1);
    const { rows } = await importFiles('metagpt-rsp-cache', [sourceFile('rsp_cache.json', ...map.split('\n'))]);
    expect(rows.map(({ output_length }) => output_length)).toEqual([1, 2, 1]);
    expect(rows[0]!.task).toBe(rows[1]!.task);
    expect(rows[0]!.task).not.toBe(rows[2]!.task);
    const limited = await importFiles('metagpt-rsp-cache', [sourceFile('a.json', map.replaceAll('\n', ''))], {
      limitWorkflows: 2,
    });
    expect(limited.rows).toHaveLength(2);
  });
});
