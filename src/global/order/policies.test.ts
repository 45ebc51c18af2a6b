import { describe, expect, it } from 'vitest';
import { makePrediction, makeStage } from '../../../test/stage-fixture.js';
import type { Stage } from '../../model/stage.js';
import { PORTFOLIO_CANDIDATES } from '../portfolio/candidates.js';
import { WorkflowTracker } from '../tracker.js';
import { EDF } from './edf.js';
import { EDF_SJF } from './edf-sjf.js';
import { EDF_SJF_BATCH_WORK } from './edf-sjf-batch-work.js';
import { EDF_SJF_LATE_LAST } from './late-last.js';
import { LOAD_HYBRID } from './load-hybrid.js';
import { FLOODED, LoadSteps } from './load-steps.js';
import { MAESTRO, PORTFOLIO_PRIOR } from './maestro.js';
import { ORACLE_EDF, ORACLE_SRTF, ORACLE_SRW } from './oracle.js';
import { type OrderInput, seatsWithin } from './policy.js';
import { QOSERVE } from './qoserve.js';
import { findOrderingPolicy, ORDERING_POLICIES, ORDERING_POLICY_NAMES } from './registry.js';
import { RELEGATION_OFFSET_MS } from './relegation.js';

interface Case {
  stage?: Partial<Stage>;
  serviceMs?: number;
  remainingMs?: number;
  attainedMs?: number;
  enqueuedAtMs?: number;
  nowMs?: number;
  loadStep?: number;
  started?: boolean;
  kind?: 'interactive' | 'batch';
  takesTurns?: boolean;
}

function input(given: Case = {}): OrderInput {
  const stage = makeStage(given.stage);
  const tracker = new WorkflowTracker();
  tracker.begin(stage, stage.arrivalMs);
  const workflow = tracker.workflow(stage.workflowId)!;
  workflow.attainedServiceMs = given.attainedMs ?? 0;
  workflow.dispatchedStages = given.started ? 1 : 0;
  return {
    stage,
    kind: given.kind ?? 'interactive',
    takesTurns: given.takesTurns ?? false,
    prediction: makePrediction({ serviceMs: given.serviceMs ?? 1000, remainingMs: given.remainingMs ?? 0 }),
    workflow,
    enqueuedAtMs: given.enqueuedAtMs ?? 0,
    nowMs: given.nowMs ?? 0,
    loadStep: given.loadStep ?? 0,
  };
}

/** For each policy, a stage that goes first and one that goes second. */
const CASES: [string, Case, Case][] = [
  ['fcfs', { enqueuedAtMs: 10 }, { enqueuedAtMs: 20, serviceMs: 1 }],
  ['fcfs-workflow', { stage: { arrivalMs: 5 }, enqueuedAtMs: 90 }, { stage: { arrivalMs: 6 }, enqueuedAtMs: 10 }],
  ['edf', { stage: { deadlineMs: 100 }, serviceMs: 9e6 }, { stage: { deadlineMs: 101 }, serviceMs: 1 }],
  ['llf', { stage: { deadlineMs: 500 }, remainingMs: 450 }, { stage: { deadlineMs: 100 }, serviceMs: 10 }],
  ['sjf', { serviceMs: 10, remainingMs: 9e6 }, { serviceMs: 11 }],
  ['srtf', { serviceMs: 500, remainingMs: 100 }, { serviceMs: 10, remainingMs: 700 }],
  ['plas', { attainedMs: 10, serviceMs: 9e6 }, { attainedMs: 11, serviceMs: 1 }],
  ['load-hybrid', { stage: { deadlineMs: 100 }, remainingMs: 9000 }, { stage: { deadlineMs: 101 } }],
  [
    'maestro',
    { stage: { deadlineMs: 10_000 }, loadStep: 2 },
    { stage: { deadlineMs: 9_000 }, serviceMs: 1_100, loadStep: 2 },
  ],
  [
    'edf-sjf',
    { stage: { deadlineMs: 10_000 }, loadStep: 2 },
    { stage: { deadlineMs: 9_000 }, serviceMs: 1_100, loadStep: 2 },
  ],
  ['edf-late-last', { stage: { deadlineMs: 101 }, nowMs: 100 }, { stage: { deadlineMs: 99 }, nowMs: 100 }],
  ['sjf-late-last', { serviceMs: 9e6 }, { stage: { deadlineMs: 99 }, nowMs: 100, serviceMs: 1 }],
  ['plas-late-last', { attainedMs: 9e6 }, { stage: { deadlineMs: 99 }, nowMs: 100, attainedMs: 1 }],
  ['edf-sjf-late-last', { stage: { deadlineMs: 9e6 } }, { stage: { deadlineMs: 99 }, nowMs: 100, serviceMs: 1 }],
  [
    'edf-sjf-batch-work',
    { stage: { deadlineMs: 10_000 }, loadStep: 2 },
    { stage: { deadlineMs: 9_000 }, serviceMs: 1_100, loadStep: 2 },
  ],
  ['srw', { stage: { promptTokens: 100 }, remainingMs: 1000 }, { stage: { promptTokens: 5000 } }],
  ['wfq', { stage: { arrivalMs: 0 }, remainingMs: 500 }, { stage: { arrivalMs: 100 }, remainingMs: 500 }],
  ['hybrid', { stage: { deadlineMs: 10_000 } }, { stage: { deadlineMs: 9_000 }, remainingMs: 5_000 }],
  ['kairos-like', { remainingMs: 0, stage: { arrivalMs: 90 } }, { remainingMs: 9_000, stage: { arrivalMs: 5 } }],
  ['qoserve-like', { stage: { deadlineMs: 9_000 } }, { stage: { deadlineMs: 100 }, remainingMs: 5_000 }],
  [
    'edf-relegation',
    { stage: { deadlineMs: 90_000 }, loadStep: 1 },
    { stage: { deadlineMs: 1_000 }, remainingMs: 5_000, loadStep: 1, started: true },
  ],
];

