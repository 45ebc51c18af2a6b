import type { StageOutcome } from '../model/stage.js';

/**
 * What the end of a request that an engine had says about the engine: true when it did its part, false when it failed, undefined when there is no telling. What a client
 * got wrong (400, 404, 413, 422) is an answer like any other: it never speaks against an engine, however often it comes. That an engine does not take our credentials
 * is a matter of configuration, which taking it out does not mend.
 */
export function engineAnswered({ kind, reason, httpStatus }: StageOutcome): boolean | undefined {
  if (kind === 'completed') return true;
  if (kind === 'engine_failed') return reason === 'engine-credentials' ? undefined : false;
  if (kind !== 'rejected') return undefined;
  if (reason === 'engine-rejected') return true;
  return reason === 'engine-busy' && httpStatus === 503 ? false : undefined;
}
