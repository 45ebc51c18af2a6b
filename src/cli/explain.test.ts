import { describe, expect, it } from 'vitest';
import { FIRST_CONTEXT, makePrediction, makeStage } from '../../test/stage-fixture.js';
import { renderDecision } from './explain.js';

const explained = (deadlineMs: number) =>
  renderDecision({
    ...{ stage: makeStage({ arrivalMs: 70_000, deadlineMs }), context: FIRST_CONTEXT, prediction: makePrediction() },
    ...{ identitySource: 'none', policy: 'edf', orderKey: 1, attempts: 1 },
  });

describe('maestro explain', () => {
  it('says what a reader would have to guess: who named the workflow, and which key goes first', () => {
    expect(explained(130_000)).toContain('workflow-1 (default), the call named none');
    expect(explained(130_000)).toContain('policy edf, key 1 (the lowest goes first)');
  });

  it.each([
    ['that is to come', 130_000, 'deadline of the workflow 60.00 s after this call came'],
    ['that has passed', 40_000, 'deadline of the workflow was 30.00 s before this call came'],
  ])('tells a deadline %s', (_name, deadlineMs, text) => {
    expect(explained(deadlineMs)).toContain(text);
  });
});
