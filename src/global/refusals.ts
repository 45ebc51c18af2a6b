import { MaestroError } from '../model/error.js';
import type { SubmitRejection } from './scheduler-types.js';

const QUEUE_FULL: Readonly<Record<SubmitRejection, string>> = {
  'queue-full-count': 'As many requests wait here as may wait at once.',
  'queue-full-bytes': 'The requests that wait here hold as much memory as they may.',
  'tenant-queue-full': 'As many requests of this tenant wait as may wait at once.',
};

/** What clients are told when a stage does not run. */
export function noEngine(model: string, reason: string): MaestroError {
  return new MaestroError('no_engine', `No engine serves ${model} at the moment.`, { reason, retryAfterMs: 2000 });
}

export function queueFull(reason: SubmitRejection, retryAfterMs: number): MaestroError {
  return new MaestroError('queue_full', `${QUEUE_FULL[reason]} Try again later.`, { reason, retryAfterMs });
}

export function tooLarge(model: string, kvTokens: number): MaestroError {
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
