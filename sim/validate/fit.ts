/** A constant that may move: it is multiplied with a step up or down, and stays above 0. */
export interface Search<Name extends string> {
  readonly start: Readonly<Record<Name, number>>;
  /** What a constant cannot exceed. */
  readonly most?: Readonly<Partial<Record<Name, number>>>;
  /** Mean size of the error under these constants; the search makes it small. */
  error(constants: Readonly<Record<Name, number>>): number;
}

/** Factors by which a constant is moved, one round each; the last is the precision. */
const FACTORS = [1.4, 1.2, 1.1, 1.05, 1.02] as const;
/** Passes over all constants with one factor; most end earlier because nothing helps any more. */
const MAX_PASSES = 8;

/** Coordinate search: moves one constant at a time while that makes the error smaller. Deterministic. */
export function fitConstants<Name extends string>({ start, most, error }: Search<Name>): Record<Name, number> {
  const best: Record<Name, number> = { ...start };
  let bestError = error(best);
  for (const factor of FACTORS) {
    for (let pass = 0; pass < MAX_PASSES; pass++) {
      let moved = false;
      for (const name of Object.keys(best) as Name[]) {
        for (const step of [factor, 1 / factor]) {
          for (;;) {
            const tried = { ...best, [name]: Math.min(best[name] * step, most?.[name] ?? Number.POSITIVE_INFINITY) };
            const triedError = error(tried);
            if (!(triedError < bestError - 1e-9)) break;
            best[name] = tried[name];
            bestError = triedError;
            moved = true;
          }
        }
      }
      if (!moved) break;
    }
  }
  return best;
}