describe('ordering policies', () => {
  it('are all in the table of this test, under unique names', () => {
    const plain = ORDERING_POLICY_NAMES.filter((name) => !name.startsWith('kv-') && !name.endsWith('-seats'));
    expect(CASES.map(([name]) => name).sort()).toEqual([...plain].sort());
    expect(new Set(ORDERING_POLICY_NAMES).size).toBe(ORDERING_POLICIES.length);
    expect(findOrderingPolicy('no-such-policy')).toBeUndefined();
  });

  it.each(CASES)('%s puts the right stage first', (name, first, second) => {
    const policy = findOrderingPolicy(name)!;
    expect(policy.key(input(first))).toBeLessThan(policy.key(input(second)));
  });

  it('keep their keys until the moment they announce', () => {
    for (const policy of ORDERING_POLICIES) {
      for (const loadStep of [0, 2]) {
        const at = (nowMs: number) =>
          input({ nowMs, loadStep, enqueuedAtMs: 0, stage: { deadlineMs: 40_000 }, remainingMs: 25_000 });
        for (let nowMs = 0; nowMs < 60_000; nowMs += 500) {
          const changesAtMs = policy.changesAtMs?.(at(nowMs)) ?? Number.POSITIVE_INFINITY;
          expect(changesAtMs).toBeGreaterThan(nowMs);
          if (changesAtMs > nowMs + 500) expect(policy.key(at(nowMs + 499))).toBe(policy.key(at(nowMs)));
        }
      }
    }
  });

  it('that say so ignore the remaining work', () => {
    const ignoring = ORDERING_POLICIES.filter((policy) => policy.ignoresRemainingWork === true);
    expect(ignoring.map(({ name }) => name)).toContain('fcfs');
    for (const policy of ignoring) {
      // What is left of workflows tells whether a queue is a flood of single calls.
      expect([policy.name, policy.usesLoad, policy.fitsSeats ?? false]).toEqual([policy.name, false, false]);
      for (const [, given] of CASES) {
        const [one, other] = [5, 70_000].map((remainingMs) => input({ ...given, loadStep: 2, remainingMs }));
        expect(policy.key(one!)).toBe(policy.key(other!));
        expect(policy.changesAtMs?.(one!)).toBe(policy.changesAtMs?.(other!));
      }
    }
    // It may take on any ordering.
    expect(MAESTRO.ignoresRemainingWork ?? false).toBe(false);
  });
});

describe('admission by KV memory', () => {
  it('keeps the order of the policy that it is put on', () => {
    const names = ORDERING_POLICY_NAMES.filter((name) => name.startsWith('kv-'));
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) {
      const [policy, plain] = [findOrderingPolicy(name)!, findOrderingPolicy(name.slice(3))!];
      expect([policy.kvShare, plain.kvShare]).toEqual([0.6, undefined]);
      for (const [, first, second] of CASES) {
        expect(policy.key(input(first))).toBe(plain.key(input(first)));
        expect(policy.key(input(second))).toBe(plain.key(input(second)));
      }
    }
  });
});

