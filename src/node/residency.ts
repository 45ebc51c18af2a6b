import { type EngineState, isAsleep } from '../model/fleet.js';
import type { FoundLevel, SleepLevel } from './actions.js';

/** That the engine leaves the fleet is not known to its process. */
export type ProcessState = Exclude<EngineState, 'leaving'>;

/** What happens to one engine: `up-n` found at sleep level n; the rest as decided or reported. */
export type ResidencyEvent =
  | 'up-0'
  | 'up-1'
  | 'up-2'
  | 'down'
  | 'drain'
  | 'undrain'
  | 'sleep-1'
  | 'sleep-2'
  | 'slept'
  | 'sleep-failed'
  | 'wake'
  | 'woke'
  | 'wake-failed'
  | 'canary-passed'
  | 'canary-failed'
  | 'give-up';

/**
 * The transitions that vLLM allows. There is none from `sleeping` to `sleeping-deep`: a second /sleep on a sleeping engine changes
 * nothing, so a demotion is a wake and another sleep. `up-n` and `down` are possible in every state. Targets in brackets depend on the level
 * and are resolved by {@link EngineResidency}.
 */
const TRANSITIONS: Readonly<
  Record<ProcessState, Partial<Record<ResidencyEvent, ProcessState | '(asleep)' | '(awake)'>>>
> = {
  down: {},
  running: { drain: 'draining', 'sleep-1': 'falling-asleep', 'sleep-2': 'falling-asleep' },
  draining: { undrain: 'running', 'sleep-1': 'falling-asleep', 'sleep-2': 'falling-asleep' },
  'falling-asleep': { slept: '(asleep)', 'sleep-failed': 'running' },
  sleeping: { wake: 'waking' },
  'sleeping-deep': { wake: 'waking' },
  waking: {
    woke: '(awake)',
    'canary-passed': 'running',
    'canary-failed': 'failed',
    'wake-failed': '(asleep)',
    'give-up': 'failed',
  },
  failed: {},
};

/** The state after `event`, or undefined when the event does not apply (a late answer of an earlier process, for example). */
export function nextState(state: ProcessState, event: ResidencyEvent, level: FoundLevel): ProcessState | undefined {
  if (event === 'down') return 'down';
  if (event === 'up-0') return 'running';
  if (event === 'up-1') return 'sleeping';
  if (event === 'up-2') return 'sleeping-deep';
  const target = TRANSITIONS[state][event];
  if (target === '(asleep)') return level === 2 ? 'sleeping-deep' : 'sleeping';
  // After a level-2 wake the engine stays `waking` until its canary has answered as before.
  if (target === '(awake)') return level === 2 ? 'waking' : 'running';
  return target;
}

export interface RetryConfig {
  /** Wait after the first failure; doubles with each further one, up to `maxMs`. */
  readonly baseMs: number;
  readonly maxMs: number;
  /** A wake that fails this often in a row takes the engine out; a sleep that does makes it no victim any more. */
  readonly maxFailures: number;
}

/** State, level and failures of one engine process. */
export class EngineResidency {
  state: ProcessState = 'down';
  /** Level of the sleep that it is in, falls into or wakes from; 0 when awake. */
  level: FoundLevel = 0;
  /** When `state` was entered, and when the engine was last seen to become awake. */
  sinceMs = 0;
  awakeSinceMs = 0;
  /** No wake, no sleep before these times. */
  wakeRetryAtMs = 0;
  sleepRetryAtMs = 0;
  private wakeFailures = 0;
  private sleepFailures = 0;

  constructor(private readonly retry: RetryConfig) {}

  get asleep(): boolean {
    return isAsleep(this.state);
  }

  /** Do its /sleep calls work at all? */
  get sleepWorks(): boolean {
    return this.sleepFailures < this.retry.maxFailures;
  }

  found(level: FoundLevel, nowMs: number): void {
    this.apply(level === 0 ? 'up-0' : level === 1 ? 'up-1' : 'up-2', nowMs);
    this.level = level;
    this.wakeFailures = 0;
    this.sleepFailures = 0;
    this.wakeRetryAtMs = 0;
    this.sleepRetryAtMs = 0;
  }

  beginSleep(level: SleepLevel, nowMs: number): void {
    if (this.apply(level === 1 ? 'sleep-1' : 'sleep-2', nowMs)) this.level = level;
  }

  /** Applies an event; false, and no change, when it does not fit the state. */
  apply(event: ResidencyEvent, nowMs: number): boolean {
    const next = nextState(this.state, event, this.level);
    if (next === undefined) return false;
    if (event === 'wake-failed') {
      this.wakeFailures += 1;
      if (this.wakeFailures >= this.retry.maxFailures) return this.apply('give-up', nowMs);
      this.wakeRetryAtMs = nowMs + this.backoffMs(this.wakeFailures);
    } else if (event === 'sleep-failed') {
      this.sleepFailures += 1;
      this.sleepRetryAtMs = nowMs + this.backoffMs(this.sleepFailures);
    } else if (event === 'slept') {
      this.sleepFailures = 0;
    }
    const becameAwake = next === 'running' && this.state !== 'running' && this.state !== 'draining';
    if (becameAwake) {
      this.awakeSinceMs = nowMs;
      this.wakeFailures = 0;
      this.level = 0;
    }
    if (next !== this.state) this.sinceMs = nowMs;
    this.state = next;
    return true;
  }

  private backoffMs(failures: number): number {
    return Math.min(this.retry.maxMs, this.retry.baseMs * 2 ** (failures - 1));
  }
}
