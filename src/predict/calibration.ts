import { LruMap } from '../model/lru-map.js';

/** A role's correction of its upper bound. */
interface RoleOffset {
  /** Added to the logarithm of the raw bound. */
  logOffset: number;
  calls: number;
}

export interface CalibrationConfig {
  /** Share of calls that may exceed their bound, in (0, 1). */
  readonly targetOverflow: number;
  /** Roles remembered; the least recently used one is forgotten. */
  readonly maxRoles: number;
}

/** Step of the offset in log tokens: fast while a role is new, then slow enough not to inflate the bound. */
const FIRST_STEP = 0.2;
const LAST_STEP = 0.05;
/** Calls of a role over which the step falls. Both steps and this length: measured on the recorded traces. */
const CALLS_TO_LAST_STEP = 100;
/** A role that nobody has seen starts here, twice the raw bound: starting at 0 overflows in every second small role. */
const INITIAL_LOG_OFFSET = Math.log(2);
/** No offset leaves this range (a factor of about 50 either way), whatever a broken engine reports. */
const MAX_LOG_OFFSET = 4;

/**
 * Keeps the chance that a call outgrows its bound at the target, per role, whatever drifts: adaptive conformal inference
 * (Gibbs & Candès 2021) on the logarithm of the length. Each overflow lifts the role's offset by step × (1 − target), each
 * call that fits lowers it by step × target, so that the long-run share of overflows equals the target for any sequence.
 */
export class BoundCalibration {
  private readonly roles: LruMap<string, RoleOffset>;
  /** Follows all roles together; where a new role starts. */
  private readonly pooled: RoleOffset = { logOffset: INITIAL_LOG_OFFSET, calls: 0 };

  constructor(private readonly config: CalibrationConfig) {
    this.roles = new LruMap(config.maxRoles);
  }

  /** Factor by which the raw bound of the role's next call is to be multiplied. */
  factor(role: string): number {
    return Math.exp((this.roles.peek(role) ?? this.newRole()).logOffset);
  }

  /** Learns whether a call outgrew the bound that {@link factor} gave for it now. */
  observe(role: string, overflowed: boolean): void {
    let offset = this.roles.get(role);
    if (!offset) {
      offset = this.newRole();
      this.roles.set(role, offset);
    }
    this.move(offset, overflowed);
    this.move(this.pooled, overflowed);
  }

  /** A new role starts where all roles together stand, but with a margin in any case: its raw bound rests on few calls. */
  private newRole(): RoleOffset {
    return { logOffset: Math.max(this.pooled.logOffset, INITIAL_LOG_OFFSET / 2), calls: 0 };
  }

  private move(offset: RoleOffset, overflowed: boolean): void {
    const { targetOverflow } = this.config;
    const progress = Math.min(1, offset.calls / CALLS_TO_LAST_STEP);
    const step = FIRST_STEP + (LAST_STEP - FIRST_STEP) * progress;
    offset.calls += 1;
    offset.logOffset += step * ((overflowed ? 1 : 0) - targetOverflow);
    offset.logOffset = Math.max(-MAX_LOG_OFFSET, Math.min(MAX_LOG_OFFSET, offset.logOffset));
  }
}
