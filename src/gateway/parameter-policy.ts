import { MaestroError } from '../model/error.js';
import { parseJson } from '../model/json.js';
import type { ParameterRules } from './config.js';
import { type JsonMember, type JsonRange, membersOf } from './json-scan.js';
import { countOf } from './request-fields.js';
import type { InferenceRoute } from './routes.js';
import { type Edit, splice } from './splice.js';

/** What holds for one field of a request. */
interface Rule {
  readonly kind: 'refuse' | 'drop' | 'fixed' | 'bounded';
  /** JSON of the value that is fixed, or of the default. */
  readonly text: string | undefined;
  /** The largest value. */
  readonly cap: number | undefined;
  /** Where the config says so. */
  readonly place: string;
}

/** What becomes of a field. */
interface Change {
  /** Undefined: it is taken out. */
  readonly text: string | undefined;
  readonly how: 'dropped' | 'fixed' | 'default' | 'capped';
}

/** A body that keeps to the rules. */
export interface GovernedBody {
  readonly body: Buffer;
  /** The buffer at whose beginning the body lies. */
  readonly room: Buffer;
  /** What was changed and how, such as `max_tokens=capped, user=dropped`. */
  readonly changed: string;
}

/** Values with which vLLM switches a bound off. */
const UNBOUNDED: Readonly<Record<string, (value: number) => boolean>> = {
  top_k: (value) => value <= 0,
  logprobs: (value) => value < 0,
  top_logprobs: (value) => value < 0,
  prompt_logprobs: (value) => value < 0,
};

/** The parameter rules of all served models. */
export class ParameterPolicies {
  private readonly policies = new Map<string, ParameterPolicy | undefined>();
  private readonly none: boolean;

  constructor(private readonly rules: Readonly<Record<string, ParameterRules>>) {
    this.none = Object.keys(rules).length === 0;
  }

  /** Those of a model, or of an adapter on it. Undefined where nothing is ruled. */
  of(model: string, adapter?: string): ParameterPolicy | undefined {
    if (this.none) return undefined;
    const key = adapter === undefined ? model : `${model}\n${adapter}`;
    if (!this.policies.has(key)) this.policies.set(key, this.make(model, adapter));
    return this.policies.get(key);
  }

  /** What the model's own rules say of a field replaces what those of all models say of it, and what the adapter's say replaces both. */
  private make(model: string, adapter: string | undefined): ParameterPolicy | undefined {
    const names = adapter === undefined ? ['*', model] : ['*', model, adapter];
    const rules = new Map(names.flatMap((name) => rulesOf(this.rules[name] ?? {}, `parameters.${name}`)));
    return rules.size === 0 ? undefined : new ParameterPolicy(adapter ?? model, rules);
  }
}

function rulesOf(
  { defaults = {}, caps = {}, fixed = {}, drop = [], refuse = [] }: ParameterRules,
  place: string,
): [string, Rule][] {
  const rule = (name: string, kind: Rule['kind'], text?: string, cap?: number): [string, Rule] => [
    name,
    { kind, text, cap, place },
  ];
  return [
    ...refuse.map((name) => rule(name, 'refuse')),
    ...drop.map((name) => rule(name, 'drop')),
    ...Object.keys(fixed).map((name) => rule(name, 'fixed', JSON.stringify(fixed[name]))),
    ...Object.keys({ ...defaults, ...caps }).map((name) => {
      const text = Object.hasOwn(defaults, name) ? JSON.stringify(defaults[name]) : undefined;
      return rule(name, 'bounded', text, caps[name]);
    }),
  ];
}

/** The rules of one model, carried out on the bytes of requests. */
export class ParameterPolicy {
  constructor(
    private readonly model: string,
    private readonly rules: ReadonlyMap<string, Rule>,
  ) {}

