import { describe, expect, it } from 'vitest';
import { SeededRng } from '../../src/model/rng.js';
import { checkTrace } from '../reader.js';
import type { Trace, TraceRow } from '../schema.js';
import type { SourceFile } from './importer.js';
import { IMPORTERS } from './registry.js';

const file = (name: string, ...lines: (string | object)[]): SourceFile => ({
  name,
  path: name,
  async *lines() {
    for (const line of lines) yield typeof line === 'string' ? line : JSON.stringify(line);
  },
});

async function read(format: string, files: SourceFile[], limitWorkflows = Number.POSITIVE_INFINITY): Promise<Trace> {
  const importer = IMPORTERS.find((candidate) => candidate.format === format)!;
  const trace = await importer.read(files, { textGrams: false, limitWorkflows, rng: new SeededRng(1) });
  // Whatever an importer makes must pass the strict reader.
  expect((await checkTrace([trace.header, ...trace.rows].map((line) => JSON.stringify(line)))).issues).toEqual([]);
  return trace;
}

const byId = (rows: readonly TraceRow[], id: string) => rows.find((row) => row.request_id === id);

describe('azure-llm-2023', () => {
  const header = 'TIMESTAMP,ContextTokens,GeneratedTokens';
  const code = file('one.csv', header, '2023-11-16 18:00:01.5000000,4000,10', '2023-11-16 18:00:03.0000001,900,20', '');
  const talk = file('two.csv', header, '2023-11-16 18:00:00.0000000,300,150', '2023-11-16 18:00:02.2500000,400,90');

  it('says of which day the requests are', async () => {
    const sourceOf = async (time: string) =>
      (await read('azure-llm-2023', [file('x.csv', header, `${time},100,10`)])).header?.source;
    expect(await sourceOf('2023-11-16 18:15:46.6805900')).toMatch(/csv \(2023-11-16\)$/);
    expect(await sourceOf('2024-05-10 00:00:00.009930+00:00')).toMatch(/csv \(2024-05-10\)$/);
  });

  it('merges the services by time and knows them by their answers', async () => {
    const { rows } = await read('azure-llm-2023', [code, talk]);
    expect(rows.map(({ timestamp, template, input_length }) => [timestamp, template, input_length])).toEqual([
      [0, 'azure-conversation', 300],
      [1500, 'azure-code', 4000],
      [2250, 'azure-conversation', 400],
      [3000.0001, 'azure-code', 900],
    ]);
    expect((await read('azure-llm-2023', [code, talk], 3)).rows).toHaveLength(3);
  });

  it('keeps the ids of two files of one service apart', async () => {
    const more = file('three.csv', header, '2023-11-16 18:00:05.0000000,100,30');
    const { rows } = await read('azure-llm-2023', [code, more]);
    expect(rows.map(({ request_id }) => request_id)).toEqual(['azure-code-1', 'azure-code-2', 'azure-code~2-1']);
  });

  it.each([
    ['another header', file('x.csv', 'a,b'), /x\.csv: line 1: the header must name the columns/],
    ['a broken row', file('x.csv', header, '2023-11-16,1,2'), /x\.csv: line 2: TIMESTAMP: 2023-11-16 is not a time/],
  ])('refuses %s', async (_name, source, message) => {
    await expect(read('azure-llm-2023', [source])).rejects.toThrow(message);
  });
});

describe('mooncake-fast25', () => {
  it('keeps blocks and gives each file ids of its own', async () => {
    const first = file('a.jsonl', { timestamp: 5, input_length: 600, output_length: 3, hash_ids: [0, 1] });
    const second = file('b.jsonl', { timestamp: 2, input_length: 600, output_length: 4, hash_ids: [0, 2] });
    const { rows } = await read('mooncake-fast25', [first, second]);
    expect(rows.map(({ timestamp, hash_ids }) => [timestamp, hash_ids])).toEqual([
      [0, [2, 4]],
      [3, [0, 1]],
    ]);
    await expect(read('mooncake-fast25', [file('c.jsonl', { timestamp: 1 })])).rejects.toThrow(
      'c.jsonl: line 1: input_length:',
    );
  });
});

describe('agentic-mooncake', () => {
  it('makes one workflow of what hangs together', async () => {
    const row = { input_length: 5, output_length: 1 };
    const source = file(
      'a.jsonl',
      { ...row, request_id: 'm1', session_id: 'main', timestamp: 0, branches: ['s1'] },
      { ...row, request_id: 's1', session_id: 'sub', wait_for: ['m1'], later_field: true },
      { ...row, request_id: 'm2', session_id: 'main', wait_for: ['m1', 's1'], delay: 3, tool_wait_ms: 4 },
      { ...row, request_id: 'o1', timestamp: 9 },
    );
    const { rows } = await read('agentic-mooncake', [source]);
    expect(rows.map(({ workflow_id }) => workflow_id)).toEqual(['main', 'main', 'main', 'o1']);
    expect(byId(rows, 'm2')).toMatchObject({ wait_for: ['m1', 's1'], delay: 3, tool_wait_ms: 4 });
    expect((await read('agentic-mooncake', [source], 1)).rows).toHaveLength(3);
  });

  it('refuses rows without lengths', async () => {
    await expect(read('agentic-mooncake', [file('a.jsonl', { request_id: 'x', timestamp: 0 })])).rejects.toThrow(
      'a.jsonl: line 1: input_length and output_length',
    );
  });
});

