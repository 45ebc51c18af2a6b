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

/** One way to have come to where some calls are served and some models awake. */
interface Label {
  /** No sleep ends before: when the last one ended, or the next could. */
  readonly atMs: number;
  /** Of the calls of turns that are over. */
  readonly waitMs: number;
  /** When each model could serve its next call; NaN where it cannot. */
  readonly readyMs: readonly number[];
  /** Bits of the models that hold memory. */
  readonly there: number;
  /** Bits of the models that have been put to sleep. */
  readonly slept: number;
  readonly before: Label | undefined;
  readonly move: TurnMove;
  /** Another way is nowhere worse. */
  dropped: boolean;
}

/** All ways to one count of served calls: those to be followed, and those that are not dropped, by who holds memory. */
interface Cell {
  readonly ways: Label[];
  readonly kept: Map<number, Label[]>;
}

const NEVER = Number.POSITIVE_INFINITY;
/** Sums of milliseconds that differ by less are equal. */
const HAIR_MS = 1e-6;

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
  return planTurns(arrivalsOf(calls, models), models, states, capacity, 0, atMost)?.waitMs ?? NEVER;
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
 * @param times Of each model, in order: of its calls that have not begun. They may lie before `nowMs`.
 * @param atMost Ways that wait longer are not followed. Undefined comes back where none is as good.
 */
