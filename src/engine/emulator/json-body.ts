import type { Call } from './http.js';
import { HttpError, unsupportedMediaType, validationError } from './http-error.js';

/** A JSON body under /v1 and /tokenize, where the content type counts. */
export async function jsonBody(call: Call): Promise<unknown> {
  const type = (call.request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
  const bytes = await call.body();
  if (type !== 'application/json') throw unsupportedMediaType();
  return parseJsonBody(bytes);
}

/** JSON of a body under /v1, or the error that FastAPI makes of it. */
function parseJsonBody(bytes: Buffer): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new HttpError(400, { detail: 'There was an error parsing the body' });
  }
  if (text.trim() === '') {
    throw validationError([{ type: 'missing', loc: ['body'], msg: 'Field required', input: null }]);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    const offset = Number(/position (\d+)/.exec(String(error))?.[1] ?? text.length);
    const expecting = text.slice(0, offset).trimEnd().endsWith('{') || /,\s*$/.test(text.slice(0, offset));
    const reason = expecting ? 'Expecting property name enclosed in double quotes' : 'Expecting value';
    throw validationError([
      { type: 'json_invalid', loc: ['body', offset], msg: 'JSON decode error', input: {}, ctx: { error: reason } },
    ]);
  }
}
