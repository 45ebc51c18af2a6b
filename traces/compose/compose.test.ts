import { describe, expect, it } from 'vitest';
import { MaestroError } from '../../src/model/error.js';
import { checkTrace } from '../reader.js';
import type { Trace, TraceRow } from '../schema.js';
import { groupWorkflows, type TraceWorkflow } from '../workflow.js';
import { compose } from './compose.js';
import { composeSpecSchema } from './spec.js';
import { cutAbove, splitAtUserMessages } from './split.js';

/** `count` workflows of two stages, without arrivals, all on the same blocks. */
function pairs(count: number, template: string): Trace {
  const rows = Array.from({ length: count }, (_, index): TraceRow[] => {
    const workflow_id = `${template}-${index}`;
    const common = {
      workflow_id,
      template,
      input_length: 100,
      output_length: 50,
      hash_ids: [0, 1, 2],
      block_tokens: 16,
    };
    return [
      { ...common, request_id: `${workflow_id}/1`, role: 'planner', model: 'recorded' },
      { ...common, request_id: `${workflow_id}/2`, role: 'worker', wait_for: [`${workflow_id}/1`], delay: 99_000 },
    ];
  }).flat();
  return { header: { maestro_trace: 1, source: `${template} source`, licence: 'MIT' }, rows };
}

const ARRIVALS: Trace = {
  rows: [0, 10, 40, 50, 90, 100, 1000].map((timestamp, index) => ({
    request_id: `a${index}`,
    timestamp,
    input_length: 1,
    output_length: 1,
    template: index === 6 ? 'other' : 'azure',
  })),
};
const MANY: Trace = {
  rows: Array.from({ length: 20 }, (_, index) => ({
    ...{ request_id: `m${index}`, timestamp: 10 * index, input_length: 1, output_length: 1 },
  })),
};
const TRACES: Record<string, Trace> = {
  one: pairs(8, 'one'),
  two: pairs(8, 'two'),
  three: pairs(8, 'three'),
  arrivals: ARRIVALS,
  many: MANY,
};
const load = async (path: string) => TRACES[path]!;

const spec = (changes: object = {}) =>
  composeSpecSchema.parse({
    seed: 3,
    workflows: [
      { trace: 'one', take: 3 },
      { trace: 'two', take: 2 },
    ],
    arrivals: { trace: 'arrivals', template: 'azure', skip: 1, meanGapMs: 1000 },
    models: [{ role: 'planner', choose: { large: 1 } }, { choose: { small: 1, tiny: 1 } }],
    classes: { interactive: { share: 1, deadlineMs: 30_000, deadlineMsByTemplate: { two: 7000 } } },
    tenants: { acme: 1 },
    maxWaitMs: 500,
    maxTokens: 64,
    ...changes,
  });

