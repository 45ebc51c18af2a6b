import { describe, expect, it } from 'vitest';
import { fieldsOf, importFiles, SECRET, sourceFile } from './import-fixture.js';

const say = (role: string, content: string, name?: string) => ({ role, content, ...(name && { name }) });
const plan = (kind: string) =>
  `${kind} plan:\n\nWe are working on ${SECRET}\n\nHere is an initial fact sheet to consider:\n\none two\n\nHere is the plan to follow as best as possible:\n\none two three`;
const warning =
  '\n/usr/lib/x.py:93: UserWarning: Resolved model mismatch.\n  create_result = await self._model_client.create(';
const magentic = {
  question: `Where is the ${SECRET}?`,
  history: [
    say('human', 'a b c d'),
    say('Orchestrator (thought)', plan('Initial') + warning),
    say('Orchestrator (thought)', 'Updated Ledger:\none two'),
    say('Orchestrator (-> WebSurfer)', 'go there'),
    say('Orchestrator (thought)', 'Next speaker WebSurfer'),
    say('WebSurfer', `I clicked it.\n\nHere is a screenshot of ${SECRET}`),
    say('Orchestrator (thought)', `Stalled.... Replanning...${warning}`),
    say('Orchestrator (thought)', plan('New')),
    say('Assistant', 'one two three four'),
    say('ComputerTerminal', 'exit'),
    say('Orchestrator (termination condition)', 'No agent selected.'),
  ],
};
const captain = {
  question: magentic.question,
  system_prompt: { Excel_Expert: 'one two three four five' },
  history: [
    say('assistant', 'You are given: (1) a task', 'Excel_Expert'),
    say('user', 'Run ```python\n1\n```', 'Excel_Expert'),
    say('user', 'exitcode: 0', 'Computer_terminal'),
    say('user', 'See ```python\n1\n```', 'Excel_Expert'),
    say('user', 'TERMINATE', 'Ünknown_Expert'),
  ],
};

describe('who-and-when', () => {
  it('finds the calls behind the messages of Magentic-One', async () => {
    const trace = await importFiles('who-and-when', [sourceFile('1.json', magentic)]);
    const id = 'magentic-one/1';
    expect(fieldsOf(trace, 'request_id', 'role', 'agent', 'output_length', 'wait_for')).toEqual([
      [`${id}/1`, 'facts', 'orchestrator', 2, undefined],
      [`${id}/2`, 'plan', 'orchestrator', 3, [`${id}/1`]],
      [`${id}/3`, 'ledger', 'orchestrator', 2, [`${id}/2`]],
      [`${id}/4`, 'web-surfer', 'web-surfer', 4, [`${id}/3`]],
      [`${id}/5`, 'facts', 'orchestrator', 2, [`${id}/4`]],
      [`${id}/6`, 'plan', 'orchestrator', 3, [`${id}/5`]],
      [`${id}/7`, 'assistant', 'assistant', 4, [`${id}/6`]],
    ]);
    expect(trace.rows[2]).toMatchObject({ response_format: 'json_object' });
    // What the surfer wrote is not recorded, only what it did.
    expect(trace.rows[3]).toMatchObject({ tool_called: true, last_message_tokens: 2 });
    expect(trace.rows[3]!.derived).toContain('output_length:rule');
  });

  it('starts a new conversation with a new plan', async () => {
    const { rows } = await importFiles('who-and-when', [sourceFile('1.json', magentic)]);
    expect(rows[5]!.session_id).toBe('magentic-one/1/orchestrator~1');
    expect(rows[6]!.session_id).toBe('magentic-one/1/assistant~2');
    expect(rows[6]!.input_length).toBeLessThan(rows[5]!.input_length + 40);
    expect(rows[4]!.input_length).toBeGreaterThan(rows[2]!.input_length);
  });

  it('takes everybody in a group chat but the terminal for a model', async () => {
    const trace = await importFiles('who-and-when', [sourceFile('1.json', captain)]);
    expect(fieldsOf(trace, 'agent', 'tool_called', 'last_message_kind')).toEqual([
      ['excel-expert', true, 'user'],
      ['excel-expert', false, 'tool'],
      ['unknown-expert', false, 'user'],
    ]);
    // Instruction (5) and the manager's task; the expert without instruction has read everything.
    const task = trace.rows[0]!.last_message_tokens!;
    expect(trace.rows[0]!.input_length).toBe(5 + task);
    expect(trace.rows[2]!.input_length).toBe(
      task + trace.rows[0]!.output_length + trace.rows[1]!.last_message_tokens! + trace.rows[1]!.output_length,
    );
  });

  it('joins runs of one question over both halves, and keeps files of one name apart', async () => {
    const wrap = (path: string, record: object) => ({ _file: path, record });
    const source = sourceFile(
      'a.jsonl',
      wrap('Who&When/Hand-Crafted/7.json', magentic),
      wrap('Who&When/Algorithm-Generated/7.json', captain),
      wrap('other/7.json', captain),
    );
    const { rows } = await importFiles('who-and-when', [source]);
    expect(new Set(rows.map(({ task }) => task)).size).toBe(1);
    expect([...new Set(rows.map(({ workflow_id }) => workflow_id))]).toEqual([
      'magentic-one/7',
      'captain-agent/7',
      'captain-agent/7~2',
    ]);
    expect((await importFiles('who-and-when', [source], { limitWorkflows: 1 })).rows).toHaveLength(7);
    await expect(importFiles('who-and-when', [sourceFile('x.json', { question: 'q' })])).rejects.toThrow(
      'x.json: line 1: history',
    );
  });
});
