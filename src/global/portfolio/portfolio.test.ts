import { describe, expect, it } from 'vitest';
import { completed, makePrediction, makeStage } from '../../../test/stage-fixture.js';
import { EDF } from '../order/edf.js';
import { FCFS } from '../order/fcfs.js';
import { SRTF } from '../order/srtf.js';
import { SRW } from '../order/srw.js';
import { Portfolio, type PortfolioConfig } from './portfolio.js';
import type { ReplayScore } from './replay.js';

/** All traffic of an evaluation is new since the one before. */
const SHORT = { traffic: { windowMs: 10_000 } };

/** A portfolio with enough traffic that waits for its turn. */
function busy(config: Partial<PortfolioConfig> = {}): Portfolio {
  const portfolio = new Portfolio({
    candidates: [EDF, SRTF, SRW, FCFS],
    prior: 'edf',
    intervalMs: 10_000,
    minWorkflows: 5,
    ...config,
  });
  traffic(portfolio, 0);
  return portfolio;
}

/** Ten one-stage workflows in a second, each of which waits 100 ms. */
function traffic(portfolio: Portfolio, fromMs: number): void {
  for (let index = 0; index < 10; index++) {
    const stageId = `s${fromMs}-${index}`;
    const atMs = fromMs + 100 * index;
    const stage = makeStage({ stageId, workflowId: `w${stageId}`, deadlineMs: atMs + 60_000, finalStage: true });
    portfolio.traffic.stageSubmitted(stage, makePrediction(), atMs);
    portfolio.traffic.stageStarted(stageId, atMs + 100);
    portfolio.traffic.stageEnded(stageId, completed(50), atMs + 1_100);
  }
}

const score = (candidate: string, attainment: number, gained = 0, lost = 0): ReplayScore => ({
  ...{ candidate, attainment, gained, lost },
});

/** Lets evaluations come due, one each 10 s, and answers them all alike; the names that serve after each. */
function evaluate(portfolio: Portfolio, scores: readonly ReplayScore[], times: number, fromMs = 0): string[] {
  return Array.from({ length: times }, (_, index) => {
    const nowMs = fromMs + 10_000 * (index + 1);
    traffic(portfolio, nowMs - 5_000);
    expect(portfolio.plan(nowMs)).toBeDefined();
    portfolio.scored({ scores, costMs: 10 }, nowMs);
    return portfolio.policy.name;
  });
}

