/** When a stage goes to another engine than the one that was chosen for it; the simulator and the live system go by the same numbers. */

/** A stage that no engine takes after this many tries goes back to the global queue. */
export const MAX_TRIES = 4;

/** A stage makes room for others so often; then it is let finish. */
export const MAX_REQUEUES = 2;

/** So often a held stage looks whether another engine would have it done sooner. A few microseconds a look. */
export const LOOK_AGAIN_MS = 5_000;
/** It moves only where it is done sooner by so much: about a sleep and a wake, by which forecasts are wrong. */
export const MOVE_MARGIN_MS = 2_000;
/** Moves of one stage, until it leaves the global queue again: whatever forecasts say, it comes to rest. */
export const MOST_MOVES = 3;

/** Every wait for one particular engine lasts at least so long. */
const MIN_WAIT_MS = 50;

/** A wait for one particular engine is worth only so much: after twice the expected wait the stage looks elsewhere. */
export function longestWaitMs(expectedMs: number): number {
  return 2 * expectedMs + MIN_WAIT_MS;
}