describe('fewer seats', () => {
  it('keep the order of the policy that they are put on', () => {
    const names = ORDERING_POLICY_NAMES.filter((name) => name.endsWith('-seats'));
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) {
      const [, plainName, share] = /^(.*)-(half|quarter)-seats$/.exec(name)!;
      const [policy, plain] = [findOrderingPolicy(name)!, findOrderingPolicy(plainName!)!];
      expect([policy.seatShare, plain.seatShare]).toEqual([share === 'half' ? 0.5 : 0.25, undefined]);
      expect(policy.fitsSeats).toBe(false);
      for (const [, first, second] of CASES) {
        expect(policy.key(input(first))).toBe(plain.key(input(first)));
        expect(policy.key(input(second))).toBe(plain.key(input(second)));
      }
    }
  });
});

describe('load-hybrid', () => {
  const long: Case = { stage: { deadlineMs: 50_000 }, remainingMs: 20_000 };
  const short: Case = { stage: { deadlineMs: 60_000 }, remainingMs: 0 };

  it('is EDF without a queue and prefers short remaining work under load', () => {
    expect(LOAD_HYBRID.key(input({ ...long, loadStep: 0 }))).toBe(50_000);
    expect(LOAD_HYBRID.key(input({ ...long, loadStep: 0 }))).toBeLessThan(
      LOAD_HYBRID.key(input({ ...short, loadStep: 0 })),
    );
    expect(LOAD_HYBRID.key(input({ ...long, loadStep: 2 }))).toBeGreaterThan(
      LOAD_HYBRID.key(input({ ...short, loadStep: 2 })),
    );
  });

  const hopeless: Case = { stage: { deadlineMs: 30_000 }, serviceMs: 10_000, remainingMs: 30_000, nowMs: 3_000 };
  const RELEGATIONS: [string, Case, boolean][] = [
    ['hopeless, long queue, not started', { ...hopeless, loadStep: 2 }, true],
    ['hopeless, but its workflow has started', { ...hopeless, loadStep: 2, started: true }, false],
    ['hopeless, but the queue is short', { ...hopeless, loadStep: 1 }, false],
    ['late only by the full estimate', { ...hopeless, loadStep: 2, nowMs: 1_000 }, false],
  ];
  it.each(RELEGATIONS)('relegation: %s', (_name, given, relegated) => {
    expect(LOAD_HYBRID.key(input(given)) > RELEGATION_OFFSET_MS).toBe(relegated);
  });

  it('boosts a stage that waits, within bounds', () => {
    const key = (nowMs: number) => LOAD_HYBRID.key(input({ ...short, nowMs }));
    expect([key(0), key(10_000), key(30_000), key(3_000_000)]).toEqual([60_000, 59_000, 57_000, 57_000]);
  });

  it('lets a valuable workflow go before an equal one', () => {
    const key = (weight: number) => LOAD_HYBRID.key(input({ stage: { weight }, remainingMs: 9_000, loadStep: 1 }));
    expect(key(2)).toBeLessThan(key(1));
  });
});

describe('edf-sjf', () => {
  const weighs = (loadStep: number): number => {
    const [none, call] = [0, 1_000].map((serviceMs) => EDF_SJF.key(input({ serviceMs, loadStep })));
    return (call! - none!) / 1_000;
  };

  it('weighs the call the more the longer the queue is', () => {
    expect([0, 1, 2, 3, 4, FLOODED].map(weighs)).toEqual([2, 4, 16, 16, 16, 1000]);
    // A scheduler gives waiting stages new keys at a new step only for policies that say so.
    expect(EDF_SJF.usesLoad && EDF_SJF_LATE_LAST.usesLoad).toBe(true);
  });
});

