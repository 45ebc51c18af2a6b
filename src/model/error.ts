/** How one kind of failure is shown to the outside. */
interface ErrorSpec {
  readonly httpStatus: number;
  /** OpenAI-style `error.type`. */
  readonly type: string;
  /** OpenAI-style `error.code`. */
  readonly code: string;
  /** gRPC status name, for links between processes. */
  readonly grpcStatus: string;
  /** May the same request succeed if it is sent again, unchanged? */
  readonly retryable: boolean;
}

function spec(httpStatus: number, type: string, code: string, grpcStatus: string, retryable: boolean): ErrorSpec {
  return { httpStatus, type, code, grpcStatus, retryable };
}

/** Every failure that Maestro itself can answer with. The one place where codes, statuses and types are decided. */
export const ERROR_TABLE = {
  invalid_request: spec(400, 'invalid_request_error', 'invalid_request', 'INVALID_ARGUMENT', false),
  context_length_exceeded: spec(400, 'invalid_request_error', 'context_length_exceeded', 'INVALID_ARGUMENT', false),
  invalid_api_key: spec(401, 'authentication_error', 'invalid_api_key', 'UNAUTHENTICATED', false),
  not_allowed: spec(403, 'permission_error', 'not_allowed', 'PERMISSION_DENIED', false),
  not_found: spec(404, 'invalid_request_error', 'not_found', 'NOT_FOUND', false),
  model_not_found: spec(404, 'invalid_request_error', 'model_not_found', 'NOT_FOUND', false),
  method_not_allowed: spec(405, 'invalid_request_error', 'method_not_allowed', 'UNIMPLEMENTED', false),
  request_timeout: spec(408, 'invalid_request_error', 'request_timeout', 'DEADLINE_EXCEEDED', true),
  body_too_large: spec(413, 'invalid_request_error', 'body_too_large', 'RESOURCE_EXHAUSTED', false),
  unsupported_media_type: spec(415, 'invalid_request_error', 'unsupported_media_type', 'INVALID_ARGUMENT', false),
  queue_full: spec(429, 'rate_limit_error', 'queue_full', 'RESOURCE_EXHAUSTED', true),
  rate_limit_exceeded: spec(429, 'rate_limit_error', 'rate_limit_exceeded', 'RESOURCE_EXHAUSTED', true),
  queue_timeout: spec(429, 'rate_limit_error', 'queue_timeout', 'RESOURCE_EXHAUSTED', true),
  client_closed: spec(499, 'client_closed_request', 'client_closed', 'CANCELLED', false),
  internal: spec(500, 'internal_error', 'internal', 'INTERNAL', false),
  engine_failed: spec(502, 'engine_error', 'engine_failed', 'UNAVAILABLE', true),
  no_engine: spec(503, 'service_unavailable_error', 'no_engine', 'UNAVAILABLE', true),
  shutting_down: spec(503, 'service_unavailable_error', 'shutting_down', 'UNAVAILABLE', true),
  first_token_timeout: spec(504, 'timeout_error', 'first_token_timeout', 'DEADLINE_EXCEEDED', false),
  token_timeout: spec(504, 'timeout_error', 'token_timeout', 'DEADLINE_EXCEEDED', false),
  deadline_exceeded: spec(504, 'timeout_error', 'deadline_exceeded', 'DEADLINE_EXCEEDED', false),
} as const satisfies Record<string, ErrorSpec>;

export type ErrorCode = keyof typeof ERROR_TABLE;

export interface MaestroErrorOptions {
  /** The request field at fault, in OpenAI's `param` notation. */
  readonly param?: string | undefined;
  /** When to try again; becomes `Retry-After`. */
  readonly retryAfterMs?: number | undefined;
  /** Machine-readable detail, shown in `x-maestro-reason`. */
  readonly reason?: string | undefined;
  /** Kept for logs, never sent to a client. */
  readonly cause?: unknown;
}

/** The one error type of the house: a code of {@link ERROR_TABLE} and a message that names the fix. */
export class MaestroError extends Error {
  override readonly name = 'MaestroError';
  readonly param: string | undefined;
  readonly retryAfterMs: number | undefined;
  readonly reason: string | undefined;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: MaestroErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.param = options.param;
    this.retryAfterMs = options.retryAfterMs;
    this.reason = options.reason;
  }

  get httpStatus(): number {
    return ERROR_TABLE[this.code].httpStatus;
  }

  get retryable(): boolean {
    return ERROR_TABLE[this.code].retryable;
  }

  /** The OpenAI-style body that clients get. */
  toBody(): { error: { message: string; type: string; param: string | null; code: string } } {
    const { type, code } = ERROR_TABLE[this.code];
    return { error: { message: this.message, type, param: this.param ?? null, code } };
  }

  /** Whatever was thrown, as a MaestroError: itself when it is one, else `internal` with the original as cause. */
  static from(thrown: unknown): MaestroError {
    if (thrown instanceof MaestroError) return thrown;
    return new MaestroError('internal', 'Internal error. The log has the details under this request id.', {
      cause: thrown,
    });
  }
}

/** What to tell of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** Code of a failed system call, such as `ENOENT`; undefined where something else was thrown. */
export function systemCodeOf(thrown: unknown): string | undefined {
  const code = typeof thrown === 'object' && thrown !== null && 'code' in thrown ? thrown.code : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** A file that the config names cannot be read. `what`: what it should hold. */
export function unreadableFile(path: string, what: string, cause: unknown): MaestroError {
  const why = systemCodeOf(cause) ?? 'unreadable';
  return new MaestroError('invalid_request', `Cannot read the file ${path}, which should hold ${what}: ${why}.`);
}
