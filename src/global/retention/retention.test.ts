import { describe, expect, it } from 'vitest';
import { completed, makeStage } from '../../../test/stage-fixture.js';
import type { Stage } from '../../model/stage.js';
import { testEngine } from '../../node/node-fixture.js';
import { enginePoolTokensOf, Retention } from './retention.js';
import { RETENTION_RULES } from './rules.js';

const QUEUE = { waitMs: 0, outranks: false };
const PAUSE_MS = 1_000;
const GRACE_MS = 1_000;

function retention(rule: keyof typeof RETENTION_RULES = 'rent'): Retention {
  return new Retention({
    rule: RETENTION_RULES[rule],
    enginePoolTokens: new Map([['model-a', 100_000]]),
    recomputeMs: (_model, tokens) => tokens / 10,
  });
}

const call = (workflowId: string, index: number, hashes: readonly string[], more: Partial<Stage> = {}): Stage =>
  makeStage({ stageId: `${workflowId}.${index}`, workflowId, promptTokens: 40_000, prefixHashes: hashes, ...more });

/** Workflows that call, pause for a second and call again; the second prompt begins with `share` of the first. */
function teach(subject: Retention, share: number, boundaries = 10): void {
  for (let index = 0; index < 10; index++) {
    const first = Array.from({ length: boundaries }, (_, step) => `w${index}-${step}`);
    const atMs = index * 100_000;
    subject.ended(call(`w${index}`, 0, first), completed(0), 'c1', QUEUE, atMs);
    const second = call(`w${index}`, 1, [...first.slice(0, boundaries * share), 'other']);
    subject.began(second, atMs + PAUSE_MS);
    subject.started(second);
  }
}

it('keeps nothing in pools that engines lend each other', () => {
  const elastic = testEngine('a', { model: 'lent', kvLeastBytes: 1 });
  const fixed = [5_000, 4_000, Number.POSITIVE_INFINITY].map((kvPoolTokens) =>
    testEngine('b', { model: 'fixed', kvPoolTokens }),
  );
  expect([...enginePoolTokensOf([elastic, ...fixed])]).toEqual([['fixed', 4_000]]);
});

describe('Retention', () => {
  it('keeps the context of an agent that is expected back soon, and knows where', () => {
    const subject = retention();
    teach(subject, 1);
    const stage = call('new', 0, ['a']);
    const kept = subject.ended(stage, completed(1_000), 'c1', QUEUE, 2_000_000);
    expect(kept).toMatchObject({ tokens: 41_000, untilMs: 2_000_000 + PAUSE_MS + 1 + GRACE_MS });
    const next = call('new', 1, ['a', 'b']);
    expect(subject.clusterOf(next, 2_000_500)).toBe('c1');
    expect(subject.clusterOf(next, 2_002_500)).toBeUndefined();
    expect(subject.clusterOf(call('new', 1, [], { role: 'other' }), 2_000_500)).toBeUndefined();
    subject.started(next);
    expect(subject.clusterOf(call('new', 2, []), 2_000_500)).toBeUndefined();
  });

  it('keeps only the share of the context that comes back', () => {
    const subject = retention();
    teach(subject, 0.5);
    const kept = subject.ended(call('new', 0, ['a']), completed(0), 'c1', QUEUE, 2_000_000);
    expect(kept?.tokens).toBe(20_000);
  });

  it('measures that share in tokens: boundaries lie further apart the longer the prompt', () => {
    const subject = retention();
    // Half of 32 boundaries are the first 16 of 64 units.
    teach(subject, 0.5, 32);
    const kept = subject.ended(call('new', 0, ['a']), completed(0), 'c1', QUEUE, 2_000_000);
    expect(kept?.tokens).toBe(10_000);
  });

  it.each(['rent', 'progress-ttl', 'continuum'] as const)(
    'stops keeping where every workflow is one call: %s',
    (rule) => {
      const subject = retention(rule);
      const kept = Array.from({ length: 100 }, (_, index) =>
        subject.ended(call(`w${index}`, 0, [`p${index}`]), completed(10), 'c1', QUEUE, index * 1_000),
      );
      expect(kept[0]).toBeDefined();
      expect(kept.slice(64).every((each) => each === undefined)).toBe(true);
    },
  );

  it('keeps nothing after the last stage, after a failure, or while others go first', () => {
    const subject = retention();
    teach(subject, 1);
    const end = (stage: Stage, outcome = completed(0), queue = QUEUE) => subject.ended(stage, outcome, 'c1', queue, 0);
    expect(end(call('a', 0, ['a'], { finalStage: true }))).toBeUndefined();
    expect(end(call('b', 0, ['a']), completed(0, { kind: 'client_cancelled' }))).toBeUndefined();
    expect(end(call('c', 0, ['a']), completed(0), { waitMs: 5_000, outranks: true })).toBeUndefined();
    expect(end(call('d', 0, ['a'], { promptTokens: 200_000 }))).toBeUndefined();
    expect(end(call('e', 0, ['a']))).toBeDefined();
  });
});
