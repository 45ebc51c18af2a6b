import { describe, expect, it } from 'vitest';
import { fieldsOf, importFiles, SECRET, sourceFile } from './import-fixture.js';

const chat = (phase: string, assistant: string, model = 'ModelType.GPT_3_5_TURBO') =>
  `[2023-25-08 09:36:01 INFO] System: **[chatting]**\n\n| **assistant_role_name** | ${assistant} |\n| **phase_name** | ${phase} |\n| **model_type** | ${model} |\n\n` +
  `[2023-25-08 09:36:01 INFO] Boss: **[Start Chat]**\n\n[You are ${SECRET} in [brackets].]\n\none two three\n`;
const receive = (second: number, prompt: number, completion: number) =>
  `[2023-25-08 09:36:${second} INFO] **[OpenAI_Usage_Info Receive]**\nprompt_tokens: ${prompt}\ncompletion_tokens: ${completion}\ntotal_tokens: 1\n`;
const turn = (speaker: string, phase: string, n: number) =>
  `[2023-25-08 09:36:50 INFO] ${speaker}: **A<->B on : ${phase}, turn ${n}**\n\n[${SECRET}]\n\nanswer\n`;
const head = `[2023-25-08 09:35:59 INFO] **[Preprocessing]**\n\n**task_prompt**: Make a ${SECRET} game.\n\nChatGPTConfig(temperature=0.2, top_p=1.0)\n`;

const log = [
  head,
  chat('DemandAnalysis', 'Chief Product Officer'),
  '[2023-25-08 09:36:10 INFO] **[OpenAI_Usage_Info Send]**\nnum_prompt_tokens: 400\nnum_max_completion_tokens: 50\n',
  receive(14, 400, 4),
  turn('Chief Product Officer', 'DemandAnalysis', 0),
  chat('CodeReviewComment', 'Code Reviewer'),
  // Both calls of a turn come before their headers, and the older format of the limit.
  '[2023-25-08 09:36:20 INFO] **[OpenAI_Usage_Info Send]**\nnum_tokens: 163\nmax_tokens: 90\n',
  receive(26, 900, 90),
  receive(30, 1000, 7),
  turn('Code Reviewer', 'CodeReviewComment', 0),
  turn('Programmer', 'CodeReviewComment', 0),
].join('');

describe('chatdev', () => {
  it('matches usage records and turn headers first in, first out', async () => {
    const trace = await importFiles('chatdev', [sourceFile('a.jsonl', { _file: 'WareHouse/x/x.log', text: log })]);
    expect(fieldsOf(trace, 'role', 'agent', 'input_length', 'output_length')).toEqual([
      ['demand-analysis', 'chief-product-officer', 400, 4],
      ['code-review-comment', 'code-reviewer', 900, 90],
      ['code-review-comment', 'programmer', 1000, 7],
    ]);
    const [first, second, third] = trace.rows;
    expect(first).toMatchObject({ model: 'gpt-3.5-turbo', max_tokens: 50, temperature: 0.2, tools_offered: 0 });
    expect(first!.wait_for).toBeUndefined();
    expect(second!.wait_for).toEqual([first!.request_id]);
    // The first call of a chat answers the opening message, the second the first.
    expect(fieldsOf(trace, 'last_message_tokens')).toEqual([[3], [3], [90]]);
    expect(third!.derived).toContain('last_message_tokens:rule');
  });

  it('keeps measured times, and knows calls that stopped at their limit', async () => {
    const trace = await importFiles('chatdev', [sourceFile('x.log', ...log.split('\n'))]);
    expect(fieldsOf(trace, 'recorded_at_ms', 'recorded_latency_ms', 'finish_reason')).toEqual([
      [0, 4000, undefined],
      [12_000, 6000, 'length'],
      [16_000, undefined, undefined],
    ]);
  });

  it.each([
    [
      'a call without any header keeps the phase it was made in',
      head + chat('Coding', 'Programmer') + receive(20, 5, 6),
      ['coding', 'programmer'],
    ],
    [
      'the rewriting of the task has a header of its own',
      `${head}${receive(20, 5, 6)}[2023-25-08 09:36:21 INFO] Prompt Engineer: <INFO> ${SECRET}\n`,
      ['task-prompt-self-improvement', 'prompt-engineer'],
    ],
  ])('%s', async (_name, text, expected) => {
    const trace = await importFiles('chatdev', [sourceFile('a.jsonl', { _file: 'a.log', text })]);
    expect(fieldsOf(trace, 'role', 'agent')).toEqual([expected]);
  });

  it('gives runs of one task the same task and names of their own, and skips aborted runs', async () => {
    const wrap = (name: string, text: string) => ({ _file: `WareHouse/${name}.log`, text });
    const source = sourceFile('a.jsonl', wrap('one', log), wrap('none', head), wrap('two', log));
    const trace = await importFiles('chatdev', [source]);
    expect(new Set(trace.rows.map(({ workflow_id }) => workflow_id)).size).toBe(2);
    expect(new Set(trace.rows.map(({ task }) => task)).size).toBe(1);
    expect((await importFiles('chatdev', [source], { limitWorkflows: 1 })).rows).toHaveLength(3);
  });
});