  /**
   * The body as the rules want it; undefined when it is so already. Where `room` suffices it is changed in place. Throws `invalid_request` for a field that is refused,
   * given twice, or bounded and no number.
   *
   * @param closeOffset Where the body's last brace stands.
   */
  apply(body: Buffer, room: Buffer, closeOffset: number, route: InferenceRoute): GovernedBody | undefined {
    const edits: Edit[] = [];
    const changed: string[] = [];
    const ruled = new Set<string>();
    const members = membersOf(body);
    let kept = 0;
    for (const [index, member] of members.entries()) {
      const { key, start, end } = member;
      const name = (route.tokenLimitFields as readonly string[]).includes(key) ? 'max_tokens' : key;
      const rule = this.rules.get(name);
      if (rule && members.findIndex((each) => each.key === key) < index) {
        throw this.refusal(key, `The field "${key}" is given twice.`);
      }
      const change = rule && this.changeOf(key, rule, body.toString('utf8', start, end), route);
      if (rule) ruled.add(name);
      if (change) {
        const range = change.text === undefined ? withComma(members, index, kept === 0) : member;
        edits.push({ start: range.start, end: range.end, text: change.text ?? '' });
        changed.push(`${key}=${change.how}`);
      }
      if (change?.how !== 'dropped') kept += 1;
    }
    const added = this.additions(ruled, route, changed);
    if (added) edits.push({ start: closeOffset, end: closeOffset, text: added });
    if (edits.length === 0) return undefined;
    const governed = splice(body, room, edits);
    const inPlace = governed.buffer === room.buffer && governed.byteOffset === room.byteOffset;
    return { body: governed, room: inPlace ? room : governed, changed: changed.join(', ') };
  }

  /** What becomes of a field whose JSON is `written`; undefined: it stays. `null` is the same to vLLM as no field at all. */
  private changeOf(key: string, rule: Rule, written: string, route: InferenceRoute): Change | undefined {
    const { kind, text, cap, place } = rule;
    if (kind === 'drop') return { text: undefined, how: 'dropped' };
    if (kind === 'fixed') return written === text ? undefined : { text, how: 'fixed' };
    if (written === 'null') {
      if (text !== undefined) return { text, how: 'default' };
      return cap !== undefined && isOpenEnded(key, cap, route) ? { text: String(cap), how: 'capped' } : undefined;
    }
    if (kind === 'refuse') {
      throw this.refusal(key, `The field "${key}" is not allowed for ${this.model} here (${place}.refuse).`);
    }
    if (cap === undefined) return undefined;
    const value = numberOf(written);
    if (value === undefined) {
      const message = `The field "${key}" must be a number of at most ${cap} for ${this.model} here (${place}.caps).`;
      throw this.refusal(key, message);
    }
    return value > cap || UNBOUNDED[key]?.(value) ? { text: String(cap), how: 'capped' } : undefined;
  }

  /** The fields that the body lacks, as text to put before its last brace. Only what is generated has parameters. */
  private additions(ruled: ReadonlySet<string>, route: InferenceRoute, changed: string[]): string {
    const [outputLimit] = route.tokenLimitFields;
    if (outputLimit === undefined) return '';
    let added = '';
    for (const [name, rule] of this.rules) {
      if (ruled.has(name) || rule.kind === 'drop') continue;
      const key = name === 'max_tokens' ? outputLimit : name;
      const change = this.changeOf(key, rule, 'null', route);
      if (!change) continue;
      added += `,"${key}":${change.text}`;
      changed.push(`${key}=${change.how}`);
    }
    return added;
  }

  private refusal(param: string, message: string): MaestroError {
    return new MaestroError('invalid_request', message, { param, reason: 'parameter-rule' });
  }
}

/** Where a field lies together with one comma: that before it, or that behind it as long as nothing before it stays. */
function withComma(members: readonly JsonMember[], index: number, leads: boolean): Pick<JsonRange, 'start' | 'end'> {
  const { keyStart, end } = members[index]!;
  if (leads) return { start: keyStart, end: members[index + 1]?.keyStart ?? end };
  return { start: members[index - 1]!.end, end };
}

/** Is this the output limit, and would the route allow more than `cap` without it? */
function isOpenEnded(
  key: string,
  cap: number,
  { tokenLimitFields, defaultMaxTokens = Infinity }: InferenceRoute,
): boolean {
  return (tokenLimitFields as readonly string[]).includes(key) && defaultMaxTokens > cap;
}

/** A number in any form that vLLM takes for one. */
function numberOf(written: string): number | undefined {
  const value: unknown = parseJson(written);
  const count = countOf(value);
  if (count !== undefined || typeof value !== 'string' || value.trim() === '') return count;
  const decimal = Number(value);
  return Number.isFinite(decimal) ? decimal : undefined;
}
