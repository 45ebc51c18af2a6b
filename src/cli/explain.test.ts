import { describe, expect, it } from 'vitest';
import { FIRST_CONTEXT, makePrediction, makeStage } from '../../test/stage-fixture.js';
import type { DecisionRecord } from '../bus/contract.js';
import { renderDecision } from './explain.js';

const explained = (deadlineMs: number, more: Partial<DecisionRecord> = {}) =>
  renderDecision({
    ...{ stage: makeStage({ arrivalMs: 70_000, deadlineMs }), context: FIRST_CONTEXT, prediction: makePrediction() },
    ...{ identitySource: 'none', policy: 'edf', orderKey: 1, attempts: 1 },
    ...more,
  });

describe('maestro explain', () => {
  it('says what a reader would have to guess: who named the workflow, and which key goes first', () => {
    expect(explained(130_000)).toContain('workflow-1 (default), the call named none');
    expect(explained(130_000)).toContain('policy edf, key 1 (the lowest goes first)');
  });

  it('names the data-parallel rank that was chosen, and those that were not', () => {
    const candidate = (rank: number, totalMs: number) => ({
      engineId: 'e',
      nodeId: 'n',
      rank,
      totalMs,
      terms: { prefill: totalMs },
    });
    const placement = { candidates: [candidate(1, 10), candidate(0, 90)], refusals: {} };
    const text = explained(130_000, { engineId: 'e', nodeId: 'n', rank: 1, placement });
    expect(text).toContain('engine e rank 1 on node n');
    expect(text).toContain('* e rank 1: 10 ms');
    expect(text).toContain('  e rank 0: 90 ms');
  });

  it.each([
    ['that is to come', 130_000, 'deadline of the workflow 60.00 s after this call came'],
    ['that has passed', 40_000, 'deadline of the workflow was 30.00 s before this call came'],
  ])('tells a deadline %s', (_name, deadlineMs, text) => {
    expect(explained(deadlineMs)).toContain(text);
  });
});
