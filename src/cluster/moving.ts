/** When a stage that is held at its engine goes to another one; the simulator and the live system go by the same numbers. */

/** So often a held stage looks whether another engine would have it done sooner. A few microseconds a look. */
export const LOOK_AGAIN_MS = 5_000;
/** It moves only where it is done sooner by so much: about a sleep and a wake, by which forecasts are wrong. */
export const MOVE_MARGIN_MS = 2_000;
/** Moves of one stage, until it leaves the global queue again: whatever forecasts say, it comes to rest. */
export const MOST_MOVES = 3;
