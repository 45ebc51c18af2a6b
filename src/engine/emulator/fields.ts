import { isObject } from '../../model/json.js';
import { type ValidationIssue, Verbatim } from './http-error.js';

type JsonObject = Readonly<Record<string, unknown>>;

const INT64_MAX = '9223372036854775807';

/** Reads typed fields of a JSON body as pydantic's lax mode does, and collects what it would complain of. */
export class FieldReader {
  readonly issues: ValidationIssue[] = [];

  constructor(readonly body: JsonObject) {}

  issue(
    type: string,
    loc: readonly (string | number)[],
    msg: string,
    input: unknown,
    more: Partial<ValidationIssue> = {},
  ): void {
    this.issues.push({ type, loc: ['body', ...loc], msg, input, ...more });
  }

  raw(name: string): unknown {
    return this.body[name];
  }

  int(name: string): number | undefined {
    const value = this.body[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'boolean') return value ? 1 : 0;
    if (typeof value === 'number') {
      if (Number.isInteger(value)) return value;
      this.issue(
        'int_from_float',
        [name],
        'Input should be a valid integer, got a number with a fractional part',
        value,
      );
      return undefined;
    }
    if (typeof value === 'string') {
      if (/^\s*[+-]?\d+\s*$/.test(value)) return Number(value);
      this.issue('int_parsing', [name], 'Input should be a valid integer, unable to parse string as an integer', value);
      return undefined;
    }
    this.issue('int_type', [name], 'Input should be a valid integer', value);
    return undefined;
  }

  /** An integer of 64 bits. JSON numbers above 2^53 lose digits here, which changes only the message. */
  int64(name: string): number | undefined {
    const value = this.int(name);
    if (value === undefined || Math.abs(value) < 2 ** 63) return value;
    const above = value > 0;
    const [type, word, bound] = above
      ? ['less_than_equal', 'less', INT64_MAX]
      : ['greater_than_equal', 'greater', '-9223372036854775808'];
    const shown = BigInt(value).toString();
    this.issues.push({
      type,
      loc: ['body', name],
      msg: `Input should be ${word} than or equal to ${bound}`,
      input: new Verbatim(shown),
      ctx: { [above ? 'le' : 'ge']: new Verbatim(bound) },
    });
    return undefined;
  }

  float(name: string): number | undefined {
    const value = this.body[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value === 'number') return value;
    if (typeof value === 'boolean') return value ? 1 : 0;
    if (typeof value === 'string') {
      const parsed = Number(value);
      if (value.trim() !== '' && !Number.isNaN(parsed)) return parsed;
      this.issue('float_parsing', [name], 'Input should be a valid number, unable to parse string as a number', value);
      return undefined;
    }
    this.issue('float_type', [name], 'Input should be a valid number', value);
    return undefined;
  }

  bool(name: string): boolean | undefined {
    const value = this.body[name];
    if (value === undefined || value === null) return undefined;
    const parsed = parseBool(value);
    if (parsed !== undefined) return parsed;
    if (typeof value === 'string' || typeof value === 'number') {
      this.issue('bool_parsing', [name], 'Input should be a valid boolean, unable to interpret input', value);
    } else {
      this.issue('bool_type', [name], 'Input should be a valid boolean', value);
    }
    return undefined;
  }

  string(name: string, minLength = 0): string | undefined {
    const value = this.body[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'string') {
      this.issue('string_type', [name], 'Input should be a valid string', value);
      return undefined;
    }
    if (value.length < minLength) {
      const plural = minLength === 1 ? '' : 's';
      this.issue('string_too_short', [name], `String should have at least ${minLength} character${plural}`, value, {
        ctx: { min_length: minLength },
      });
      return undefined;
    }
    return value;
  }

  /** A string or a list of strings. */
  strings(name: string): string[] {
    const value = this.body[name];
    if (value === undefined || value === null) return [];
    if (typeof value === 'string') return [value];
    if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return value;
    const more = { param: `body.${name}` };
    this.issue('string_type', [name, 'str'], 'Input should be a valid string', value, more);
    if (!Array.isArray(value))
      this.issue('list_type', [name, 'list[str]'], 'Input should be a valid list', value, more);
    return [];
  }

  object(name: string): JsonObject | undefined {
    const value = this.body[name];
    if (value === undefined || value === null) return undefined;
    if (isObject(value)) return value;
    this.issue('dict_type', [name], 'Input should be a valid dictionary', value);
    return undefined;
  }
}

export function parseBool(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value;
  const text = String(value).toLowerCase();
  if (['true', '1', 'yes', 'y', 'on', 't'].includes(text)) return true;
  if (['false', '0', 'no', 'n', 'off', 'f'].includes(text)) return false;
  return undefined;
}
