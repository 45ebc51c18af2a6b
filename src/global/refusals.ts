import { MaestroError } from '../model/error.js';
import { type Stage, servedName } from '../model/stage.js';
import type { SubmitRejection } from './scheduler-types.js';
import type { Prospect } from './unserved-models.js';

const QUEUE_FULL: Readonly<Record<SubmitRejection, string>> = {
  'queue-full-count': 'As many requests wait here as may wait at once.',
  'queue-full-bytes': 'The requests that wait here hold as much memory as they may.',
  'tenant-queue-full': 'As many requests of this tenant wait as may wait at once.',
};

/**
 * What the client of a stage that no engine took is told; undefined where the stage may wait.
 *
 * @param reason Why it was not placed.
 * @param has Is the engine a part of the fleet?
 */
export function whyNever(
  stage: Stage,
  kvTokens: number,
  reason: string,
  prospect: Prospect,
  has: (engineId: string) => boolean,
): MaestroError | undefined {
  const { onlyEngineId } = stage;
  if (reason === 'too-large') return tooLarge(servedName(stage), kvTokens);
  if (onlyEngineId !== undefined && !has(onlyEngineId)) return engineGone();
  return prospect === 'served' ? undefined : noEngine(servedName(stage), prospect, reason);
}

/** What clients are told when a stage does not run. */
export function noEngine(model: string, prospect: Prospect, reason: string): MaestroError {
  // The fleet has been changed while the stage waited.
  if (prospect === 'none')
    return new MaestroError('model_not_found', `The model "${model}" is not served here any more.`, { param: 'model' });
  return new MaestroError('no_engine', `No engine serves ${model} at the moment.`, { reason, retryAfterMs: 2000 });
}

/** The stage continues what only an engine has that is no part of the fleet any more. */
function engineGone(): MaestroError {
  return new MaestroError('not_found', 'The engine that had this response is gone, and the response with it.', {
    param: 'previous_response_id',
  });
}

export function queueFull(reason: SubmitRejection, retryAfterMs: number): MaestroError {
  return new MaestroError('queue_full', `${QUEUE_FULL[reason]} Try again later.`, { reason, retryAfterMs });
}

function tooLarge(model: string, kvTokens: number): MaestroError {
  return new MaestroError(
    'context_length_exceeded',
    `This request may need ${kvTokens} tokens of KV memory, more than any engine of ${model} has. Shorten the prompt or lower max_tokens.`,
    { param: 'messages' },
  );
}

export function waitedTooLong(waitedMs: number): MaestroError {
  return new MaestroError('queue_timeout', `Waited ${Math.round(waitedMs)} ms in the queue and could not be started.`, {
    reason: 'queue-timeout',
    retryAfterMs: 5000,
  });
}

/** `engines`: how many have had it and answered nothing until they were taken out. */
export function enginesHung(engines: number): MaestroError {
  return new MaestroError('engine_failed', `${engines} engines had this request in turn, and all of them hung.`, {
    reason: 'hung',
  });
}
