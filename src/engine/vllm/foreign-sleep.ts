import { type EngineState, isAsleep } from '../../model/fleet.js';
import type { VllmClient } from './client.js';
import type { EngineMetrics } from './metrics.js';

/**
 * The sleep level at which somebody else has put an engine, or 0 where it was woken; undefined where it is as believed. The gauge only raises the suspicion;
 * `/is_sleeping` decides.
 *
 * @param belief What is believed now; undefined while that changes by itself, or is not known.
 */
export async function foreignSleep(
  client: VllmClient,
  { sleepGauge }: EngineMetrics,
  belief: () => boolean | undefined,
): Promise<0 | 1 | 2 | undefined> {
  const before = belief();
  if (sleepGauge === undefined || before === undefined || before === (sleepGauge !== 'awake')) return undefined;
  const asleep = await client.isSleeping();
  if (!asleep.ok || asleep.value === before || belief() !== before) return undefined;
  return asleep.value ? (sleepGauge === 'level-1' ? 1 : 2) : 0;
}

/** Should the engine be asleep? Undefined while it moves, or is out of service. */
export function believedAsleep(state: EngineState | undefined): boolean | undefined {
  if (state === 'running' || state === 'draining') return false;
  return isAsleep(state) ? true : undefined;
}

/** Does what the engine has been given go on in it, so that its counters should move? */
export function mayAnswer(state: EngineState | undefined): boolean {
  return believedAsleep(state) === false || state === 'failed' || state === 'leaving';
}
