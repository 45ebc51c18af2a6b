import { expect, it } from 'vitest';
import type { StageOutcome } from '../model/stage.js';
import { engineAnswered } from './engine-answered.js';

const outcome = (kind: StageOutcome['kind'], reason?: string, httpStatus = 0) =>
  ({ kind, reason, httpStatus, durationMs: 1 }) as StageOutcome;

it.each([
  [outcome('completed', undefined, 200), true],
  [outcome('rejected', 'engine-rejected', 400), true],
  [outcome('rejected', 'engine-rejected', 413), true],
  [outcome('rejected', 'engine-busy', 429), undefined],
  [outcome('rejected', 'engine-busy', 503), false],
  [outcome('rejected', 'queue_timeout', 429), undefined],
  [outcome('client_cancelled', undefined, 499), undefined],
  [outcome('deadline', 'deadline_exceeded', 504), undefined],
  [outcome('engine_failed', 'engine-error', 502), false],
  [outcome('engine_failed', 'first_token_timeout', 504), false],
  [outcome('engine_failed', 'engine-credentials', 502), undefined],
])('%j says %s of the engine', (ended, answered) => {
  expect(engineAnswered(ended)).toBe(answered);
});
