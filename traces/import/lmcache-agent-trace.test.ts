import { describe, expect, it } from 'vitest';
import { fieldsOf, importFiles, SECRET, sourceFile } from './import-fixture.js';

const line = (session_id: string, seconds: number, input: string, output: string) => ({
  timestamp: 1_761_001_198_000_000 + seconds * 1e6,
  input,
  output,
  session_id,
});
const issue = `<pr_description> ${SECRET}`;
const GREETING = 'Hi! How can I help you today?';
const survey = `user: Below I will present you a request. ${SECRET}`;

describe('lmcache-agent-trace', () => {
  it('orders a session by time and adds the answers that the prompts leave out', async () => {
    const second = `${issue}\n\n<returncode>0</returncode>`;
    const trace = await importFiles('lmcache-agent-trace', [
      sourceFile(
        'm.jsonl',
        line('s', 5, `${second}\n\nPlease answer`, 'e'),
        line('s', 0, issue, 'a b c'),
        line('s', 2, second, 'd'),
      ),
    ]);
    const base = trace.rows[0]!.input_length;
    const last = trace.rows.map(({ last_message_tokens }) => last_message_tokens!);
    expect(trace.rows[1]!.input_length - base).toBeGreaterThanOrEqual(last[1]! + 3);
    expect(fieldsOf(trace, 'template', 'role', 'output_length', 'last_message_kind', 'recorded_at_ms')).toEqual([
      ['mini-swe-agent', 'swe-agent', 3, 'user', 0],
      ['mini-swe-agent', 'swe-agent', 1, 'tool', 2000],
      ['mini-swe-agent', 'swe-agent', 1, 'user', 5000],
    ]);
    expect(trace.rows[2]!.wait_for).toEqual([trace.rows[1]!.request_id]);
    expect(trace.rows[0]!.wait_for).toBeUndefined();
  });

  it('reads turns of agent and user off the greeting, and tool calls off empty answers', async () => {
    const trace = await importFiles('lmcache-agent-trace', [
      sourceFile(
        't.jsonl',
        line('s', 0, GREETING, 'a b'),
        line('s', 1, 'a b', ''),
        line('s', 2, 'a b', 'c d e'),
        line('s', 3, `${GREETING}\n\nc d e`, 'f'),
      ),
    ]);
    expect(fieldsOf(trace, 'role', 'tool_called', 'last_message_kind', 'output_length')).toEqual([
      ['user-simulator', undefined, 'user', 2],
      ['agent', true, 'user', 17],
      ['agent', false, 'tool', 3],
      ['user-simulator', undefined, 'user', 1],
    ]);
    expect(trace.rows.map(({ derived }) => derived!.includes('output_length:rule'))).toEqual([
      false,
      true,
      false,
      false,
    ]);
    // The agent's own tool call is part of its next prompt.
    expect(trace.rows[2]!.input_length).toBe(trace.rows[1]!.input_length + 17);
  });

  it.each([
    [survey, '1. GIVEN', 'facts', 'orchestrator'],
    [`${survey} we have assembled the following team`, '- Use', 'plan', 'orchestrator'],
    [`assistant: We are working ${SECRET}`, '{ "a": 1 }', 'ledger', 'orchestrator'],
    ['assistant: We are working', 'Here is the **updated** fact sheet', 'facts', 'orchestrator'],
    ['assistant: We are working', '**What went wrong:** all', 'plan', 'orchestrator'],
    ['assistant: We are working', 'Based on all this', 'final-answer', 'orchestrator'],
    ['system: You are a helpful AI assistant.', '```python', 'coder', 'coder'],
    ['system: You are a helpful assistant that can summarize long content', 'It says', 'summariser', 'summariser'],
    ['', `<tool_call> ${SECRET}`, 'web-surfer', 'web-surfer'],
  ])('knows the roles of Magentic-One by the wording (%#)', async (prompt, answer, role, agent) => {
    const lines = [line('s', 0, survey, 'x'), line('s', 1, prompt, answer)];
    const { rows } = await importFiles('lmcache-agent-trace', [sourceFile('g.jsonl', ...lines)]);
    expect(rows[1]).toMatchObject({ role, agent, template: 'magentic-one' });
  });

  it('counts a prompt that was cut off with the answers since it was first seen', async () => {
    const { rows } = await importFiles('lmcache-agent-trace', [
      sourceFile('g.jsonl', line('s', 0, survey, 'a b c'), line('s', 1, 'system: z', 'd e'), line('s', 2, survey, 'f')),
    ]);
    expect(rows[2]!.input_length).toBe(rows[0]!.input_length + 5);
  });

  it('keeps sessions apart, limits them and names bad lines', async () => {
    const source = sourceFile('a.jsonl', line('s', 0, issue, 'a'), line('t', 1, issue, 'b'), line('s', 2, issue, 'c'));
    const { rows } = await importFiles('lmcache-agent-trace', [source]);
    expect(new Set(rows.map(({ workflow_id }) => workflow_id)).size).toBe(2);
    expect(new Set(rows.map(({ task }) => task)).size).toBe(1);
    expect((await importFiles('lmcache-agent-trace', [source], { limitWorkflows: 1 })).rows).toHaveLength(2);
    await expect(importFiles('lmcache-agent-trace', [sourceFile('b.jsonl', { input: 'x' })])).rejects.toThrow(
      'b.jsonl: line 1: timestamp',
    );
  });
});
