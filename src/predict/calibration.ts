import { LruMap } from '../model/lru-map.js';
import { thousandths } from './keyed-windows.js';

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
  /** Where the offset of all roles together starts, in log tokens. Absent: twice the raw bound. */
  readonly initialLogOffset?: number | undefined;
  /** The offset of a new role is not below this. Absent: half of that. */
  readonly newRoleLogOffset?: number | undefined;
}

/** Saved form: offset and calls of each role, and of all together. */
export interface CalibrationState {
  readonly pooled: readonly [logOffset: number, calls: number];
  readonly roles: readonly (readonly [role: string, logOffset: number, calls: number])[];
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
  private readonly pooled: RoleOffset;

  constructor(private readonly config: CalibrationConfig) {
    this.roles = new LruMap(config.maxRoles);
    this.pooled = { logOffset: config.initialLogOffset ?? INITIAL_LOG_OFFSET, calls: 0 };
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

  state(): CalibrationState {
    const { logOffset, calls } = this.pooled;
    return {
      pooled: [thousandths(logOffset), calls],
      roles: [...this.roles].map(([role, offset]) => [role, thousandths(offset.logOffset), offset.calls]),
    };
  }

  restore({ pooled, roles }: CalibrationState): void {
    [this.pooled.logOffset, this.pooled.calls] = pooled;
    for (const [role, logOffset, calls] of roles) this.roles.set(role, { logOffset, calls });
  }

  /** A new role starts where all roles together stand, but with a margin in any case: its raw bound rests on few calls. */
  private newRole(): RoleOffset {
    const floor = this.config.newRoleLogOffset ?? INITIAL_LOG_OFFSET / 2;
    return { logOffset: Math.max(this.pooled.logOffset, floor), calls: 0 };
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
