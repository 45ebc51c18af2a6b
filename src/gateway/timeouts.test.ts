import { expect, it } from 'vitest';
import { DEFAULT_GATEWAY_CONFIG } from './config.js';
import { overdue, type Progress } from './timeouts.js';

const TIMEOUTS = {
  ...DEFAULT_GATEWAY_CONFIG.timeouts,
  queueMs: 100,
  firstTokenMs: 200,
  betweenTokensMs: 50,
  totalMs: 1000,
  idleWriteMs: 30,
};

const BASE: Progress = {
  phase: 'queued',
  streamRequested: true,
  arrivalMs: 0,
  leftQueueMs: 0,
  quietSinceMs: 0,
  blockedSinceMs: undefined,
};

it.each<[string, Partial<Progress>, number, string | undefined]>([
  ['queued in time', {}, 100, undefined],
  ['queued too long', {}, 101, 'queue_timeout'],
  ['first token in time', { phase: 'waiting', leftQueueMs: 90 }, 290, undefined],
  ['first token late', { phase: 'waiting', leftQueueMs: 90 }, 291, 'first_token_timeout'],
  ['a whole answer has no first token', { phase: 'waiting', streamRequested: false }, 999, undefined],
  ['any answer has an end', { phase: 'waiting', streamRequested: false }, 1001, 'deadline_exceeded'],
  ['silence', { phase: 'flowing', quietSinceMs: 500 }, 551, 'token_timeout'],
  [
    'silence because the client does not read',
    { phase: 'flowing', quietSinceMs: 500, blockedSinceMs: 590 },
    600,
    undefined,
  ],
  ['a client that does not read', { phase: 'flowing', quietSinceMs: 500, blockedSinceMs: 590 }, 621, 'idle-client'],
  ['a client that does not read the end', { phase: 'sending', blockedSinceMs: 590 }, 621, 'idle-client'],
  ['the end is on its way', { phase: 'sending' }, 5000, undefined],
  ['the body is on its way', { phase: 'reading' }, 5000, undefined],
])('%s', (_name, progress, atMs, expected) => {
  const late = overdue({ ...BASE, ...progress }, TIMEOUTS, atMs, atMs);
  expect(late?.kind === 'late' ? late.error.code : late?.kind).toBe(expected);
});
