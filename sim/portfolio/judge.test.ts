import { describe, expect, it } from 'vitest';
import { startReplayThread } from '../../src/cli/replay-thread.js';
import { FCFS } from '../../src/global/order/fcfs.js';
import { PORTFOLIO_PRIOR } from '../../src/global/order/maestro.js';
import { SRTF } from '../../src/global/order/srtf.js';
import { PORTFOLIO_CANDIDATES } from '../../src/global/portfolio/candidates.js';
import type { ReplayRequest, ReplayStage, ReplayWorkflow } from '../../src/global/portfolio/replay.js';
import { randomWorkflows, SMALL_FLEET, testScenario } from '../../test/sim-scenario.js';
import { makePrediction } from '../../test/stage-fixture.js';
import { runSimulation } from '../simulation.js';
import { portfolioController } from './controller.js';
import { replayJudge } from './judge.js';
import { replayArrivals } from './replay-arrivals.js';

const fleet = testScenario(SMALL_FLEET, []);

const stage = (overrides: Partial<ReplayStage> = {}): ReplayStage => ({
  ...{ role: 'r', model: 'llama-3.1-8b', promptTokens: 512, maxTokens: 4_000, outputTokens: 200, delayMs: 0 },
  ...{ outputLimited: false, stream: true },
  ...{ waitFor: [], prefixOf: undefined, sharedTokens: 0, state: 'waiting' as const },
  prediction: makePrediction({ serviceMs: 2_000 }),
  ...overrides,
});

const workflow = (workflowId: string, overrides: Partial<ReplayWorkflow> = {}): ReplayWorkflow => ({
  ...{ workflowId, tenant: 't', template: 'x', sloClass: 'interactive', atMs: 0, deadlineMs: 60_000 },
  ...{ counts: true, before: { ageMs: 0, startedStages: 0, attainedServiceMs: 0 }, stages: [stage()] },
  ...overrides,
});

/** Long calls first, then short ones that only an ordering by length gets done in time. */
const request = (candidates: string[], budgetMs = 1e9): ReplayRequest => ({
  workflows: [
    ...Array.from({ length: 40 }, (_, index) =>
      workflow(`long${index}`, {
        stages: [stage({ outputTokens: 3_000, prediction: makePrediction({ serviceMs: 30_000 }) })],
        deadlineMs: 500_000,
      }),
    ),
    ...Array.from({ length: 40 }, (_, index) => workflow(`short${index}`)),
  ],
  ...{ horizonMs: 600_000, thinning: 1 },
  candidates,
  budgetMs,
});

