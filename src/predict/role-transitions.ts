import { LruMap } from '../model/lru-map.js';
import type { Stage, StageContext } from '../model/stage.js';
import { thousandths } from './keyed-windows.js';
import { logBin } from './log-bin.js';

/** What may come after a stage: a role with the model that it used last, or the end of the workflow. Probabilities add up to 1. */
export interface NextRole {
  /** Undefined: the workflow ends. */
  readonly role: string | undefined;
  readonly model: string | undefined;
  readonly probability: number;
}

/** Saved form: decayed counts of what followed, by state, and the model that each role used last. */
export interface RoleTransitionsState {
  readonly states: readonly (readonly [key: string, roles: readonly (readonly [role: string, count: number])[]])[];
  readonly models: readonly (readonly [key: string, model: string])[];
}

interface Counts {
  total: number;
  readonly byRole: Map<string, number>;
}

/** Keeps about the last 500 transitions. */
const DECAY = 0.998;
/** Weight of the coarser table, in transitions: the finer one is trusted once it has seen about as many. */
const PRIOR_TRANSITIONS = 2;
/** Roles of one state that are remembered; an open set of names must not grow without end. */
const MAX_ROLES = 64;
const END = '';

/**
 * Which role follows which: a table of second order with the place in the workflow and whether the stage called a tool, which backs off level by
 * level: (template, role before, role, index, tool), without the index, without the role before, the role alone. It says what to prefetch.
 *
 * `next` is asked, and `follow` taught, when a stage has ended; of stages side by side each is followed by the next that begins.
 */
export class RoleTransitions {
  private readonly states: LruMap<string, Counts>;
  private readonly models: LruMap<string, string>;

  constructor(maxCells: number) {
    this.states = new LruMap(maxCells);
    this.models = new LruMap(maxCells);
  }

  /** What may follow a stage that has ended, the most likely first. Empty while nothing is known of its role. */
  next(stage: Stage, context: StageContext, toolCalled: boolean | undefined): NextRole[] {
    const probabilities = new Map<string, number>();
    // From the coarsest level to the finest, each correcting what came before.
    for (const key of keysOf(stage, context, toolCalled).reverse()) {
      const counts = this.states.peek(key);
      if (!counts) continue;
      const own = counts.total / (counts.total + PRIOR_TRANSITIONS);
      const share = probabilities.size === 0 ? 1 : own;
      for (const [role, probability] of probabilities) probabilities.set(role, probability * (1 - share));
      for (const [role, count] of counts.byRole) {
        probabilities.set(role, (probabilities.get(role) ?? 0) + (share * count) / counts.total);
      }
    }
    return [...probabilities]
      .sort(([a, p], [b, q]) => q - p || (a < b ? -1 : 1))
      .map(([role, probability]) => ({
        role: role === END ? undefined : role,
        model: role === END ? undefined : this.models.peek(`${stage.template}\n${role}`),
        probability,
      }));
  }

  /** Learns what followed a stage: another one, or the end. */
  follow(stage: Stage, context: StageContext, toolCalled: boolean | undefined, next: Stage | undefined): void {
    const role = next?.role ?? END;
    if (next) this.models.set(`${next.template}\n${next.role}`, next.model);
    for (const key of keysOf(stage, context, toolCalled)) this.count(key, role);
  }

  state(): RoleTransitionsState {
    return {
      states: [...this.states].map(([key, { byRole }]) => [
        key,
        [...byRole].map(([role, count]) => [role, thousandths(count)] as const),
      ]),
      models: [...this.models],
    };
  }

  restore({ states, models }: RoleTransitionsState): void {
    for (const [key, roles] of states) {
      const total = roles.reduce((sum, [, count]) => sum + count, 0);
      this.states.set(key, { total, byRole: new Map(roles) });
    }
    for (const [key, model] of models) this.models.set(key, model);
  }

  private count(key: string, role: string): void {
    let counts = this.states.get(key);
    if (!counts) {
      counts = { total: 0, byRole: new Map() };
      this.states.set(key, counts);
    }
    counts.total = counts.total * DECAY + 1;
    for (const [known, count] of counts.byRole) counts.byRole.set(known, count * DECAY);
    counts.byRole.set(role, (counts.byRole.get(role) ?? 0) + 1);
    if (counts.byRole.size <= MAX_ROLES) return;
    const [rarest, count] = [...counts.byRole].reduce((least, each) => (each[1] < least[1] ? each : least));
    counts.byRole.delete(rarest);
    counts.total -= count;
  }
}

/** Names of the states of a stage, the finest first. */
function keysOf(stage: Stage, context: StageContext, toolCalled: boolean | undefined): string[] {
  const tool = toolCalled === undefined ? '' : toolCalled ? 'tool' : 'answer';
  const role = `${stage.template}\n${stage.role}`;
  const first = `${role}\n${tool}`;
  const second = `${first}\n${context.past?.lastRole ?? ''}`;
  return [`3\n${second}\n${logBin(context.invocationIndex)}`, `2\n${second}`, `1\n${first}`, `0\n${role}`];
}
