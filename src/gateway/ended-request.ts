import type { StageStart } from '../bus/contract.js';
import type { StageOutcome } from '../model/stage.js';
import type { GatewayContext } from './context.js';
import type { InferenceRoute } from './routes.js';

/** A request that has ended, as far as it had come. */
export interface EndedExchange {
  readonly requestId: string;
  readonly route: InferenceRoute;
  readonly sloClass: string | undefined;
  readonly start: StageStart | undefined;
}

/** Tells counters and log how a request has ended. */
export function reportEnd({ metrics, logger }: GatewayContext, ended: EndedExchange, outcome: StageOutcome): void {
  const { requestId, route, sloClass, start } = ended;
  const { kind, durationMs, ttftMs } = outcome;
  metrics.requestEnded({ route: route.name, sloClass, outcome: kind, durationMs, queueMs: start?.queueMs, ttftMs });
  const level = kind === 'completed' ? 'debug' : isClientsDoing(outcome) ? 'info' : 'warn';
  if (!logger.isLevelEnabled(level)) return;
  logger[level]({ requestId, route: route.name, engine: start?.engineId, ...outcome }, 'request ended');
}

/** Whoever operates the gateway need not act on it: the client left, or asked for what cannot be had. Too much at once (429) may be a limit that is too low. */
function isClientsDoing({ kind, httpStatus }: StageOutcome): boolean {
  return kind === 'client_cancelled' || (httpStatus >= 400 && httpStatus < 500 && httpStatus !== 429);
}
