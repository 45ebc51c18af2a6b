import { MaestroError } from '../model/error.js';
import type { OutcomeKind } from '../model/stage.js';
import type { GatewayTimeouts } from './config.js';

/**
 * How far a request has come:
 * - `reading`: its body arrives;
 * - `queued`: with the levels, waiting for a place;
 * - `waiting`: sent to an engine, no content yet;
 * - `flowing`: content goes to the client;
 * - `sending`: the outcome is settled, the last bytes are on their way to the client.
 */
export type Phase = 'reading' | 'queued' | 'waiting' | 'flowing' | 'sending';

/** What is known of a request's progress. Clock milliseconds, except `blockedSinceMs`, which is wall time. */
export interface Progress {
  readonly phase: Phase;
  readonly streamRequested: boolean;
  readonly arrivalMs: number;
  readonly leftQueueMs: number;
  readonly quietSinceMs: number;
  readonly blockedSinceMs: number | undefined;
}

export type Overdue =
  | { readonly kind: 'late'; readonly error: MaestroError; readonly outcome: OutcomeKind }
  | { readonly kind: 'idle-client' };

function late(error: MaestroError, outcome: OutcomeKind): Overdue {
  return { kind: 'late', error, outcome };
}

/** The limit that a request has passed, if any. The first token is not waited for where only a whole answer comes. */
export function overdue(
  progress: Progress,
  timeouts: GatewayTimeouts,
  nowMs: number,
  wallMs: number,
): Overdue | undefined {
  const { phase, blockedSinceMs } = progress;
  if (blockedSinceMs !== undefined && wallMs - blockedSinceMs > timeouts.idleWriteMs) return { kind: 'idle-client' };
  if (phase === 'sending' || phase === 'reading') return undefined;
  if (nowMs - progress.arrivalMs > timeouts.totalMs) {
    return late(new MaestroError('deadline_exceeded', 'The request took longer than is allowed here.'), 'deadline');
  }
  if (phase === 'queued') {
    if (nowMs - progress.arrivalMs <= timeouts.queueMs) return undefined;
    return late(new MaestroError('queue_timeout', 'No engine became free in time. Try again later.'), 'rejected');
  }
  if (!progress.streamRequested) return undefined;
  if (phase === 'waiting') {
    if (nowMs - progress.leftQueueMs <= timeouts.firstTokenMs) return undefined;
    return late(new MaestroError('first_token_timeout', 'The engine gave no first token in time.'), 'engine_failed');
  }
  // While the client is what holds the stream up, the engine's silence says nothing.
  if (blockedSinceMs !== undefined || nowMs - progress.quietSinceMs <= timeouts.betweenTokensMs) return undefined;
  return late(
    new MaestroError('token_timeout', 'The engine fell silent in the middle of its answer.'),
    'engine_failed',
  );
}
