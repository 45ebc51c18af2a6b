import { TurnSearch } from './turn-search.js';

/** A call of a model that shares a GPU with others. */
export interface TurnCall {
  readonly atMs: number;
  readonly model: string;
}

export interface TurnModel {
  readonly name: string;
  /** What each of its calls runs at least; the same for all. */
  readonly serviceMs: number;
  readonly sleepMs: number;
  readonly wakeMs: number;
  /** Of the GPU, from the beginning of its wake to the end of its sleep, in the unit of the capacity. */
  readonly bytes: number;
  /** Awake at the beginning, with nothing running. */
  readonly awake: boolean;
}

/** Where a model is: asleep, awake or waking, or on its way to sleep. */
export interface TurnState {
  /** From when on it is awake; NaN where it is asleep or falls asleep. */
  readonly readyMs: number;
  /** When the last call that it has begun ends. */
  readonly busyMs: number;
  /** When it will be asleep, where it falls asleep. */
  readonly goneMs?: number;
}

export const ASLEEP: TurnState = { readyMs: Number.NaN, busyMs: 0 };

/** A sleep, and what is woken when it has ended. */
export interface TurnMove {
  /** Index of the model that sleeps; -1: only the wakes, at once. */
  readonly model: number;
  /** How many of its waiting calls it takes before. */
  readonly taken: number;
  readonly goneMs: number;
  readonly woken: readonly number[];
}

export interface TurnPlan {
  /** What the calls wait together. */
  readonly waitMs: number;
  /** In the order of the ends of the sleeps. Whoever is awake after them serves what is left. */
  readonly moves: readonly TurnMove[];
}

/** Calls that wait, and where the models are that are to serve them. */
export interface TurnSituation {
  /** Of each model, in order: of its calls that have not begun. They may lie before `nowMs`. */
  readonly times: readonly (readonly number[])[];
  readonly models: readonly TurnModel[];
  readonly states: readonly TurnState[];
  readonly capacity: number;
  readonly nowMs: number;
}

const NEVER = Number.POSITIVE_INFINITY;

/**
 * The least that calls can wait together until they start, milliseconds, on a GPU that does not hold all models at once, by whoever knows all arrivals beforehand. See {@link planTurns}.
 *
 * @param atMost What is known to be possible: ways that wait longer are not followed. Infinity comes back where none is as good.
 */
export function leastTurnWaitMs(
  calls: readonly TurnCall[],
  models: readonly TurnModel[],
  capacity: number,
  atMost = NEVER,
): number {
  const states = models.map(({ awake }) => (awake ? { readyMs: 0, busyMs: 0 } : ASLEEP));
  return planTurns({ times: arrivalsOf(calls, models), models, states, capacity, nowMs: 0 }, atMost)?.waitMs ?? NEVER;
}

/** Times of the calls of each model, in order. */
export function arrivalsOf(calls: readonly TurnCall[], models: readonly TurnModel[]): number[][] {
  return models.map(({ name }) =>
    calls.flatMap(({ model, atMs }) => (model === name ? [atMs] : [])).sort((a, b) => a - b),
  );
}

/**
 * The turns from `nowMs` on by which these calls wait least together until they start. Exact where calls of one model run equally long, do not disturb each other, and all find a seat, and
 * where moves do not slow each other: a wake then begins when a sleep has ended (or at once), a sleep when the last call of a turn has ended, and a turn serves its calls in the order of their
 * arrival, so that it is told by its model and the last call that it takes; calls after that one are left for a later turn, so that the engine empties sooner. All ways are searched, sleep
 * after sleep in the order of their ends; of those that lead to the same calls served and the same models awake, only those stay that are not both later and dearer than another.
 *
 * @param atMost Ways that wait longer are not followed. Undefined comes back where none is as good.
 */
export function planTurns(situation: TurnSituation, atMost = NEVER): TurnPlan | undefined {
  return new TurnSearch(situation, atMost).run();
}
