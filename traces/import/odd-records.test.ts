import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { importTrace } from './import.js';
import { fieldsOf, importFiles, sourceFile } from './import-fixture.js';
import { dataFiles } from './importer.js';
import { LeftOut } from './left-out.js';
import { rebaseRecordedTimes } from './rows.js';

/** What real data of others has: other names, other units, other orders, rows that are broken. */
describe('records that differ from those we know', () => {
  it('of Azure: columns in another order, more of them, quoted, in zones', async () => {
    const trace = await importFiles('azure-llm-2023', [
      sourceFile(
        'a.csv',
        'Region,GeneratedTokens,TIMESTAMP,ContextTokens',
        'eu,20,2023-11-16T20:00:00+02:00,700',
        '"eu","30","2023-11-16 18:00:02.5Z","800"',
        'eu,10,2023-11-16 17:59:59,600',
      ),
    ]);
    expect(fieldsOf(trace, 'timestamp', 'input_length', 'output_length')).toEqual([
      [0, 600, 10],
      [1000, 700, 20],
      [3500, 800, 30],
    ]);
  });

  it('of Mooncake: times since 1970', async () => {
    const row = { input_length: 1, output_length: 1 };
    const at = (timestamp: number) => ({ ...row, timestamp });
    const trace = await importFiles('mooncake-fast25', [sourceFile('a', at(1_700_000_000_250), at(1_700_000_000_000))]);
    expect(fieldsOf(trace, 'timestamp')).toEqual([[0], [250]]);
  });

  it('of kv-cache-tester: names of any letters, and one session twice', async () => {
    const call = { t: 0, type: 'n', model: '模型', in: 10, out: 2, hash_ids: [] };
    const spawned = { t: 1, type: 'subagent', agent_id: 'a b', subagent_type: 'Général', requests: [call] };
    const session = { id: 'Zoë', block_size: 64, requests: [call, spawned] };
    const trace = await importFiles('kv-cache-tester', [sourceFile('a', session, session)]);
    expect(new Set(trace.rows.map(({ request_id }) => request_id)).size).toBe(4);
    expect(trace.rows.map(({ role }) => role).slice(0, 2)).toEqual(['main', expect.stringMatching(/^general/)]);
  });

  it('of MARBLE: agents of any name, results that are objects', async () => {
    const results = [{ agent_id: '研究员', result: { code: 'print(1)' } }, { 'agent one': 'hello' }];
    const run = { task: 'x', iterations: [{ task_results: results, summary: 'done' }] };
    const trace = await importFiles('marble', [sourceFile('a', run)]);
    expect(fieldsOf(trace, 'role', 'output_length')).toEqual([
      // {"code":"print(1)"}, not [object Object].
      ['act', 8],
      ['act', 1],
      ['summary', 1],
    ]);
    const nobody = { task: 'x', iterations: [{ task_results: [{ agent_id: null, result: 'x' }], summary: 'done' }] };
    await expect(importFiles('marble', [sourceFile('a', nobody)])).rejects.toThrow('agent_id must be a text');
  });

  it.each([
    [{ prompt: null, response: 'x' }, 'prompt: a text is needed'],
    [{ prompt: 'x', response: null }, 'response: a text or an object is needed'],
    [{ prompt: 'x' }, 'response: a text or an object is needed'],
    [{ 'a prompt': 5 }, 'response: a text or an object is needed'],
  ])('of MetaGPT: %j is no pair', async (record, message) => {
    await expect(importFiles('metagpt-rsp-cache', [sourceFile('a', record)])).rejects.toThrow(`a: line 1: ${message}`);
  });

  it('of ServeGen: half of the windows do not double the traffic', async () => {
    const clients = (windows: readonly number[]) => [
      sourceFile('chunk-0-trace.csv', ...windows.map((start) => `${start},0.1,1,Gamma,1,10`)),
      sourceFile('chunk-0-dataset.json', { 0: { input_tokens: '{5: 1.0}', output_tokens: '{7: 1.0}' } }),
    ];
    expect((await importFiles('servegen-deepseek-r1', clients([0, 600, 1200, 1800]))).rows).toHaveLength(240);
    expect((await importFiles('servegen-deepseek-r1', clients([1800, 0, 600]))).rows).toHaveLength(180);
  });

  it('of ServeGen: empty lines between documents; windows that begin at noon, or count since 1970', async () => {
    const wrapped = (from: number, ...files: readonly (readonly [name: string, content: object])[]) =>
      sourceFile(`${from}.jsonl`, ...files.flatMap(([name, content]) => [{ _file: `x/${name}`, ...content }, '']));
    const record = { 0: { input_tokens: '{5: 1.0}', output_tokens: '{7: 1.0}' } };
    for (const from of [0, 43_200, 1_700_000_000]) {
      const csv = `${from},0.1,1,Gamma,1,10\n${from + 600},0.1,1,Gamma,1,10`;
      const lengths = wrapped(from, ['a-dataset.json', { record }], ['b-dataset.json', { record }]);
      const { rows } = await importFiles('servegen-deepseek-r1', [
        lengths,
        wrapped(from, ['a-trace.csv', { csv }], ['b-trace.csv', { csv }]),
      ]);
      expect(rows).toHaveLength(240);
      expect(Math.max(...rows.map(({ timestamp }) => timestamp!))).toBeLessThanOrEqual(1_200_000);
    }
  });

  it('of Agentic Mooncake: times since 1970', async () => {
    const row = { input_length: 1, output_length: 1 };
    const at = (request_id: string, timestamp: number) => ({ ...row, request_id, timestamp });
    const source = sourceFile('a', at('a', 1_700_000_000_250), at('b', 1_700_000_000_000));
    expect(fieldsOf(await importFiles('agentic-mooncake', [source]), 'timestamp')).toEqual([[250], [0]]);
  });

  it('of tau-bench: tools of any name', async () => {
    const call = (name: string) => ({ role: 'assistant', tool_calls: [{ function: { name, arguments: '{}' } }] });
    const result = { role: 'tool', content: '1' };
    const traj = [{ role: 'user', content: 'x' }, call('find a flight'), result, call(''), result, call('last')];
    const { rows } = await importFiles('tau-bench', [sourceFile('a', { task_id: 1, trial: 0, traj })]);
    expect(rows.map(({ last_tool }) => last_tool)).toEqual([
      undefined,
      undefined,
      'find-a-flight',
      expect.stringMatching(/^name-/),
    ]);
  });

  it('of a load sweep: a log that was cut off is told, not passed over like those of GPUs', async () => {
    const log = sourceFile('detail_log_scale100.json', '{', '"0": {"event_id": 0, "in_len": 5,');
    await expect(importFiles('vllm-burstgpt-replay', [log])).rejects.toThrow(
      'line 1: detail_log_scale100.json: not JSON; is it cut off?',
    );
  });

  it('null where a field may be missing', async () => {
    const call = { t: 0, type: 'n', model: 'm', in: 10, out: 2, hash_ids: [], input_types: null, output_types: null };
    const session = { id: 'a', block_size: 64, requests: [call] };
    const agent = { agent_id: 'a', profile: null };
    const config = { scenario: 'x', task: { content: 'x', output_format: null }, agents: [agent] };
    const run = { task: 'x', iterations: [{ task_results: [{ a: 'x' }], summary: 'x' }] };
    const said = { role: 'human', content: 'x', name: null };
    const failure = { question: 'x', history: [said, { ...said, role: 'Assistant' }] };
    const records: readonly (readonly [format: string, ...records: readonly object[]])[] = [
      ['kv-cache-tester', session],
      ['marble', config, run],
      ['mooncake-fast25', { timestamp: 0, input_length: 1, output_length: 1, hash_ids: null }],
      ['who-and-when', failure],
    ];
    for (const [format, ...lines] of records) {
      expect((await importFiles(format, [sourceFile('a', ...lines)])).rows, format).not.toEqual([]);
    }
  });

  it('one array of records, on one line, over lines, after an empty line', async () => {
    const row = { timestamp: 0, input_length: 3, output_length: 2 };
    const texts = [
      JSON.stringify([row, row]),
      JSON.stringify([row, row], null, 1),
      `\n${JSON.stringify([row, row], null, 1)}`,
    ];
    for (const text of texts) {
      const { rows } = await importFiles('mooncake-fast25', [sourceFile('a', ...text.split('\n'))]);
      expect(rows).toHaveLength(2);
    }
    const bad = sourceFile('a', JSON.stringify([row, { ...row, timestamp: 'now' }]));
    await expect(importFiles('mooncake-fast25', [bad])).rejects.toThrow('a: record 2: timestamp: ');
  });

  it('of a load sweep: one request in two files', async () => {
    const times = { first_chunk_time: 0.1, total_chunk_time: 1, record_time: 5 };
    const log = { 0: { event_id: 0, in_len: 5, out_len: 9, out_len_expected: 20, ...times } };
    const files = ['a_scale100.json', 'b_scale100.json'].map((name) => sourceFile(name, log));
    expect((await importFiles('vllm-burstgpt-replay', files)).rows).toHaveLength(2);
  });

  it('clocks that are decades apart leave the time out', () => {
    const row = { request_id: 'a', input_length: 1, output_length: 1 };
    expect(
      rebaseRecordedTimes([
        { ...row, recorded_at_ms: 5 },
        { ...row, recorded_at_ms: 1.7e12 },
      ]),
    ).toEqual([{ ...row, recorded_at_ms: 0 }, row]);
  });
});

