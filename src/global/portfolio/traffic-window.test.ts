import { describe, expect, it } from 'vitest';
import { completed, makePrediction, makeStage } from '../../../test/stage-fixture.js';
import type { NodeSpec } from '../../model/fleet.js';
import type { Stage } from '../../model/stage.js';
import { prefixBoundary, sharedBoundaries } from '../prefix-overlap.js';
import { planReplay } from './replay-plan.js';
import { thinNodes, thinnings } from './thinning.js';
import { TrafficWindow } from './traffic-window.js';

const LIMITS = { maxStages: 10_000, thinnings: [1], round: 0 };

/** Plays stages of workflow `w` given as [id, submitted, ended or undefined]; times in seconds. */
function play(window: TrafficWindow, rows: [string, number, number | undefined][], stage: Partial<Stage> = {}): void {
  const events = rows.flatMap(([id, from, to]) => [
    { id, atMs: 1000 * from, begins: true },
    ...(to === undefined ? [] : [{ id, atMs: 1000 * to, begins: false }]),
  ]);
  for (const { id, atMs, begins } of events.sort((a, b) => a.atMs - b.atMs || Number(a.begins) - Number(b.begins))) {
    if (begins) {
      window.stageSubmitted(
        makeStage({ workflowId: 'w', deadlineMs: 60_000, ...stage, stageId: id }),
        makePrediction(),
        atMs,
      );
      window.stageStarted(id, atMs);
    } else window.stageEnded(id, completed(100), atMs);
  }
}

const structure = (window: TrafficWindow) =>
  [...window.all()][0]!.stages.map(({ waitFor, delayMs }) => [waitFor, delayMs]);

describe('TrafficWindow', () => {
  it.each<[string, [string, number, number | undefined][], unknown]>([
    [
      'a chain',
      [
        ['a', 0, 1],
        ['b', 3, 4],
        ['c', 4, 5],
      ],
      [
        [[], 0],
        [[0], 2000],
        [[1], 0],
      ],
    ],
    [
      'a fan-out and its join',
      [
        ['plan', 0, 1],
        ['x', 1, 4],
        ['y', 1, 2],
        ['z', 1, 3],
        ['join', 5, 6],
      ],
      [
        [[], 0],
        [[0], 0],
        [[0], 0],
        [[0], 0],
        [[2, 3, 1], 1000],
      ],
    ],
    [
      'two chains side by side',
      [
        ['a', 0, 1],
        ['b', 0, 2],
        ['a2', 1, 5],
        ['b2', 2, 6],
      ],
      [
        [[], 0],
        [[], 0],
        [[0], 0],
        [[1], 0],
      ],
    ],
  ])('finds out who waited for whom: %s', (_, rows, expected) => {
    const window = new TrafficWindow();
    play(window, rows);
    expect(structure(window)).toEqual(expected);
  });

  it('tells how much of a prompt an earlier one of its workflow had', () => {
    const window = new TrafficWindow();
    const first = Array.from({ length: 20 }, (_, index) => `h${index}`);
    play(window, [['a', 0, 1]], { prefixHashes: first, promptTokens: 24 });
    play(window, [['b', 1, 2]], { prefixHashes: [...first, 'n0', 'n1', 'n2', 'n3'], promptTokens: 32 });
    play(window, [['c', 2, 3]], { prefixHashes: [...first.slice(0, 8), 'm0'], promptTokens: 9 });
    expect([...window.all()][0]!.stages.map(({ prefixOf, sharedTokens }) => [prefixOf, sharedTokens])).toEqual([
      [undefined, 0],
      [0, 24],
      [1, 8],
    ]);
  });

  it('forgets what has left the window, and keeps what is under way', () => {
    const window = new TrafficWindow({ windowMs: 60_000, idleMs: 10_000 });
    play(window, [['old', 0, 1]], { workflowId: 'old', finalStage: true });
    play(window, [['long', 1, undefined]], { workflowId: 'long' });
    play(window, [['idle', 2, 3]], { workflowId: 'idle' });
    play(window, [['new', 80, 81]], { workflowId: 'new', finalStage: true });
    window.prune(90_000);
    expect([...window.all()].map(({ workflowId }) => workflowId)).toEqual(['long', 'new']);
    expect(window.examplesOf('default').map(({ workflowId }) => workflowId)).toEqual(['old', 'new', 'idle']);
  });

  it('stays within its bounds, whatever comes', () => {
    const window = new TrafficWindow({ maxWorkflows: 10, maxTemplates: 3, examplesPerTemplate: 2 });
    for (let index = 0; index < 100; index++) {
      play(window, [[`s${index}`, index, index + 0.5]], {
        workflowId: `w${index}`,
        template: `t${index}`,
        finalStage: true,
      });
      expect(window.size).toBeLessThanOrEqual(20);
    }
    window.prune(100_000);
    expect(window.size).toBe(10);
    expect(window.examplesOf('unknown').length).toBeLessThanOrEqual(6);
  });
});

