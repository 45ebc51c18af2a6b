import { KeyMemo } from '../model/key-memo.js';
import { LruMap } from '../model/lru-map.js';
import type { Stage } from '../model/stage.js';
import { thousandths } from './keyed-windows.js';

/** Ways to foretell a length: the model's median, the middle of it and the model's mean, looking up, the middle of looking up and the model's median. */
export const LENGTH_CONTESTANTS = ['model', 'average', 'lookup', 'blend'] as const;
export type LengthContestant = (typeof LENGTH_CONTESTANTS)[number];

/** Ways to foretell what is left of a workflow. */
export const WORK_CONTESTANTS = ['model', 'lookup', 'blend'] as const;
export type WorkContestant = (typeof WORK_CONTESTANTS)[number];

/** What each would have said of a call: tokens of its answer, or what is left after it, on a scale of its own. */
export type Said<Name extends string> = Readonly<Record<Name, number>>;

interface ErrorRecord {
  calls: number;
  /** Running mean absolute errors, in the order of the contestants. */
  readonly errors: number[];
}

/** Calls that err alike. */
type Kind = Pick<Stage, 'template' | 'model' | 'role'>;

/** Saved form: calls and errors by name. */
export type ContestState = readonly (readonly [key: string, calls: number, errors: readonly number[]])[];

/** Calls after which errors speak. */
export const MIN_CALLS = 20;
/** What a training found of a role weighs as much as so many calls, half of those after which it speaks: it was another time. Measured on the recorded traces. */
const TRAINED_CALLS = 10;
/** Another must err by so much less than the one that serves at first: smaller leads are chance. Measured on the recorded traces, as is the next. */
const CLEAR_LEAD = 0.98;
/** Weight of the newest call: about the last two hundred count. */
const ERROR_WEIGHT = 0.01;

/**
 * Which estimate serves a role: the one that has clearly erred less on it, or on its template while the role is new. A model that was trained elsewhere is
 * then never worse for long than looking things up.
 */
export class EstimateContest<Name extends string> {
  private readonly records: LruMap<string, ErrorRecord>;

  /** @param first Which one serves a template until errors speak. */
  constructor(
    maxCells: number,
    private readonly names: readonly Name[],
    private readonly first: (template: string) => Name,
  ) {
    this.records = new LruMap(maxCells);
  }

  winner(stage: Kind): Name {
    const first = this.first(stage.template);
    const errors = this.settled(roleKey(stage)) ?? this.settled(templateKey(stage));
    if (!errors) return first;
    let best = 0;
    for (let index = 1; index < errors.length; index++) if (errors[index]! < errors[best]!) best = index;
    return errors[best]! < CLEAR_LEAD * errors[this.names.indexOf(first)]! ? this.names[best]! : first;
  }

  observe(stage: Kind, said: Said<Name>, truth: number): void {
    this.count(roleKey(stage), said, truth);
    this.count(templateKey(stage), said, truth);
  }

  /** Takes up what a training found: of templates as it is, of roles until their own calls outweigh it. */
  begin(trained: ContestState): void {
    this.restore(
      trained.map(([key, calls, errors]) => [
        key,
        key.startsWith(ROLE_KEY) ? Math.min(calls, TRAINED_CALLS) : calls,
        errors,
      ]),
    );
  }

  state(): ContestState {
    return [...this.records].map(([key, { calls, errors }]) => [key, calls, errors.map(thousandths)]);
  }

  restore(state: ContestState): void {
    for (const [key, calls, errors] of state) {
      // What was saved of other contestants says nothing of these.
      if (errors.length === this.names.length) this.records.set(key, { calls, errors: [...errors] });
    }
  }

  private count(key: string, said: Said<Name>, truth: number): void {
    let record = this.records.get(key);
    if (!record) {
      record = { calls: 0, errors: this.names.map(() => 0) };
      this.records.set(key, record);
    }
    record.calls += 1;
    const weight = Math.max(ERROR_WEIGHT, 1 / record.calls);
    const { errors } = record;
    for (let index = 0; index < errors.length; index++) {
      errors[index]! += weight * (Math.abs(said[this.names[index]!] - truth) - errors[index]!);
    }
  }

  private settled(key: string): readonly number[] | undefined {
    const record = this.records.peek(key);
    return record && record.calls >= MIN_CALLS ? record.errors : undefined;
  }
}

const ROLE_KEY = 'r\n';
const ROLE = new KeyMemo((template, model, role) => `${ROLE_KEY}${template}\n${model}\n${role}`);
const TEMPLATE = new KeyMemo((template) => `t\n${template}`);

function roleKey({ template, model, role }: Kind): string {
  return ROLE.of(template, model, role);
}

function templateKey({ template }: Kind): string {
  return TEMPLATE.of(template, '');
}
