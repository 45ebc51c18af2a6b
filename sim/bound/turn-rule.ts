import type { TurnCall, TurnModel } from './turns.js';

/**
 * What calls wait together until they start, milliseconds, on a GPU that holds one of the models at a time, by a rule that knows no arrivals: an idle engine gives way to the model for which most
 * calls wait; a busy one takes nothing new once it has been awake for `leastTurnMs` and calls of another wait, and gives way when it is empty. Infinity empties no busy engine. On the same
 * terms as {@link leastTurnWaitMs}.
 */
export function turnRuleWaitMs(calls: readonly TurnCall[], models: readonly TurnModel[], leastTurnMs: number): number {
  const arrivals = [...calls].sort((a, b) => a.atMs - b.atMs);
  const waiting = models.map((): number[] => []);
  let awake = 0;
  let sinceMs = 0;
  let nowMs = 0;
  /** When the last call that runs ends. */
  let busyUntilMs = 0;
  let waitedMs = 0;
  let next = 0;
  /** Lets all calls that come until then wait. */
  const queueUntil = (untilMs: number) => {
    for (; next < arrivals.length && arrivals[next]!.atMs <= untilMs; next++) {
      const { atMs, model } = arrivals[next]!;
      waiting[models.findIndex(({ name }) => name === model)]!.push(atMs);
    }
  };
  for (;;) {
    const someWait = waiting.some(({ length }) => length > 0);
    const leaveMs = someWait ? Math.max(nowMs, Math.min(busyUntilMs, sinceMs + leastTurnMs)) : Number.POSITIVE_INFINITY;
    const arrival = arrivals[next];
    if (!arrival && !someWait) return waitedMs;
    if (arrival && arrival.atMs <= leaveMs) {
      nowMs = arrival.atMs;
      if (arrival.model !== models[awake]!.name) queueUntil(nowMs);
      else {
        busyUntilMs = Math.max(busyUntilMs, nowMs + models[awake]!.serviceMs);
        next += 1;
      }
      continue;
    }
    // What comes while the engine empties, sleeps and the other wakes waits, whatever it is for.
    const emptyMs = Math.max(leaveMs, busyUntilMs);
    queueUntil(emptyMs);
    const sleptMs = emptyMs + models[awake]!.sleepMs;
    awake = mostOf(waiting, awake);
    sinceMs = sleptMs + models[awake]!.wakeMs;
    nowMs = sinceMs;
    queueUntil(nowMs);
    for (const atMs of waiting[awake]!) waitedMs += nowMs - atMs;
    waiting[awake] = [];
    busyUntilMs = nowMs + models[awake]!.serviceMs;
  }
}

/** The model for which most calls wait, other than the one that leaves. */
function mostOf(waiting: readonly (readonly number[])[], leaving: number): number {
  let most = -1;
  for (const [model, { length }] of waiting.entries()) {
    if (model !== leaving && length > 0 && (most < 0 || length > waiting[most]!.length)) most = model;
  }
  return most;
}