describe('outcomes of workflows', () => {
  it.each<[string, Parameters<typeof play>[1], Partial<Stage>, number, { ended: number; inTime: number }]>([
    ['in time', [['a', 0, 5]], { finalStage: true }, 6, { ended: 1, inTime: 1 }],
    ['late', [['a', 0, 31]], { finalStage: true }, 32, { ended: 1, inTime: 0 }],
    ['still under way', [['a', 0, undefined]], {}, 6, { ended: 0, inTime: 0 }],
    ['under way past its deadline', [['a', 0, undefined]], {}, 31, { ended: 1, inTime: 0 }],
    ['idle for long without a last call', [['a', 0, 1]], {}, 25, { ended: 1, inTime: 1 }],
  ])('%s', (_, stages, stage, nowSeconds, expected) => {
    const window = new TrafficWindow();
    play(window, stages, { workflowId: 'w', deadlineMs: 30_000, ...stage });
    window.prune(1_000 * nowSeconds);
    window.prune(1_000 * nowSeconds);
    expect(window.takeOutcomes()).toEqual(expected);
    expect(window.takeOutcomes()).toEqual({ ended: 0, inTime: 0 });
  });

  it('a failed one is not in time', () => {
    const window = new TrafficWindow();
    window.stageSubmitted(makeStage({ stageId: 'a', workflowId: 'w', deadlineMs: 30_000 }), makePrediction(), 0);
    window.stageEnded('a', undefined, 1_000);
    window.prune(2_000);
    expect(window.takeOutcomes()).toEqual({ ended: 1, inTime: 0 });
  });
});

describe('planReplay', () => {
  const window = new TrafficWindow({ windowMs: 60_000 });
  play(
    window,
    [
      ['a1', 0, 1],
      ['a2', 2, 3],
      ['a3', 3, 4],
    ],
    { workflowId: 'example' },
  );
  window.stageSubmitted(
    makeStage({ stageId: 'end', workflowId: 'example', finalStage: true, outputLimited: true }),
    makePrediction(),
    4_000,
  );
  window.stageEnded('end', completed(7), 5_000);
  play(
    window,
    [
      ['b1', 10, 12],
      ['b2', 15, undefined],
    ],
    { workflowId: 'open', deadlineMs: 40_000 },
  );
  const { workflows, horizonMs, counted } = planReplay(window, 20_000, LIMITS);
  const byId = new Map(workflows.map((workflow) => [workflow.workflowId, workflow]));

  it('goes on with what is under way as an example of its template did', () => {
    const open = byId.get('now:open')!;
    expect(open).toMatchObject({
      atMs: 0,
      deadlineMs: 20_000,
      counts: true,
      before: { ageMs: 10_000, startedStages: 2 },
    });
    expect(open.before.attainedServiceMs).toBe(2_000);
    expect(open.stages.map(({ state, waitFor, delayMs }) => [state, waitFor, delayMs])).toEqual([
      ['done', [], 0],
      ['running', [], 0],
      ['waiting', [1], 0],
      ['waiting', [2], 0],
    ]);
    expect(open.stages[1]!.outputTokens).toBe(10);
    expect(open.stages[3]!.outputTokens).toBe(7);
    expect(open.stages.map(({ outputLimited }) => outputLimited)).toEqual([false, false, false, true]);
  });

  it('lets the arrivals of the window come twice, of which the first counts', () => {
    const times = [...byId].filter(([id]) => !id.startsWith('now')).map(([id, { atMs, counts }]) => [id, atMs, counts]);
    expect(times).toEqual([
      ['again:example', 0, true],
      ['again:open', 10_000, true],
      ['after:example', 20_000, false],
      ['after:open', 30_000, false],
    ]);
    expect(byId.get('again:open')!.stages.map(({ outputTokens }) => outputTokens)).toEqual([100, 100, 100, 7]);
    expect([counted, horizonMs]).toEqual([3, 60_000]);
  });

  it('does not count who is late already', () => {
    const late = new TrafficWindow({ windowMs: 60_000 });
    play(late, [['s', 10, undefined]], { workflowId: 'late', deadlineMs: 20_000 });
    const countsAt = (nowMs: number) =>
      planReplay(late, nowMs, LIMITS).workflows.map(({ workflowId, counts }) => [workflowId, counts]);
    expect(countsAt(20_000)).toEqual([
      ['now:late', true],
      ['again:late', true],
      ['after:late', false],
    ]);
    expect(countsAt(20_001)[0]).toEqual(['now:late', false]);
  });

  it('keeps workflows apart whatever clients call them', () => {
    const named = new TrafficWindow({ windowMs: 60_000 });
    for (const workflowId of ['x', 'x~1', 'again:x', 'now:x', 'after:again:x'])
      play(named, [[`s ${workflowId}`, 10, undefined]], { workflowId });
    const ids = planReplay(named, 20_000, LIMITS).workflows.map(({ workflowId }) => workflowId);
    expect(ids.length).toBe(15);
    expect(new Set(ids).size).toBe(15);
  });

  it('takes a shorter part of a window that holds too much', () => {
    const short = planReplay(window, 20_000, { ...LIMITS, maxStages: 4 });
    expect(short.workflows.map(({ workflowId }) => workflowId)).toEqual(['now:open', 'again:open', 'after:open']);
    expect(short.workflows[1]!.atMs).toBe(0);
  });
});

