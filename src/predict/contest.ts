import { KeyMemo } from '../model/key-memo.js';
import { LruMap } from '../model/lru-map.js';
import type { Stage } from '../model/stage.js';
import { thousandths } from './keyed-windows.js';

/** Two ways to foretell a length or what is left of a workflow, and the middle of both. */
export const CONTESTANTS = ['model', 'lookup', 'blend'] as const;
export type Contestant = (typeof CONTESTANTS)[number];

/** What each would have said of a call: tokens of its answer, or what is left after it, on a scale of its own. */
export type ContestMedians = Readonly<Record<Contestant, number>>;

interface ErrorRecord {
  calls: number;
  /** Running mean absolute errors, in the order of {@link CONTESTANTS}. */
  readonly errors: [number, number, number];
}

/** Calls that err alike. */
type Kind = Pick<Stage, 'template' | 'model' | 'role'>;

/** Saved form: calls and errors by name. */
export type ContestState = readonly (readonly [key: string, calls: number, errors: readonly number[]])[];

/** Calls after which errors speak. */
const MIN_CALLS = 20;
/** Weight of the newest call: about the last hundred count. */
const ERROR_WEIGHT = 0.02;

/**
 * Which estimate serves a role: the one that has erred less on it, or on its template while the role is new. A model that was trained elsewhere is
 * then never worse for long than looking things up.
 */
export class EstimateContest {
  private readonly records: LruMap<string, ErrorRecord>;

  /** @param first Which one serves a template until errors speak. */
  constructor(
    maxCells: number,
    private readonly first: (template: string) => Contestant,
  ) {
    this.records = new LruMap(maxCells);
  }

  winner(stage: Kind): Contestant {
    const errors = this.settled(roleKey(stage)) ?? this.settled(templateKey(stage));
    if (!errors) return this.first(stage.template);
    let best = 0;
    for (let index = 1; index < errors.length; index++) if (errors[index]! < errors[best]!) best = index;
    return CONTESTANTS[best]!;
  }

  observe(stage: Kind, medians: ContestMedians, truth: number): void {
    this.count(roleKey(stage), medians, truth);
    this.count(templateKey(stage), medians, truth);
  }

  state(): ContestState {
    return [...this.records].map(([key, { calls, errors }]) => [key, calls, errors.map(thousandths)]);
  }

  restore(state: ContestState): void {
    for (const [key, calls, [model = 0, lookup = 0, blend = 0]] of state) {
      this.records.set(key, { calls, errors: [model, lookup, blend] });
    }
  }

  private count(key: string, { model, lookup, blend }: ContestMedians, truth: number): void {
    let record = this.records.get(key);
    if (!record) {
      record = { calls: 0, errors: [0, 0, 0] };
      this.records.set(key, record);
    }
    record.calls += 1;
    const weight = Math.max(ERROR_WEIGHT, 1 / record.calls);
    const { errors } = record;
    errors[0] += weight * (Math.abs(model - truth) - errors[0]);
    errors[1] += weight * (Math.abs(lookup - truth) - errors[1]);
    errors[2] += weight * (Math.abs(blend - truth) - errors[2]);
  }

  private settled(key: string): readonly number[] | undefined {
    const record = this.records.peek(key);
    return record && record.calls >= MIN_CALLS ? record.errors : undefined;
  }
}

const ROLE = new KeyMemo((template, model, role) => `r\n${template}\n${model}\n${role}`);
const TEMPLATE = new KeyMemo((template) => `t\n${template}`);

function roleKey({ template, model, role }: Kind): string {
  return ROLE.of(template, model, role);
}

function templateKey({ template }: Kind): string {
  return TEMPLATE.of(template, '');
}