describe('Portfolio', () => {
  it('begins with its prior, which must be a candidate', () => {
    expect(busy().policy.name).toBe('maestro:edf');
    expect(busy().policy.key).toBe(EDF.key);
    expect(() => busy({ prior: 'llf' })).toThrow(/prior llf/);
  });

  it.each<[string, ReplayScore, number, string[]]>([
    ['a clear lead, the second time', score('srtf', 0.9, 30, 16), 0.01, ['edf', 'srtf', 'srtf']],
    ['a lead that is chance', score('srtf', 0.9, 3, 2), 0.01, ['edf', 'edf', 'edf']],
    ['a clear but small lead', score('srtf', 0.9, 9, 1), 0.9, ['edf', 'edf', 'edf']],
    ['a loss', score('srtf', 0.5, 0, 60), 0.01, ['edf', 'edf', 'edf']],
  ])('%s', (_, challenger, lead, served) => {
    const portfolio = busy({ lead, ...SHORT });
    portfolio.plan(0);
    const names = evaluate(portfolio, [score('edf', 0.8), challenger], 3);
    expect(names).toEqual(served.map((name) => `maestro:${name}`));
  });

  it('stays while what replays promise does not come true', () => {
    const portfolio = busy();
    portfolio.plan(0);
    // All of the traffic is in time, the replays say that hardly any is.
    const scores = [score('edf', 0.1), score('srtf', 0.4, 60, 0)];
    const served = evaluate(portfolio, [score('edf', 0.1)], 2);
    expect(evaluate(portfolio, scores, 2, 20_000)).toEqual([...served.slice(1), 'maestro:edf']);
    expect(portfolio.log().at(-1)).toMatchObject({ observed: 1, reason: expect.stringMatching(/wrong by \d+/) });
  });

  it('changes nothing on a single replay, however clear, nor on one that the replays before it do not agree with', () => {
    const portfolio = busy(SHORT);
    portfolio.plan(0);
    const clear = [score('edf', 0.9), score('srtf', 1, 60, 0)];
    const reverse = [score('edf', 1), score('srtf', 0.9, 0, 10)];
    expect(evaluate(portfolio, clear, 1)).toEqual(['maestro:edf']);
    expect(evaluate(portfolio, reverse, 1, 10_000)).toEqual(['maestro:edf']);
    expect(evaluate(portfolio, clear, 1, 20_000)).toEqual(['maestro:srtf']);
    const other = busy(SHORT);
    other.plan(0);
    evaluate(other, reverse, 1);
    expect(evaluate(other, clear, 2, 10_000)).toEqual(['maestro:edf', 'maestro:srtf']);
  });

  it('believes a single replay that is clear enough, where one may be believed', () => {
    const servedAfter = (gained: number, lost: number): string | undefined => {
      const portfolio = busy({ ...SHORT, clearAlone: 4 });
      portfolio.plan(0);
      return evaluate(portfolio, [score('edf', 0.8), score('srtf', 0.9, gained, lost)], 1)[0];
    };
    expect(servedAfter(16, 0)).toBe('maestro:srtf');
    expect(servedAfter(15, 0)).toBe('maestro:edf');
    expect(servedAfter(36, 9)).toBe('maestro:srtf');
    expect(servedAfter(36, 10)).toBe('maestro:edf');
  });

  it('takes the best of several that lead', () => {
    const portfolio = busy();
    portfolio.plan(0);
    const scores = [score('edf', 0.5), score('srtf', 0.8, 30, 0), score('srw', 0.9, 40, 0)];
    expect(evaluate(portfolio, scores, 2).at(-1)).toBe('maestro:srw');
    expect(portfolio.stats()).toMatchObject({ chosen: 'srw', switches: 1, evaluations: 2 });
  });

  it('does not go back on what chance brings, nor at once on what is clear', () => {
    const portfolio = busy(SHORT);
    portfolio.plan(0);
    evaluate(portfolio, [score('edf', 0.5), score('srtf', 0.9, 40, 0)], 2);
    expect(evaluate(portfolio, [score('srtf', 0.8), score('edf', 0.83, 4, 1)], 3, 20_000)).toEqual(
      Array(3).fill('maestro:srtf'),
    );
    // What brought it there is remembered, so that to go back takes a little more.
    const back = evaluate(portfolio, [score('srtf', 0.8), score('edf', 0.9, 40, 0)], 3, 50_000);
    expect(back).toEqual(['maestro:srtf', 'maestro:srtf', 'maestro:edf']);
  });

  it('tries the incumbent, then by turns the best of the others and those that have not been tried for longest', () => {
    const portfolio = busy();
    portfolio.plan(0);
    const tried = [1, 2, 3].map((turn) => {
      traffic(portfolio, 10_000 * turn - 5_000);
      const { candidates } = portfolio.plan(10_000 * turn)!;
      const first = candidates.slice(0, 3);
      portfolio.scored(
        { scores: first.map((name) => score(name, 0.8, name === 'srw' ? 2 : 0)), costMs: 1 },
        10_000 * turn,
      );
      return candidates;
    });
    expect(tried).toEqual([
      ['edf', 'srtf', 'srw', 'fcfs'],
      ['edf', 'fcfs', 'srw', 'srtf'],
      ['edf', 'srw', 'srtf', 'fcfs'],
    ]);
  });

  it('replays as much as its share of a core pays for, and learns what that is', () => {
    const portfolio = busy({ cpuShare: 0.01, minStages: 12, maxStages: 16 });
    portfolio.plan(0);
    const asked = [0.1, 10_000, 0.1].map((costMs, turn) => {
      const nowMs = 1_200_000 * (turn + 1);
      traffic(portfolio, nowMs - 5_000);
      const { budgetMs, workflows } = portfolio.plan(nowMs)!;
      expect(budgetMs).toBe(1_200);
      portfolio.scored({ scores: [score('edf', 0.8)], costMs }, nowMs);
      return workflows.length;
    });
    expect(asked).toEqual([16, 16, 12]);
  });

  it('counts workflows once that several replays have seen', () => {
    const shown = [score('edf', 0.8), score('srtf', 0.9, 9, 3)];
    const portfolio = busy();
    portfolio.plan(0);
    // Seen again and again, six of twelve are not clear; as many others each time are.
    expect(evaluate(portfolio, shown, 3).at(-1)).toBe('maestro:edf');
    const fresh = busy(SHORT);
    fresh.plan(0);
    expect(evaluate(fresh, shown, 3).at(-1)).toBe('maestro:srtf');
  });

  it('asks where calls are late though none has waited for a turn', () => {
    const portfolio = new Portfolio({ candidates: [EDF, FCFS], prior: 'edf', intervalMs: 10_000, minWorkflows: 5 });
    portfolio.plan(0);
    for (let index = 0; index < 50; index++) {
      const stageId = `c${index}`;
      const stage = makeStage({ stageId, workflowId: stageId, deadlineMs: index < 2 ? 500 : 5_000, finalStage: true });
      portfolio.traffic.stageSubmitted(stage, makePrediction(), 1);
      portfolio.traffic.stageStarted(stageId, 1);
      portfolio.traffic.stageEnded(stageId, completed(50), 1_000);
    }
    expect(portfolio.plan(10_000)).toBeDefined();
  });

  it('asks nothing while nothing waits or is late, little comes, or an answer is out', () => {
    const quiet = busy({ minTroubledShare: 0.5 });
    quiet.plan(0);
    for (let index = 0; index < 50; index++) {
      quiet.traffic.stageSubmitted(makeStage({ stageId: `c${index}`, workflowId: `c${index}` }), makePrediction(), 1);
      quiet.traffic.stageStarted(`c${index}`, 1);
    }
    expect(quiet.plan(10_000)).toBeUndefined();
    const few = busy({ minWorkflows: 1_000 });
    few.plan(0);
    expect(few.plan(10_000)).toBeUndefined();
    const waiting = busy();
    waiting.plan(0);
    expect(waiting.plan(10_000)).toBeDefined();
    traffic(waiting, 15_000);
    expect(waiting.plan(20_000)).toBeUndefined();
    waiting.failed();
    expect(waiting.plan(30_000)).toBeDefined();
  });

  it.each([
    [100, 20_000],
    [1_000, 30_000],
    [5_000, 110_000],
  ])('keeps to its share of a core: after %i ms of replays the next comes at %i ms', (costMs, nextMs) => {
    const portfolio = busy({ cpuShare: 0.05 });
    portfolio.plan(0);
    portfolio.plan(10_000);
    portfolio.scored({ scores: [score('edf', 0.8)], costMs }, 10_000);
    traffic(portfolio, 15_000);
    expect(portfolio.plan(nextMs - 1)).toBeUndefined();
    expect(portfolio.plan(nextMs)).toBeDefined();
    expect(portfolio.stats().spentMs).toBe(costMs);
  });

  it('logs what it saw and why it did what it did', () => {
    const portfolio = busy();
    portfolio.plan(0);
    const scores = [score('edf', 0.8), score('srtf', 0.9, 30, 10)];
    evaluate(portfolio, scores, 2);
    expect(portfolio.log()).toMatchObject([
      { atMs: 10_000, incumbent: 'edf', chosen: 'edf', reason: 'nothing leads clearly', scores, costMs: 10 },
      {
        atMs: 20_000,
        incumbent: 'edf',
        chosen: 'srtf',
        reason: expect.stringMatching(/^srtf leads by \d+\.\d points, \d+ workflows gained and \d+ lost$/),
      },
    ]);
    expect(portfolio.log()[0]!.workflows).toBe(20);
    evaluate(portfolio, [score('srtf', 0.8)], 80, 20_000);
    expect(portfolio.log().length).toBe(64);
  });

  it('begins anew where the fleet has changed: what was asked is not awaited, what was seen counts for nothing, and the order stays', () => {
    const portfolio = busy(SHORT);
    portfolio.plan(0);
    const leads = [score('edf', 0.5), score('srtf', 0.9, 8, 0)];
    expect(evaluate(portfolio, leads, 1)).toEqual(['maestro:edf']);
    traffic(portfolio, 15_000);
    expect(portfolio.plan(20_000)).toMatchObject({ thinning: 1 });
    portfolio.fleetChanged({ thinnings: [1], clearAlone: Infinity });
    expect(portfolio.scored({ scores: leads, costMs: 10 }, 20_001)).toBeUndefined();
    // With what it had shown of the former fleet, this would be the second that agrees.
    expect(evaluate(portfolio, leads, 1, 20_000)).toEqual(['maestro:edf']);
    expect(evaluate(portfolio, leads, 1, 30_000)).toEqual(['maestro:srtf']);
  });
});
