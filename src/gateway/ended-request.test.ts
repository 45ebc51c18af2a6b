import { expect, it } from 'vitest';
import type { StageOutcome } from '../model/stage.js';
import type { GatewayContext } from './context.js';
import { reportEnd } from './ended-request.js';
import type { InferenceRoute } from './routes.js';

it.each<[string, Partial<StageOutcome>]>([
  ['debug', { kind: 'completed', httpStatus: 200 }],
  ['info', { kind: 'client_cancelled', httpStatus: 499 }],
  ['info', { kind: 'rejected', httpStatus: 404, reason: 'model_not_found' }],
  ['warn', { kind: 'rejected', httpStatus: 429, reason: 'queue_full' }],
  ['warn', { kind: 'rejected', httpStatus: 503, reason: 'no_engine' }],
  ['warn', { kind: 'engine_failed', httpStatus: 200 }],
])('logs at %s how a request ended: %o', (level, outcome) => {
  const told: string[] = [];
  const log = (name: string) => () => told.push(name);
  const context = {
    metrics: { requestEnded: () => undefined },
    logger: { isLevelEnabled: () => true, debug: log('debug'), info: log('info'), warn: log('warn') },
  } as unknown as GatewayContext;
  const route = { name: 'chat' } as InferenceRoute;
  const ended = { requestId: 'r', route, sloClass: undefined, start: undefined };
  reportEnd(context, ended, { durationMs: 1, ...outcome } as StageOutcome);
  expect(told).toEqual([level]);
});