describe('compose', () => {
  it('gives long answers a limit with room that does not tell how long they are', async () => {
    const { rows } = await compose(spec({ maxTokens: 3 }), load);
    const limits = rows.map(({ output_length, max_tokens }) => [output_length <= max_tokens!, max_tokens! / 3]);
    expect(new Set(limits.map(([fits]) => fits))).toEqual(new Set([true]));
    for (const [, times] of limits) expect(Number.isInteger(Math.log2(Number(times)))).toBe(true);
    expect(Math.max(...limits.map(([, times]) => Number(times)))).toBeGreaterThan(1);
  });

  it('makes a sound trace with arrivals, classes, models and limits', async () => {
    const { header, rows } = await compose(spec(), load);
    expect((await checkTrace([header, ...rows].map((line) => JSON.stringify(line)))).issues).toEqual([]);
    expect(header?.source).toContain('one source (MIT)');
    const workflows = groupWorkflows(rows);
    expect(workflows.map(({ arrivalMs }) => arrivalMs)).toEqual([0, 1333, 1778, 3556, 4000]);
    expect(workflows.filter(({ template }) => template === 'one')).toHaveLength(3);
    for (const { template, deadlineMs, tenant, sloClass } of workflows) {
      expect([deadlineMs, tenant, sloClass]).toEqual([template === 'two' ? 7000 : 30_000, 'acme', 'interactive']);
    }
    for (const row of rows) {
      expect(row.max_tokens).toBe(64);
      expect(row.role === 'planner' ? ['large'] : ['small', 'tiny']).toContain(row.model);
      expect(row.derived).toContain('model:sample:spec');
    }
    expect(rows.find(({ role }) => role === 'worker')).toMatchObject({ delay: 500 });
    expect(rows.find(({ role }) => role === 'worker')?.derived).toContain('delay:rule');
    expect(rows.find(({ role }) => role === 'planner')?.derived).toContain('timestamp:sample:azure');
  });

  it('keeps the blocks of two sources apart and of one source together', async () => {
    const { rows } = await compose(spec(), load);
    const firstBlocks = (template: string) =>
      new Set(rows.filter((row) => row.template === template).map(({ hash_runs }) => hash_runs![0]![0]));
    expect(firstBlocks('one')).toEqual(new Set([0]));
    expect(firstBlocks('two')).toEqual(new Set([3]));
  });

  it('is the same for a seed and another for another', async () => {
    expect(await compose(spec(), load)).toEqual(await compose(spec(), load));
    expect(await compose(spec({ seed: 4 }), load)).not.toEqual(await compose(spec(), load));
  });

  it.each<[string, object, RegExp]>([
    ['too few workflows', { workflows: [{ trace: 'one', take: 9 }] }, /one: 9 workflows wanted, 8 fit/],
    [
      'conditions that leave too few',
      { workflows: [{ trace: 'one', take: 1, minStages: 3 }] },
      /1 workflows wanted, 0 fit/,
    ],
    [
      'too few arrivals',
      { arrivals: { trace: 'arrivals', template: 'azure', skip: 3, meanGapMs: 9 } },
      /5 arrivals wanted, 3 there/,
    ],
    [
      'no model for a role',
      { models: [{ role: 'planner', choose: { large: 1 } }] },
      /no entry of models matches.*role worker/,
    ],
  ])('refuses %s', async (_name, changes, message) => {
    await expect(compose(spec(changes), load)).rejects.toThrow(message);
  });

  it('draws a workflow once, whichever parts it fits', async () => {
    const overlapping = [
      { trace: 'one', take: 4 },
      { trace: 'one', take: 4, minStages: 2 },
    ];
    const { rows } = await compose(spec({ workflows: overlapping, arrivals: { trace: 'many', meanGapMs: 9 } }), load);
    expect(new Set(rows.map(({ request_id }) => request_id)).size).toBe(16);
    expect(groupWorkflows(rows)).toHaveLength(8);
    overlapping[1]!.take = 5;
    await expect(compose(spec({ workflows: overlapping }), load)).rejects.toThrow(
      'one: 5 workflows wanted, 4 fit the conditions; 4 more have ids that an earlier part of the spec has drawn',
    );
  });

  it.each([
    [['classes'], { classes: {} }],
    [['models', 0, 'choose'], { models: [{ choose: {} }] }],
    [['tenants'], { tenants: {} }],
  ])('names an empty %s', (path, changes) => {
    expect(composeSpecSchema.safeParse({ ...spec(), ...changes }).error?.issues).toMatchObject([{ path }]);
  });

  it('refuses unknown words in a spec', () => {
    expect(() => spec({ arivals: {} })).toThrow('arivals');
  });
});

