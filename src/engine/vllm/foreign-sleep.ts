import type { VllmClient } from './client.js';
import type { EngineMetrics } from './metrics.js';

/**
 * The sleep level at which somebody else has put an engine, or 0 where it was woken; undefined where it is as believed. The gauge only raises the suspicion;
 * `/is_sleeping` decides.
 *
 * @param believedAsleep What is believed now; undefined while that changes by itself, or is not known.
 */
export async function foreignSleep(
  client: VllmClient,
  { sleepGauge }: EngineMetrics,
  believedAsleep: () => boolean | undefined,
): Promise<0 | 1 | 2 | undefined> {
  const before = believedAsleep();
  if (sleepGauge === undefined || before === undefined || before === (sleepGauge !== 'awake')) return undefined;
  const asleep = await client.isSleeping();
  if (!asleep.ok || asleep.value === before || believedAsleep() !== before) return undefined;
  return asleep.value ? (sleepGauge === 'level-1' ? 1 : 2) : 0;
}