describe('sound records that make no call', () => {
  it('are counted in the header', async () => {
    const nothing = { task: 'x', iterations: [{ task_results: [], summary: 'done' }] };
    const run = { task: 'x', iterations: [{ task_results: [{ a: 'x' }], summary: 'done' }] };
    const session = {
      id: 'a',
      block_size: 64,
      requests: [{ t: 0, type: 'n', model: 'm', in: 1, out: 1, hash_ids: [] }],
    };
    const captured = { _near_dup_group: 'g', record: session };
    const leftOut = async (format: string, ...records: readonly object[]) =>
      (await importFiles(format, [sourceFile('a', ...records)])).header?.left_out;
    expect(await leftOut('marble', run)).toBeUndefined();
    expect(await leftOut('marble', nothing, run)).toEqual(['1 of 2 runs, in which no agent has a result.']);
    expect(await leftOut('kv-cache-tester', captured, captured, captured)).toEqual([
      '2 of 3 sessions, of which another capture was taken.',
    ]);
    const said = { role: 'human', content: 'x', name: 'a' };
    const failure = { question: 'x', history: [said, said] };
    expect(await leftOut('who-and-when', { ...failure, history: [] }, failure)).toEqual([
      '1 of 2 runs, which hold no call.',
    ]);
    const episode = { task_id: 1, trial: 0, traj: [{ role: 'user', content: 'x' }] };
    expect(await leftOut('tau-bench', { ...episode, traj: [] }, episode)).toEqual([
      '1 of 2 episodes, in which nobody says anything.',
    ]);
    expect(await leftOut('dylan', { record: [[null]] }, { record: [['x']] })).toEqual([
      '1 of 2 questions, which nobody answered.',
    ]);
  });
});