describe('a workload that shrinks to what the traces hold', () => {
  const parts = (one: number, two: number) => [
    { trace: 'one', take: one },
    { trace: 'two', take: two },
  ];
  const arrivals = { trace: 'many', skip: 8, meanGapMs: 1000 };
  const counts = ({ rows }: Trace) =>
    ['one', 'two'].map((name) => groupWorkflows(rows).filter(({ template }) => template === name).length);

  it('is the same to the byte where the traces hold enough', async () => {
    const enough = spec({ workflows: parts(8, 4), arrivals });
    expect(await compose(enough, load, true)).toEqual(await compose(enough, load));
  });

  it('keeps the proportions of its parts, and says what there was too little of', async () => {
    const composed = await compose(spec({ workflows: parts(16, 12), arrivals }), load, true);
    expect(counts(composed)).toEqual([8, 6]);
    expect(composed.shrunk).toEqual({
      share: 0.5,
      why: 'one: 16 workflows wanted, 8 fit; two: 12 workflows wanted, 8 fit; many: 28 arrivals wanted, 20 there',
    });
  });

  it('skips fewer arrivals before it takes fewer workflows', async () => {
    const composed = await compose(spec({ workflows: parts(8, 8), arrivals }), load, true);
    expect(counts(composed)).toEqual([8, 8]);
    expect(composed).not.toHaveProperty('shrunk');
  });

  it('leaves out a part of which there is nothing', async () => {
    const gone = async (path: string) => {
      if (path === 'two') throw new MaestroError('not_found', 'no folder two');
      return await load(path);
    };
    const workflows = [...parts(16, 4), { trace: 'one', take: 4, minStages: 3 }, { trace: 'three', take: 16 }];
    const composed = await compose(spec({ workflows, arrivals }), gone, true);
    expect(counts(composed)).toEqual([8, 0]);
    expect(composed.shrunk?.share).toBeCloseTo(16 / 40);
    expect(composed.shrunk?.why).toContain('without two (workflows.1): no folder two');
    expect(composed.shrunk?.why).toContain('without one (workflows.2): no workflow fits');
    await expect(compose(spec({ workflows: parts(1, 30), arrivals }), gone, true)).rejects.toThrow('only 1 workflows');
    await expect(
      compose(spec({ workflows: parts(8, 8), arrivals: { ...arrivals, trace: 'two' } }), gone, true),
    ).rejects.toThrow('no folder two');
  });
});

describe('splitting a session', () => {
  const row = (
    id: string,
    wait_for: string[],
    kind: 'user' | 'tool',
    session_id = 's',
    input_length = 10,
  ): TraceRow => ({
    request_id: id,
    workflow_id: 's',
    session_id,
    input_length,
    output_length: 1,
    last_message_kind: kind,
    delay: 7,
    ...(wait_for.length > 0 && { wait_for }),
  });
  const session: TraceWorkflow = {
    workflowId: 's',
    rows: [
      row('1', [], 'user'),
      row('1a', ['1'], 'user', 's/agent', 40),
      row('1b', ['1a'], 'tool', 's/agent', 50),
      row('2', ['1', '1b'], 'tool'),
      row('3', ['2'], 'user'),
      row('4', ['3'], 'tool'),
    ],
  };

  it('starts a workflow at every user message of the main thread; sub-agents stay with theirs', () => {
    const runs = splitAtUserMessages(session);
    expect(runs.map(({ workflowId, rows }) => [workflowId, rows.map(({ request_id }) => request_id)])).toEqual([
      ['s.1', ['1', '1a', '1b', '2']],
      ['s.2', ['3', '4']],
    ]);
    const third = runs[1]!.rows[0]!;
    expect(third).toMatchObject({ workflow_id: 's.2', session_id: 's' });
    expect(third).not.toHaveProperty('wait_for');
    expect(third).not.toHaveProperty('delay');
    expect(runs[0]!.rows[3]).toMatchObject({ wait_for: ['1', '1b'], delay: 7 });
  });

  it('cuts what is too long and what waits for it', () => {
    expect(cutAbove(session, 45).rows.map(({ request_id }) => request_id)).toEqual(['1', '1a']);
    expect(cutAbove(session, 50).rows).toHaveLength(6);
  });
});
