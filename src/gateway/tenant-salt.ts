import { createHash } from 'node:crypto';
import type { BodyScan } from './json-scan.js';
import type { InferenceRoute } from './routes.js';

/**
 * The `cache_salt` with which an engine keeps what it caches of a tenant's prompts from all others; undefined where nothing is cached. It has to be known, not secret: whatever a client sends as
 * its own becomes a part of it, so that none can name another tenant's.
 */
export function tenantSalt(tenant: string, body: Buffer, scan: BodyScan, route: InferenceRoute): string | undefined {
  if (route.name === 'count_tokens') return undefined;
  const own = scan.fields.cache_salt;
  // No tenant's name holds a line end.
  const hash = createHash('sha256').update(`${tenant}\n`);
  if (own) hash.update(body.subarray(own.start, own.end));
  return hash.digest('base64url');
}