describe('kv-cache-tester', () => {
  const call = (t: number, fields: object = {}) => ({
    t,
    type: 'n',
    model: 'm',
    in: 130,
    out: 7,
    hash_ids: [1, 2],
    input_types: ['tool_result'],
    output_types: ['text'],
    stop: 'end_turn',
    api_time: 2,
    think_time: 1.5,
    ...fields,
  });
  const sub = (t: number, agent: string, ...requests: object[]) => ({
    t,
    type: 'subagent',
    agent_id: agent,
    subagent_type: 'Explore',
    duration_ms: 6000,
    requests,
  });
  const record = {
    id: 'trace_1',
    block_size: 64,
    requests: [
      call(0, { input_types: ['text'], stop: 'tool_use' }),
      sub(3, 'agent_1', call(0, { input_types: ['text'] }), call(4)),
      sub(3.5, 'agent_2', call(0, { input_types: ['text'] })),
      call(10),
      call(14, { input_types: ['text'], think_time: 1.9 }),
    ],
  };

  it('spawns sub-agents from the call before and joins them at the next', async () => {
    const { rows } = await read('kv-cache-tester', [file('a.jsonl', record)]);
    expect(rows).toHaveLength(6);
    expect(byId(rows, 'trace_1/1')).toMatchObject({
      role: 'main',
      tool_called: true,
      last_message_kind: 'user',
      model: 'm',
    });
    expect(byId(rows, 'trace_1/1')?.wait_for).toBeUndefined();
    // Spawned at 3 s, the parent's call ended at 2 s.
    expect(byId(rows, 'trace_1/agent_1/1')).toMatchObject({ role: 'explore', wait_for: ['trace_1/1'], delay: 1000 });
    expect(byId(rows, 'trace_1/agent_1/2')).toMatchObject({ wait_for: ['trace_1/agent_1/1'], tool_wait_ms: 1500 });
    // The later sub-agent ended at 9.5 s, the next main call began at 10 s.
    expect(byId(rows, 'trace_1/2')).toMatchObject({
      wait_for: ['trace_1/1', 'trace_1/agent_1/2', 'trace_1/agent_2/1'],
      tool_wait_ms: 500,
      derived: ['wait_for:rule'],
    });
    expect(byId(rows, 'trace_1/3')).toMatchObject({ wait_for: ['trace_1/2'], delay: 1900 });
    expect(new Set(rows.map(({ session_id }) => session_id))).toEqual(
      new Set(['trace_1', 'trace_1/agent_1', 'trace_1/agent_2']),
    );
  });

  it('takes one session of a group of duplicates and keeps the block ids of sessions apart', async () => {
    const wrap = (group: string, id: string) => ({
      _file: `${id}.json`,
      _near_dup_group: group,
      record: { ...record, id },
    });
    const source = file('a.jsonl', wrap('g', 't1'), wrap('g', 't2'), wrap('h', 't3'));
    const { rows } = await read('kv-cache-tester', [source]);
    expect(new Set(rows.map(({ workflow_id }) => workflow_id))).toEqual(new Set(['t1', 't3']));
    expect(byId(rows, 't1/1')?.hash_runs).toEqual([[1, 2]]);
    expect(byId(rows, 't3/1')?.hash_runs).toEqual([[4, 2]]);
    expect((await read('kv-cache-tester', [source], 1)).rows).toHaveLength(6);
  });

  it('reads a session that is one text over many lines, and an array of sessions', async () => {
    const lines = JSON.stringify(record, null, 2).split('\n');
    expect((await read('kv-cache-tester', [file('a.json', ...lines)])).rows).toHaveLength(6);
    const two = JSON.stringify([record, { ...record, id: 'trace_2' }], null, 1).split('\n');
    expect((await read('kv-cache-tester', [file('a.json', ...two)])).rows).toHaveLength(12);
    await expect(read('kv-cache-tester', [file('a.json', '{', 'nonsense')])).rejects.toThrow('a.json: line 1: neither');
  });

  it('names file, line and field of a bad record', async () => {
    const bad = { ...record, requests: [call(0, { in: -1 })] };
    await expect(read('kv-cache-tester', [file('a.jsonl', record, 'x')])).rejects.toThrow('a.jsonl: line 2: not JSON');
    await expect(read('kv-cache-tester', [file('a.jsonl', record, bad)])).rejects.toThrow(
      /a\.jsonl: line 2: requests\.0\.in/,
    );
  });
});
