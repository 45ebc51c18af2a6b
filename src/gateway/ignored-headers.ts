import type { IncomingHttpHeaders } from 'node:http';
import { durationMs, identityValue } from './identity-values.js';

type Reads = (value: unknown, isClass: (name: string) => boolean) => boolean;

const isIdentity: Reads = (value) => identityValue(value) !== undefined;

/** Our request headers, and whether a value says anything to us. */
const OWN_HEADERS: ReadonlyMap<string, Reads> = new Map<string, Reads>([
  ['x-maestro-workflow', isIdentity],
  ['x-maestro-agent', isIdentity],
  ['x-maestro-role', isIdentity],
  ['x-maestro-tenant', isIdentity],
  ['x-maestro-template', isIdentity],
  ['x-maestro-parent', isIdentity],
  ['x-maestro-class', (value, isClass) => isClass(identityValue(value) ?? '')],
  ['x-maestro-deadline-ms', (value) => durationMs(value, 1) !== undefined],
  ['x-maestro-session-final', (value) => ['1', 'true', '0', 'false'].includes(String(value))],
]);

const PREFIX = 'x-maestro-';
/** The answer names so many at most, and so much of each. */
const MOST_NAMES = 8;
const MOST_LENGTH = 64;

const NONE: readonly string[] = [];

/**
 * Headers of ours by which a request wanted to say something and did not: names that we do not know, and values that cannot be used. They are no error, but
 * somebody is looking for them.
 */
export function ignoredHeaders(headers: IncomingHttpHeaders, isClass: (name: string) => boolean): readonly string[] {
  let ignored: string[] | undefined;
  for (const name in headers) {
    if (!name.startsWith(PREFIX) || OWN_HEADERS.get(name)?.(headers[name], isClass)) continue;
    ignored ??= [];
    if (ignored.length < MOST_NAMES) ignored.push(name.slice(0, MOST_LENGTH));
  }
  return ignored ?? NONE;
}
