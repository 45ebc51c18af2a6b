import { describe, expect, it } from 'vitest';
import { checkFleetSeed, checkSeed } from './check.js';

/** 555 once failed: a node's engines came back while another was waking into the memory that one of them took. */
const SEEDS = [...Array.from({ length: 50 }, (_, index) => index + 1), 555];

describe('random workflows, policies and crashes in the simulator', () => {
  it.each(SEEDS)('seed %i keeps every invariant (again: npm run test:seeds -- that number)', (seed) => {
    expect(checkSeed(seed)).toEqual([]);
  });

  /**
   * Once failed: 60, a process took the room of another that was down; 76 and 575, a call that an elastic engine had pushed out did not fit its limit again; 530, a call that only a sleeping
   * engine could take was never sent there.
   */
  it.each([...SEEDS.slice(0, 8), 60, 76, 530, 575])('seed %i keeps every invariant on a random fleet too', (seed) => {
    expect(checkFleetSeed(seed)).toEqual([]);
  });
});