describe('the replay judge', () => {
  const judge = replayJudge({ ...fleet, nodes: [oneSmallNode()] }, [FCFS, SRTF, ...PORTFOLIO_CANDIDATES]);

  it('finds the ordering that keeps more in time, and tells whom it gained', () => {
    const [fcfs, srtf] = judge.evaluate(request(['fcfs', 'srtf'])).scores;
    expect(srtf!.attainment).toBeGreaterThan(fcfs!.attainment + 0.1);
    expect(srtf!.gained - srtf!.lost).toBe(Math.round(80 * (srtf!.attainment - fcfs!.attainment)));
    expect([fcfs!.gained, fcfs!.lost]).toEqual([0, 0]);
  });

  it('turns away what the queue has no room for, of a part of the fleet in its share', () => {
    const attainment = (maxCount: number, thinning: number) => {
      const narrow = replayJudge({ ...fleet, nodes: [oneSmallNode()], queue: { maxCount } }, [FCFS]);
      const workflows = Array.from({ length: 80 }, (_, index) => workflow(`w${index}`, { deadlineMs: 1e6 }));
      return narrow.evaluate({ ...request(['fcfs']), workflows, thinning }).scores[0]!.attainment;
    };
    expect(attainment(80, 1)).toBe(1);
    expect(attainment(20, 1)).toBeLessThan(0.6);
    expect(attainment(40, 2)).toBe(attainment(20, 1));
  });

  it('turns away what would wait longer than it may', () => {
    const attainment = (timeoutMs: number) => {
      const queue = { interactiveTimeoutMs: timeoutMs, batchTimeoutMs: timeoutMs };
      const impatient = replayJudge({ ...fleet, nodes: [oneSmallNode()], queue }, [FCFS]);
      const workflows = Array.from({ length: 80 }, (_, index) => workflow(`w${index}`, { deadlineMs: 1e6 }));
      return impatient.evaluate({ ...request(['fcfs']), workflows }).scores[0]!.attainment;
    };
    expect(attainment(1e6)).toBe(1);
    expect(attainment(1_000)).toBeLessThan(0.6);
  });

  it('gives the same answer again, passes over unknown names and stops when the budget is spent', () => {
    expect(judge.evaluate(request(['fcfs', 'srtf']))).toEqual(judge.evaluate(request(['fcfs', 'no-such', 'srtf'])));
    const { scores, costMs } = judge.evaluate(request(['fcfs', 'srtf', 'kv-edf', 'edf'], 1));
    expect(scores.map(({ candidate }) => candidate)).toEqual(['fcfs', 'srtf']);
    expect(costMs).toBeGreaterThan(0);
  });

  it('judges those that count, and holds late ones for late', () => {
    const answer = judge.evaluate({
      ...request(['fcfs']),
      workflows: [
        workflow('good'),
        workflow('late', { deadlineMs: -5_000, before: { ageMs: 65_000, startedStages: 1, attainedServiceMs: 9 } }),
        workflow('other', { deadlineMs: -1, counts: false }),
      ],
    });
    expect(answer.scores[0]).toMatchObject({ attainment: 0.5 });
  });

  it('counts as lost what makes up the work that is left behind, though all is in time within the replay', () => {
    const fewer = { ...FCFS, name: 'few', seatShare: 0.01 };
    const judge = replayJudge({ ...fleet, nodes: [oneSmallNode()] }, [FCFS, fewer]);
    const workflows = Array.from({ length: 100 }, (_, index) =>
      workflow(`w${index}`, { atMs: 500 * index, deadlineMs: 500_000 }),
    );
    const [all, few] = judge.evaluate({ ...request(['fcfs', 'few']), workflows }).scores;
    expect([all!.attainment, few!.attainment]).toEqual([1, 1]);
    expect([few!.gained, few!.lost > 20]).toEqual([0, true]);
    const [, again] = judge.evaluate({ ...request(['few', 'fcfs']), workflows }).scores;
    expect([again!.gained, again!.lost]).toEqual([0, 0]);
  });

  it('begins with what the scheduler that asks has learnt of its queues', () => {
    const judge = replayJudge({ ...fleet, nodes: [oneSmallNode()] }, [PORTFOLIO_PRIOR]);
    const workflows = Array.from({ length: 100 }, (_, index) =>
      workflow(`w${index}`, { atMs: 10 * index, deadlineMs: 20_000 }),
    );
    const { model } = workflows[0]!.stages[0]!;
    const known = { calls: 100, singleShare: 1, workflows: 100, allowedMs: 10, seatShare: 1 / 16 };
    const asked = { ...request([PORTFOLIO_PRIOR.name]), workflows };
    const [anew, knowing] = [asked, { ...asked, knownQueues: { [model]: known } }].map(
      (each) => judge.evaluate(each).scores[0]!.attainment,
    );
    // On two of its eight seats less gets done.
    expect(knowing).toBeLessThan(anew!);
  });

  it('answers from its thread as it does at home', async () => {
    const thread = startReplayThread({ ...fleet, nodes: [oneSmallNode()] })!;
    const asked = request(['kv-edf', 'fcfs']);
    const { scores } = await thread.evaluate(asked);
    expect(scores).toEqual(judge.evaluate(asked).scores);
    await thread.close();
  }, 30_000);

  it('is not there for engines of which nothing is known', () => {
    const { llm: _, ...engine } = oneSmallNode().engines[0]!;
    expect(startReplayThread({ ...fleet, nodes: [{ ...oneSmallNode(), engines: [engine] }] })).toBeUndefined();
  });
});

describe('replayed prompts', () => {
  it('share the blocks that the recorded ones shared', () => {
    const chain = [
      stage({ promptTokens: 1_600, state: 'done' }),
      stage({ promptTokens: 3_200, waitFor: [], prefixOf: 0, sharedTokens: 1_600 }),
      stage({ promptTokens: 3_200, waitFor: [1], prefixOf: 1, sharedTokens: 800 }),
    ];
    const { arrivals, beginMs } = replayArrivals([workflow('a', { stages: chain })], 1e6);
    const [warm, rest] = arrivals.map((arrival) => arrival.workflow.rows.map((row) => row.hash_runs!));
    expect(warm).toEqual([[[0, 100]]].map((runs) => runs.map(([first, count]) => [first, count])));
    expect(rest!.map((runs) => runs[0])).toEqual([
      [0, 100],
      [0, 50],
    ]);
    expect(arrivals.map(({ atMs }) => atMs)).toEqual([0, beginMs]);
    const ids = rest!.flatMap((runs) => runs.slice(1));
    expect(ids.map(([, count]) => count)).toEqual([100, 150]);
    expect(new Set(ids.map(([first]) => first)).size).toBe(2);
  });
});

describe('the self-tuning policy in a run', () => {
  const workflows = randomWorkflows(20, 5);

  it('evaluates, and gives the same run again', () => {
    const run = () => {
      const scenario = testScenario(SMALL_FLEET, workflows, { detail: 'summary' });
      const config = {
        ...{ candidates: [FCFS, SRTF], prior: 'fcfs', intervalMs: 5_000, minWorkflows: 5, minTroubledShare: 0 },
        maxStages: 200,
      };
      const controller = portfolioController(scenario, config);
      const result = runSimulation({ ...scenario, controller });
      return { result, log: controller.portfolio.log() };
    };
    const { result, log } = run();
    expect(log.length).toBeGreaterThan(1);
    expect(log.every(({ scores }) => scores.length === 2)).toBe(true);
    expect(result.counters.left).toBe(0);
    expect(run()).toEqual({ result, log });
  });
});

/** The second node of the small fleet: one engine of eight seats that never sleeps. */
function oneSmallNode() {
  const node = fleet.nodes.find(({ nodeId }) => nodeId === 'b')!;
  return { ...node, engines: node.engines.map((engine) => ({ ...engine, sleepCapable: false })) };
}
