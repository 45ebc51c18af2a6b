import { DECODE } from './decode.js';
import { DISTURBANCE } from './disturbance.js';
import { NETWORK } from './network.js';
import { PREEMPTION } from './preemption.js';
import { QUEUE_WAIT } from './queue-wait.js';
import { READY_TIME } from './ready-time.js';
import type { EngineScorer } from './scorer.js';
import { UNCACHED_PREFILL } from './uncached-prefill.js';

/** Every scorer; an engine's score is the sum of their milliseconds, and the lowest sum wins. */
export const ENGINE_SCORERS: readonly EngineScorer[] = [
  READY_TIME,
  QUEUE_WAIT,
  UNCACHED_PREFILL,
  DECODE,
  DISTURBANCE,
  PREEMPTION,
  NETWORK,
];
