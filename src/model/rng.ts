/** A seeded source of randomness. Everything random in the house takes one as an argument. */
export interface Rng {
  /** Uniform in [0, 1). */
  next(): number;
}

/**
 * sfc32, a small fast counting generator (Chris Doty-Humphrey, PractRand), seeded through splitmix32.
 * Equal seeds give equal sequences on every platform.
 */
export class SeededRng implements Rng {
  private a: number;
  private b: number;
  private c: number;
  private counter = 1;

  constructor(seed: number) {
    let state = seed >>> 0;
    const splitmix = () => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return (z ^ (z >>> 15)) >>> 0;
    };
    this.a = splitmix();
    this.b = splitmix();
    this.c = splitmix();
    for (let round = 0; round < 12; round++) this.next();
  }

  next(): number {
    const sum = (((this.a + this.b) | 0) + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (this.c << 21) | (this.c >>> 11);
    this.c = (this.c + sum) | 0;
    return (sum >>> 0) / 4294967296;
  }
}

/** A uniform integer in [0, bound). */
export function nextInt(rng: Rng, bound: number): number {
  return Math.floor(rng.next() * bound);
}

/** An exponential variate with the given mean (inverse transform). */
export function nextExponential(rng: Rng, mean: number): number {
  return -mean * Math.log(1 - rng.next());
}

/** A standard normal variate (Box–Muller; of the two that it yields, one). */
export function nextNormal(rng: Rng): number {
  return Math.sqrt(-2 * Math.log(1 - rng.next())) * Math.cos(2 * Math.PI * rng.next());
}
