/** An answer that is not a success: status and JSON body, as vLLM's handlers or its frameworks make it. */
export class HttpError extends Error {
  override readonly name = 'HttpError';

  constructor(
    readonly status: number,
    readonly body: unknown,
    /** Answers that are made outside the router carry no `vary` header: 401 and 500. */
    readonly vary = true,
    /** What pydantic complains of, where that is the refusal. */
    readonly issues?: readonly ValidationIssue[],
  ) {
    super(JSON.stringify(body));
  }
}

const PHRASES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/** The usual envelope: `{"error": {"message", "type", "param", "code"}}`. */
export function envelope(status: number, type: string, message: string, param: string | null = null): HttpError {
  return new HttpError(status, { error: { message, type, param, code: status } }, status !== 500);
}

/** A ValueError in a handler. `value` is shown in the message when given. */
export function badValue(message: string, param: string | null = null, value?: string): HttpError {
  const shown = param === null ? '' : ` (parameter=${param}${value === undefined ? '' : `, value=${value}`})`;
  return envelope(400, 'BadRequestError', message + shown, param);
}

/** An HTTPException: its type is the phrase of its status. */
export function httpException(status: number, message: string): HttpError {
  return envelope(status, PHRASES[status] ?? 'Error', message);
}

export function internalError(message: string, vary = false): HttpError {
  return new HttpError(500, { error: { message, type: 'InternalServerError', param: null, code: 500 } }, vary);
}

/** What every request hears when the engine process has died. */
export const ENGINE_DEAD = 'EngineCore encountered an issue. See stack trace (above) for the root cause.';

export function modelNotFound(model: string): HttpError {
  return envelope(404, 'NotFoundError', `The model \`${model}\` does not exist.`, 'model');
}

/** Starlette's own answers, which are not in the envelope. */
export function detail(status: number, text: string): HttpError {
  return new HttpError(status, { detail: text });
}

/** One complaint of pydantic. `input` and `ctx` are shown as Python would show them. */
export interface ValidationIssue {
  readonly type: string;
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly input: unknown;
  readonly ctx?: Readonly<Record<string, unknown>>;
  /** Dotted location without the branch of a union; default: all of `loc`. */
  readonly param?: string;
}

export function validationError(issues: readonly ValidationIssue[]): HttpError {
  const lines = issues.map(({ type, loc, msg, input, ctx }) => {
    const tuple = loc.map(pythonRepr).join(', ') + (loc.length === 1 ? ',' : '');
    const context = ctx === undefined ? '' : `, 'ctx': ${pythonRepr(ctx)}`;
    return `\n  {'type': '${type}', 'loc': (${tuple}), 'msg': ${pythonRepr(msg)}, 'input': ${pythonRepr(input)}${context}}`;
  });
  const count = `${issues.length} validation error${issues.length === 1 ? '' : 's'}:`;
  const first = issues[0];
  const param = first ? (first.param ?? first.loc.join('.')) : null;
  const error = { message: count + lines.join(''), type: 'Bad Request', param, code: 400 };
  return new HttpError(400, { error }, true, issues);
}

export function unsupportedMediaType(): HttpError {
  return envelope(
    400,
    'Bad Request',
    "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed",
  );
}

/** A text that is shown without quotes: an integer that a JavaScript number cannot hold. */
export class Verbatim {
  constructor(readonly text: string) {}
}

/** A JSON value as Python's repr writes it. */
export function pythonRepr(value: unknown): string {
  if (value === null || value === undefined) return 'None';
  if (value === true) return 'True';
  if (value === false) return 'False';
  if (typeof value === 'number') return String(value);
  if (typeof value === 'string') {
    const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
    const escaped = value
      .replaceAll('\\', '\\\\')
      .replaceAll('\n', '\\n')
      .replaceAll('\r', '\\r')
      .replaceAll('\t', '\\t');
    return quote + (quote === "'" ? escaped.replaceAll("'", "\\'") : escaped) + quote;
  }
  if (value instanceof Verbatim) return value.text;
  if (Array.isArray(value)) return `[${value.map(pythonRepr).join(', ')}]`;
  return `{${Object.entries(value)
    .map(([key, entry]) => `${pythonRepr(key)}: ${pythonRepr(entry)}`)
    .join(', ')}}`;
}

/** A number as Python prints a float. */
export function pythonFloat(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
