import type { SimResult, SimScenario } from './types.js';
import { World } from './world/world.js';

/** Plays a scenario to its end in virtual time. Synchronous; the same scenario gives the same result. */
export function runSimulation(scenario: SimScenario): SimResult {
  return new World(scenario).run();
}
