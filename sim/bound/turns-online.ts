import {
  ASLEEP,
  arrivalsOf,
  planTurns,
  type TurnCall,
  type TurnModel,
  type TurnPlan,
  type TurnSituation,
  type TurnState,
} from './turns.js';

/**
 * What calls wait together until they start, milliseconds, by whoever knows no call before it comes, and follows the best plan for those that have come ({@link planTurns}), made anew at every
 * arrival. On the same terms as `leastTurnWaitMs`; that of the best rule without foresight is not known, for it would weigh what may come.
 */
export function plannedTurnWaitMs(calls: readonly TurnCall[], models: readonly TurnModel[], capacity: number): number {
  const arrivals = arrivalsOf(calls, models);
  const moments = [...new Set(arrivals.flat())].sort((a, b) => a - b);
  const waiting: number[][] = models.map(() => []);
  let states = models.map(({ awake }): TurnState => (awake ? { readyMs: 0, busyMs: 0 } : ASLEEP));
  let waitMs = 0;
  for (const [index, nowMs] of moments.entries()) {
    for (const [at, times] of arrivals.entries()) waiting[at]!.push(...times.filter((atMs) => atMs === nowMs));
    const situation = { times: waiting, models, states, capacity, nowMs };
    const followed = follow(planTurns(situation)!, situation, moments[index + 1] ?? Number.POSITIVE_INFINITY);
    states = followed.states;
    waitMs += followed.waitMs;
  }
  return waitMs;
}

/** Takes from the calls that wait what begins before the next one comes, at `untilMs`. */
function follow(
  { moves }: TurnPlan,
  { times: waiting, models, states: before, nowMs }: TurnSituation & { readonly times: readonly number[][] },
  untilMs: number,
): { states: TurnState[]; waitMs: number } {
  const states = [...before];
  let waitMs = 0;
  /** Does all that it should take begin before the next call? */
  const serve = (at: number, count: number): boolean => {
    for (let left = count; left > 0; left--) {
      const { readyMs, busyMs } = states[at]!;
      const startMs = Math.max(nowMs, readyMs);
      if (!(startMs < untilMs)) return false;
      waitMs += startMs - waiting[at]!.shift()!;
      states[at] = { readyMs, busyMs: Math.max(busyMs, startMs + models[at]!.serviceMs) };
    }
    return true;
  };
  const sleepers = new Set<number>();
  for (const { model: at, taken, goneMs, woken } of moves) {
    if (at >= 0) {
      sleepers.add(at);
      const begun = serve(at, taken) && goneMs - models[at]!.sleepMs < untilMs;
      if (begun) states[at] = { ...ASLEEP, goneMs };
    }
    if (goneMs >= untilMs) continue;
    for (const other of woken) {
      states[other] = { readyMs: goneMs + models[other]!.wakeMs, busyMs: 0 };
      sleepers.delete(other);
    }
  }
  for (const at of models.keys()) if (!sleepers.has(at)) serve(at, waiting[at]!.length);
  return { states: states.map((state) => ((state.goneMs ?? untilMs) < untilMs ? ASLEEP : state)), waitMs };
}