describe('edf-sjf-batch-work', () => {
  const late = { stage: { deadlineMs: 5_000 }, nowMs: 6_000 };
  const hopeless = { stage: { deadlineMs: 5_000 }, serviceMs: 10, remainingMs: 9_000 };

  it('orders interactive stages by deadline and call, and gives none up that could be in time', () => {
    for (const given of [{}, late, hopeless, { serviceMs: 70, loadStep: 3 }])
      expect(EDF_SJF_BATCH_WORK.key(input(given))).toBe(EDF_SJF_LATE_LAST.key(input(given)));
    expect(EDF_SJF_BATCH_WORK.key(input(hopeless))).toBeLessThan(RELEGATION_OFFSET_MS);
  });

  it('orders batch stages by deadline and all that is left, and gives up at once who cannot be in time', () => {
    const batch = (given: Case) => input({ ...given, kind: 'batch' });
    for (const given of [{}, late, hopeless, { serviceMs: 70, loadStep: 3 }]) {
      expect(EDF_SJF_BATCH_WORK.key(batch(given))).toBe(QOSERVE.key(batch(given)));
      const shared = batch({ ...given, takesTurns: true });
      const earlierMs = QOSERVE.key(shared) - EDF_SJF_BATCH_WORK.key(shared);
      expect(earlierMs).toBeCloseTo((shared.workflow.deadlineMs - shared.workflow.arrivalMs) / 6, 3);
    }
    expect(EDF_SJF_BATCH_WORK.key(batch(hopeless))).toBeGreaterThan(RELEGATION_OFFSET_MS);
  });

  it('keeps to the shortest first in a flood, for either kind, on the seats that fit', () => {
    for (const kind of ['interactive', 'batch'] as const) {
      const given = { ...hopeless, kind, loadStep: FLOODED };
      expect(EDF_SJF_BATCH_WORK.key(input(given))).toBe(EDF_SJF_LATE_LAST.key(input(given)));
    }
    expect([PORTFOLIO_PRIOR, MAESTRO].map((policy) => seatsWithin(policy, 40, 0.25))).toEqual([10, 10]);
    expect([seatsWithin(EDF, 40, 0.25), seatsWithin(PORTFOLIO_PRIOR, 40, 0.01)]).toEqual([40, 2]);
  });

  it('places a batch stage among interactive ones, where models take turns, as if it were due when five sixths of its time are over', () => {
    const batch = input({ stage: { deadlineMs: 300_000 }, kind: 'batch', takesTurns: true });
    const interactive = (deadlineMs: number) => input({ stage: { deadlineMs }, serviceMs: 0 });
    expect(EDF_SJF_BATCH_WORK.key(batch)).toBeLessThan(EDF_SJF_BATCH_WORK.key(interactive(251_000)));
    expect(EDF_SJF_BATCH_WORK.key(batch)).toBeGreaterThan(EDF_SJF_BATCH_WORK.key(interactive(249_000)));
  });
});

describe('maestro', () => {
  it('orders as its prior does until it is tuned', () => {
    for (const started of [false, true]) {
      expect(MAESTRO.key(input({ started }))).toBe(PORTFOLIO_PRIOR.key(input({ started })));
    }
    expect(PORTFOLIO_CANDIDATES).toContain(PORTFOLIO_PRIOR);
    expect(PORTFOLIO_CANDIDATES).not.toContain(MAESTRO);
  });
});

describe('oracles', () => {
  const known = (remainingMs: number) => ({
    ...input({ remainingMs: 1_000_000 - remainingMs, stage: { deadlineMs: 10_000 }, loadStep: 1 }),
    foresight: { outputTokens: 10, serviceMs: 100, remainingMs },
  });

  it('go by what will be, whatever was predicted', () => {
    for (const policy of [ORACLE_SRTF, ORACLE_SRW]) expect(policy.key(known(10))).toBeLessThan(policy.key(known(500)));
    expect(ORACLE_EDF.key(known(50_000))).toBeGreaterThan(RELEGATION_OFFSET_MS);
    expect(ORACLE_EDF.key(known(10))).toBe(10_000);
  });

  it('say so when they are asked without foresight, and cannot be chosen for serving', () => {
    for (const policy of [ORACLE_EDF, ORACLE_SRTF, ORACLE_SRW]) {
      expect(() => policy.key(input({ loadStep: 1 }))).toThrow(/foresight/);
      expect(findOrderingPolicy(policy.name)).toBeUndefined();
    }
  });
});

describe('LoadSteps', () => {
  it('rises at the thresholds and falls only clearly below them', () => {
    const steps = new LoadSteps();
    const seen = [5, 10, 20, 16, 14, 80, 8, 7].map((waiting) => {
      steps.update(waiting, 10);
      return steps.step;
    });
    expect(seen).toEqual([0, 1, 2, 2, 1, 4, 1, 0]);
    steps.update(100, 0);
    expect(steps.step).toBe(4);
    expect(steps.step).toBeLessThan(FLOODED);
  });
});