describe('thinning', () => {
  const engine = (model: string) => ({ model, gpuIndices: [0], kvPoolTokens: 9 });
  const node = (nodeId: string, models: string[], clusterId = 'c') =>
    ({ nodeId, clusterId, gpus: [], hostMemoryBytes: 1, engines: models.map(engine) }) as unknown as NodeSpec;
  const nodes = (count: number, models: string[], clusterId?: string) =>
    Array.from({ length: count }, (_, index) => node(`${models}${index}${clusterId}`, models, clusterId));

  it.each<[string, NodeSpec[], number[]]>([
    ['alike', nodes(6, ['a']), [1, 2, 3, 6]],
    ['of two kinds', [...nodes(4, ['a']), ...nodes(6, ['a', 'b'])], [1, 2]],
    ['of two clusters', [...nodes(4, ['a'], 'x'), ...nodes(4, ['a'], 'y')], [1, 2, 4]],
    ['with one of its kind', [...nodes(4, ['a']), ...nodes(1, ['b'])], [1]],
    ['none', [], [1]],
  ])('keeps the mix of nodes %s', (_, fleet, expected) => {
    expect(thinnings(fleet)).toEqual(expected);
    for (const k of thinnings(fleet)) expect(thinNodes(fleet, k).length).toBe(fleet.length / k);
  });

  it('takes one workflow in so many where there are too many stages', () => {
    const window = new TrafficWindow({ windowMs: 1e6 });
    for (let index = 0; index < 400; index++) {
      play(window, [[`s${index}`, index, index + 1]], { workflowId: `w${index}`, finalStage: true });
    }
    const plan = planReplay(window, 400_000, { maxStages: 250, thinnings: [1, 2, 4, 8], round: 0 });
    expect(plan.thinning).toBe(4);
    expect(plan.counted).toBeGreaterThan(60);
    expect(plan.counted).toBeLessThan(140);
  });
});

describe('prefix overlap', () => {
  it('lies on boundaries that double their step', () => {
    expect([0, 1, 16, 17, 24, 25, 32, 33].map(prefixBoundary)).toEqual([0, 1, 16, 18, 32, 36, 64, 72]);
  });

  it('ends at the first difference', () => {
    const hashes = ['a', 'b', 'c', 'd'];
    expect(
      [[], ['x'], ['a'], ['a', 'b', 'x'], hashes, [...hashes, 'e']].map((other) => sharedBoundaries(hashes, other)),
    ).toEqual([0, 0, 1, 2, 4, 4]);
  });
});