describe('records that are left out', () => {
  const row = { timestamp: 0, input_length: 3, output_length: 2 };

  it('are counted, with file, line and field of the first', async () => {
    const leftOut = new LeftOut();
    const passOver = (error: Parameters<LeftOut['add']>[0]) => leftOut.add(error);
    const lines = ['{"half', '', row, { ...row, input_length: -1 }, '[]', row];
    const trace = await importFiles('mooncake-fast25', [{ ...sourceFile('a.jsonl', ...lines), passOver }]);
    expect(trace.rows).toHaveLength(2);
    expect(leftOut.describe()).toEqual([
      'a.jsonl: line 1: neither JSON lines nor one JSON text (left out, with 2 more of this file)',
    ]);
  });

  it('end the import where nobody asked to leave them out, told by the line of the file', async () => {
    await expect(importFiles('mooncake-fast25', [sourceFile('a', row, '', { timestamp: 'now' })])).rejects.toThrow(
      'a: line 3: timestamp: ',
    );
  });
});

it('upstream files tell their model by their folders, as archived copies do', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'maestro-import-'));
  try {
    const [coding, database] = ['HumanEval/gpt_35_turbo_0301', 'result/gpt3.5turbov2'].map((name) =>
      join(folder, name),
    );
    for (const path of [coding!, database!]) await mkdir(path, { recursive: true });
    await writeFile(join(coding!, 'llmlp_human_eval_0_0_443.json'), JSON.stringify(Array(8).fill(['x'])));
    const run = { task: 'x', iterations: [{ task_results: [{ a: 'x' }], summary: 'done' }] };
    await writeFile(join(database!, 'BASE.json'), JSON.stringify(run, null, 1));
    const model = async (format: string, path: string) => (await importTrace(format, [path])).rows[0]!.model;
    expect(await model('dylan', coding!)).toBe('gpt-3.5-turbo-0301');
    expect(await model('marble', database!)).toBe('gpt-3.5-turbo');
  } finally {
    await rm(folder, { recursive: true });
  }
});

it('folders are read with the folders in them', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'maestro-import-'));
  try {
    await mkdir(join(folder, 'b', 'c'), { recursive: true });
    await mkdir(join(folder, '.git'));
    for (const name of ['z.json', 'b/c/a.json', 'b/README.md', '.git/x']) await writeFile(join(folder, name), '');
    expect(await dataFiles([folder])).toEqual([join(folder, 'b', 'c', 'a.json'), join(folder, 'z.json')]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