export function planTurns(
  times: readonly (readonly number[])[],
  models: readonly TurnModel[],
  states: readonly TurnState[],
  capacity: number,
  nowMs: number,
  atMost = NEVER,
): TurnPlan | undefined {
  const sizes = times.map((each) => each.length + 1);
  const strides = sizes.map((_, at) => sizes.slice(0, at).reduce((product, size) => product * size, 1));
  const cells = new Map<number, Cell>();
  let limitMs = atMost + HAIR_MS;
  let best: Label | undefined;

  wakeSome(0, {
    ...{ atMs: nowMs, waitMs: 0, slept: 0, before: undefined, dropped: false },
    readyMs: states.map(({ readyMs }) => Math.max(readyMs, nowMs)),
    there: states.reduce((bits, state, at) => (isThere(state) ? bits | (1 << at) : bits), 0),
    move: { model: -1, taken: 0, goneMs: nowMs, woken: [] },
  });
  // In the order of calls served: a turn only leads to later ones.
  const order = Array.from({ length: strides.at(-1)! * sizes.at(-1)! }, (_, cell) => cell);
  const served = order.map((cell) => models.reduce((sum, _, at) => sum + servedOf(cell, at), 0));
  for (const cell of order.sort((a, b) => served[a]! - served[b]!)) {
    // It grows while it is read: a model that sleeps without a call leads to the same count.
    for (const label of cells.get(cell)?.ways ?? []) if (!label.dropped) follow(cell, label);
    cells.delete(cell);
  }
  if (!best) return undefined;
  const moves: TurnMove[] = [];
  for (let label: Label | undefined = best; label; label = label.before) moves.unshift(label.move);
  return { waitMs: limitMs, moves };

  function servedOf(cell: number, at: number): number {
    return Math.floor(cell / strides[at]!) % sizes[at]!;
  }

  /** When a model could be asleep that serves nothing more of its first turn; undefined where that turn is over. */
  function idleGoneMs(label: Label, at: number, cell: number): number | undefined {
    if ((label.slept >> at) & 1 || !isThere(states[at]!) || servedOf(cell, at) > 0) return undefined;
    const { readyMs, busyMs, goneMs } = states[at]!;
    return goneMs ?? Math.max(nowMs, readyMs, busyMs) + models[at]!.sleepMs;
  }

  /** The next sleep: of which model, after how many calls. */
  function follow(cell: number, label: Label): void {
    for (const [at, { sleepMs, serviceMs }] of models.entries()) {
      if (!(label.there & (1 << at))) continue;
      const idleMs = idleGoneMs(label, at, cell);
      // A turn that serves nothing is of use only for a model that is there by chance.
      if (idleMs !== undefined && idleMs >= label.atMs) sleep(cell, label, at, 0, idleMs, label.waitMs);
      const readyMs = label.readyMs[at]!;
      if (Number.isNaN(readyMs)) continue;
      const arrivals = times[at]!;
      const first = servedOf(cell, at);
      let { waitMs } = label;
      for (let index = first; index < arrivals.length; index++) {
        const startMs = Math.max(readyMs, arrivals[index]!);
        waitMs += startMs - arrivals[index]!;
        const busyMs = idleMs === undefined ? 0 : states[at]!.busyMs;
        const goneMs = Math.max(busyMs, startMs + serviceMs) + sleepMs;
        if (goneMs >= label.atMs) sleep(cell, label, at, index + 1 - first, goneMs, waitMs);
      }
    }
  }

  function sleep(cell: number, before: Label, at: number, taken: number, goneMs: number, waitMs: number): void {
    const readyMs = before.readyMs.map((ready, other) => (other === at ? Number.NaN : ready));
    const move = { model: at, taken, goneMs, woken: [] };
    const there = before.there & ~(1 << at);
    const slept = before.slept | (1 << at);
    const after = { atMs: goneMs, waitMs, readyMs, there, slept, before, move, dropped: false };
    wakeSome(cell + taken * strides[at]!, after);
  }

  /** Keeps every way on from there by which models are woken at once, into the room that there is. */
  function wakeSome(cell: number, from: Label): void {
    const readyMs = [...from.readyMs];
    const woken: number[] = [];
    let { there } = from;
    const wanted = models.flatMap((_, at) => {
      // To wake it at once is of use only where it had begun to fall asleep before.
      const mayWake = at !== from.move.model || states[at]!.goneMs !== undefined;
      return mayWake && !(there & (1 << at)) && servedOf(cell, at) < times[at]!.length ? [at] : [];
    });
    const choose = (next: number, left: number): void => {
      keep(cell, { ...from, readyMs: [...readyMs], there, move: { ...from.move, woken: [...woken] } });
      for (let index = next; index < wanted.length; index++) {
        const at = wanted[index]!;
        const { bytes, wakeMs } = models[at]!;
        if (bytes > left) continue;
        readyMs[at] = from.atMs + wakeMs;
        there |= 1 << at;
        woken.push(at);
        choose(index + 1, left - bytes);
        woken.pop();
        there &= ~(1 << at);
        readyMs[at] = Number.NaN;
      }
    };
    choose(
      0,
      models.reduce((left, { bytes }, at) => (there & (1 << at) ? left - bytes : left), capacity),
    );
  }

  function keep(cell: number, given: Label): void {
    // What it is ready for before its next call has come makes no difference.
    const readyMs = given.readyMs.map((ready, at) => Math.max(ready, times[at]![servedOf(cell, at)] ?? 0));
    const { leastMs, nextMs, done } = outlook(cell, { ...given, readyMs });
    if (leastMs >= limitMs) return;
    const label = { ...given, readyMs, atMs: nextMs };
    if (done) {
      best = label;
      limitMs = leastMs;
      return;
    }
    let known = cells.get(cell);
    if (!known) {
      known = { ways: [], kept: new Map() };
      cells.set(cell, known);
    }
    const others = known.kept.get(label.there) ?? [];
    if (others.some((other) => noWorse(other, label))) return;
    const left = others.filter((other) => {
      other.dropped = noWorse(label, other);
      return !other.dropped;
    });
    left.push(label);
    known.kept.set(label.there, left);
    known.ways.push(label);
  }

  /** What all calls wait at least together by this way, and when the next sleep could end at the earliest; `done`: they need no further sleep. */
  function outlook(cell: number, label: Label): { leastMs: number; nextMs: number; done: boolean } {
    let nextMs = NEVER;
    for (const [at, { serviceMs, sleepMs }] of models.entries()) {
      if (!(label.there & (1 << at))) continue;
      nextMs = Math.min(nextMs, idleGoneMs(label, at, cell) ?? label.readyMs[at]! + serviceMs + sleepMs);
    }
    nextMs = Math.max(nextMs, label.atMs);
    let leastMs = label.waitMs;
    let done = true;
    for (const [at, { wakeMs }] of models.entries()) {
      const arrivals = times[at]!;
      const first = servedOf(cell, at);
      const away = Number.isNaN(label.readyMs[at]!);
      if (away && first < arrivals.length) done = false;
      const startMs = away ? nextMs + wakeMs : label.readyMs[at]!;
      for (let index = first; index < arrivals.length && arrivals[index]! < startMs; index++) {
        leastMs += startMs - arrivals[index]!;
      }
    }
    return { leastMs, nextMs, done };
  }
}

function isThere({ readyMs, goneMs }: TurnState): boolean {
  return goneMs !== undefined || !Number.isNaN(readyMs);
}

function noWorse(a: Label, b: Label): boolean {
  if (a.atMs > b.atMs || a.waitMs > b.waitMs) return false;
  for (let at = 0; at < a.readyMs.length; at++) if (a.readyMs[at]! > b.readyMs[at]!) return false;
  return true;
}
