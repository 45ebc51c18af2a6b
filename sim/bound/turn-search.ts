import type { TurnMove, TurnPlan, TurnSituation, TurnState } from './turns.js';

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
 * Looks for the turns by which calls wait least: all ways, sleep after sleep in the order of their ends. A way has come to a cell: how many calls of each model it
 * has served, as one number. Of the ways to one cell with the same models awake, only those stay that are not both later and dearer than another.
 */
export class TurnSearch {
  /** Of the number of a cell, what one call more of each model adds, and how many such steps there are. */
  private readonly strides: readonly number[];
  private readonly sizes: readonly number[];
  private readonly cells = new Map<number, Cell>();
  private limitMs: number;
  private best: Label | undefined;

  /** @param atMost Ways that wait longer are not followed. */
  constructor(
    private readonly from: TurnSituation,
    atMost: number,
  ) {
    const sizes = from.times.map((each) => each.length + 1);
    this.sizes = sizes;
    this.strides = sizes.map((_, at) => sizes.slice(0, at).reduce((product, size) => product * size, 1));
    this.limitMs = atMost + HAIR_MS;
  }

  /** The plan that waits least; undefined where none is as good as was asked. */
  run(): TurnPlan | undefined {
    const { models, states, nowMs } = this.from;
    this.wakeSome(0, {
      ...{ atMs: nowMs, waitMs: 0, slept: 0, before: undefined, dropped: false },
      readyMs: states.map(({ readyMs }) => Math.max(readyMs, nowMs)),
      there: states.reduce((bits, state, at) => (isThere(state) ? bits | (1 << at) : bits), 0),
      move: { model: -1, taken: 0, goneMs: nowMs, woken: [] },
    });
    // In the order of calls served: a turn only leads to later ones.
    const order = Array.from({ length: this.strides.at(-1)! * this.sizes.at(-1)! }, (_, cell) => cell);
    const served = order.map((cell) => models.reduce((sum, _, at) => sum + this.servedOf(cell, at), 0));
    for (const cell of order.sort((a, b) => served[a]! - served[b]!)) {
      // It grows while it is read: a model that sleeps without a call leads to the same count.
      for (const label of this.cells.get(cell)?.ways ?? []) if (!label.dropped) this.follow(cell, label);
      this.cells.delete(cell);
    }
    if (!this.best) return undefined;
    const moves: TurnMove[] = [];
    for (let label: Label | undefined = this.best; label; label = label.before) moves.unshift(label.move);
    return { waitMs: this.limitMs, moves };
  }

  private servedOf(cell: number, at: number): number {
    return Math.floor(cell / this.strides[at]!) % this.sizes[at]!;
  }

  /** When a model could be asleep that serves nothing more of its first turn; undefined where that turn is over. */
  private idleGoneMs(label: Label, at: number, cell: number): number | undefined {
    const { states, models, nowMs } = this.from;
    if ((label.slept >> at) & 1 || !isThere(states[at]!) || this.servedOf(cell, at) > 0) return undefined;
    const { readyMs, busyMs, goneMs } = states[at]!;
    return goneMs ?? Math.max(nowMs, readyMs, busyMs) + models[at]!.sleepMs;
  }

  /** The next sleep: of which model, after how many calls. */
  private follow(cell: number, label: Label): void {
    const { models, states, times } = this.from;
    for (const [at, { sleepMs, serviceMs }] of models.entries()) {
      if (!(label.there & (1 << at))) continue;
      const idleMs = this.idleGoneMs(label, at, cell);
      // A turn that serves nothing is of use only for a model that is there by chance.
      if (idleMs !== undefined && idleMs >= label.atMs) {
        this.sleep(cell, label, { model: at, taken: 0, goneMs: idleMs, woken: [] }, label.waitMs);
      }
      const readyMs = label.readyMs[at]!;
      if (Number.isNaN(readyMs)) continue;
      const arrivals = times[at]!;
      const first = this.servedOf(cell, at);
      let { waitMs } = label;
      for (let index = first; index < arrivals.length; index++) {
        const startMs = Math.max(readyMs, arrivals[index]!);
        waitMs += startMs - arrivals[index]!;
        const busyMs = idleMs === undefined ? 0 : states[at]!.busyMs;
        const goneMs = Math.max(busyMs, startMs + serviceMs) + sleepMs;
        if (goneMs >= label.atMs) {
          this.sleep(cell, label, { model: at, taken: index + 1 - first, goneMs, woken: [] }, waitMs);
        }
      }
    }
  }

  /** @param waitMs Of the calls of all turns that are over, this one included. */
  private sleep(cell: number, before: Label, move: TurnMove, waitMs: number): void {
    const { model: at, taken, goneMs } = move;
    const readyMs = before.readyMs.map((ready, other) => (other === at ? Number.NaN : ready));
    const there = before.there & ~(1 << at);
    const slept = before.slept | (1 << at);
    const after = { atMs: goneMs, waitMs, readyMs, there, slept, before, move, dropped: false };
    this.wakeSome(cell + taken * this.strides[at]!, after);
  }

  /** Keeps every way on from there by which models are woken at once, into the room that there is. */
  private wakeSome(cell: number, from: Label): void {
    const { models, states, times, capacity } = this.from;
    const readyMs = [...from.readyMs];
    const woken: number[] = [];
    let { there } = from;
    const wanted = models.flatMap((_, at) => {
      // To wake it at once is of use only where it had begun to fall asleep before.
      const mayWake = at !== from.move.model || states[at]!.goneMs !== undefined;
      return mayWake && !(there & (1 << at)) && this.servedOf(cell, at) < times[at]!.length ? [at] : [];
    });
    const choose = (next: number, left: number): void => {
      this.keep(cell, { ...from, readyMs: [...readyMs], there, move: { ...from.move, woken: [...woken] } });
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

  private keep(cell: number, given: Label): void {
    const { times } = this.from;
    // What it is ready for before its next call has come makes no difference.
    const readyMs = given.readyMs.map((ready, at) => Math.max(ready, times[at]![this.servedOf(cell, at)] ?? 0));
    const { leastMs, nextMs, done } = this.outlook(cell, { ...given, readyMs });
    if (leastMs >= this.limitMs) return;
    const label = { ...given, readyMs, atMs: nextMs };
    if (done) {
      this.best = label;
      this.limitMs = leastMs;
      return;
    }
    let known = this.cells.get(cell);
    if (!known) {
      known = { ways: [], kept: new Map() };
      this.cells.set(cell, known);
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
  private outlook(cell: number, label: Label): { leastMs: number; nextMs: number; done: boolean } {
    const { models, times } = this.from;
    let nextMs = NEVER;
    for (const [at, { serviceMs, sleepMs }] of models.entries()) {
      if (!(label.there & (1 << at))) continue;
      nextMs = Math.min(nextMs, this.idleGoneMs(label, at, cell) ?? label.readyMs[at]! + serviceMs + sleepMs);
    }
    nextMs = Math.max(nextMs, label.atMs);
    let leastMs = label.waitMs;
    let done = true;
    for (const [at, { wakeMs }] of models.entries()) {
      const arrivals = times[at]!;
      const first = this.servedOf(cell, at);
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
