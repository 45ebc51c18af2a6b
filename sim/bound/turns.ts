/** A call of a model that takes turns on a GPU with others. */
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
}

/** One way to have come to a state: when its model is awake, and what has been waited for so far. */
interface Label {
  readonly atMs: number;
  readonly waitMs: number;
}

/**
 * The least that calls can wait together until they start, milliseconds, on a GPU that holds one of the models at a time, by whoever knows all arrivals beforehand. Exact where calls of one
 * model run equally long, do not disturb each other, and all find a seat: each turn then begins as soon as it can and serves its calls in the order of their arrival, so that a turn is
 * told by its model and the last call that it takes; calls after that one are left for a later turn, so that the engine empties sooner. All ways are searched; of those that lead to the
 * same calls served and the same model awake, only those stay that are not both later and dearer than another.
 *
 * @param models The first is awake at the beginning, with nothing running.
 */
export function leastTurnWaitMs(calls: readonly TurnCall[], models: readonly TurnModel[]): number {
  const times = models.map(({ name }) =>
    calls
      .filter(({ model }) => model === name)
      .map(({ atMs }) => atMs)
      .sort((a, b) => a - b),
  );
  const sizes = times.map((each) => each.length + 1);
  const strides = sizes.map((_, at) => sizes.slice(0, at).reduce((product, size) => product * size, 1));
  const cells = sizes.reduce((product, size) => product * size, 1);
  // States in the order of calls served: a turn only leads to later ones.
  const labels: Label[][][] = models.map(() => Array.from({ length: cells }, () => []));
  labels[0]![0]!.push({ atMs: 0, waitMs: 0 });
  const order = Array.from({ length: cells }, (_, cell) => cell).sort((a, b) => served(a) - served(b));
  let best = Number.POSITIVE_INFINITY;
  for (const cell of order) {
    for (const [awake, byCell] of labels.entries()) {
      for (const label of byCell[cell]!) {
        if (cell === cells - 1) best = Math.min(best, label.waitMs);
        else leave(awake, cell, label);
      }
      byCell[cell] = [];
    }
  }
  return best;

  function served(cell: number): number {
    return sizes.reduce((sum, size, at) => sum + (Math.floor(cell / strides[at]!) % size), 0);
  }

  /** Every turn of the model that is awake, and every model that may follow. */
  function leave(awake: number, cell: number, { atMs, waitMs }: Label): void {
    const { serviceMs, sleepMs } = models[awake]!;
    const arrivals = times[awake]!;
    const first = Math.floor(cell / strides[awake]!) % sizes[awake]!;
    let endMs = atMs;
    let waited = waitMs;
    // A turn that serves nothing is of use only at the beginning, where the model is awake by chance.
    if (cell === 0) follow(awake, cell, endMs + sleepMs, waited);
    for (let index = first; index < arrivals.length; index++) {
      const startMs = Math.max(atMs, arrivals[index]!);
      waited += startMs - arrivals[index]!;
      endMs = startMs + serviceMs;
      const after = cell + (index + 1 - first) * strides[awake]!;
      if (after === cells - 1) keep(awake, after, endMs, waited);
      else follow(awake, after, endMs + sleepMs, waited);
    }
  }

  function follow(awake: number, cell: number, freeMs: number, waitMs: number): void {
    for (const [next, { wakeMs }] of models.entries()) {
      const left = Math.floor(cell / strides[next]!) % sizes[next]! < sizes[next]! - 1;
      if (next !== awake && left) keep(next, cell, freeMs + wakeMs, waitMs);
    }
  }

  function keep(awake: number, cell: number, atMs: number, waitMs: number): void {
    const known = labels[awake]![cell]!;
    if (known.some((other) => other.atMs <= atMs && other.waitMs <= waitMs)) return;
    labels[awake]![cell] = [...known.filter((other) => other.atMs < atMs || other.waitMs < waitMs), { atMs, waitMs }];
  }
}
