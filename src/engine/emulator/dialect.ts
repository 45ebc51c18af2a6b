import { HttpError, pythonRepr, type ValidationIssue, Verbatim } from './http-error.js';

/** Releases whose behaviour on the wire is emulated. */
export const VLLM_VERSIONS = ['0.29.0', '0.32.0'] as const;
export type VllmVersion = (typeof VLLM_VERSIONS)[number];

/** Most complaints that 0.32 lists. */
const LISTED_ISSUES = 10;

/**
 * A refusal as the given release words it. Handlers write those of 0.29; 0.32 shortens what it shows of the input, and names the models that it serves.
 */
export function inDialect(error: HttpError, version: VllmVersion, servedModelNames: readonly string[]): HttpError {
  if (version === '0.29.0') return error;
  if (error.issues) return withMessage(error, validationMessage(error.issues));
  const message = messageOf(error.body);
  if (message === undefined) return error;
  if (/^The model .* does not exist\.$/.test(message)) {
    return withMessage(error, `${message} Valid aliases: ${servedModelNames.join(', ')}.`);
  }
  return withMessage(error, message.replace('max_model_len=max_total_tokens=', 'max_model_len='));
}

function validationMessage(issues: readonly ValidationIssue[]): string {
  const lines = issues.slice(0, LISTED_ISSUES).map(({ type, loc, msg, input, ctx, param }) => {
    const context = ctx === undefined ? '' : `, 'ctx': ${pythonRepr(ctx)}`;
    return `\n  {'type': '${type}', 'loc': '${param ?? loc.join('.')}', 'msg': ${pythonRepr(msg)}, 'input': ${pythonRepr(shown(input))}${context}}`;
  });
  const more = issues.length - LISTED_ISSUES;
  if (more > 0) lines.push(`\n  ...and ${more} more errors`);
  return `${issues.length} validation error${issues.length === 1 ? '' : 's'}:${lines.join('')}`;
}

function shown(input: unknown): string {
  if (typeof input === 'string') return input;
  if (input instanceof Verbatim) return input.text;
  if (Array.isArray(input)) return `<list of ${input.length} items>`;
  if (typeof input === 'object' && input !== null) return `<dict of ${Object.keys(input).length} items>`;
  return pythonRepr(input);
}

function messageOf(body: unknown): string | undefined {
  const error = (body as { error?: { message?: unknown } } | null)?.error;
  return typeof error?.message === 'string' ? error.message : undefined;
}

function withMessage(error: HttpError, message: string): HttpError {
  const body = error.body as { error: object };
  return new HttpError(error.status, { ...body, error: { ...body.error, message } }, error.vary);
}
