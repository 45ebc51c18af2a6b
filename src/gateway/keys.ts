import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { MAX_KEY_LENGTH } from '../model/api-key.js';
import { MaestroError } from '../model/error.js';
import type { ApiKey } from './config.js';

interface StoredKey {
  readonly digest: Buffer;
  readonly key: ApiKey;
}

/**
 * The configured client keys. Only their HMAC under a secret of this process is kept for comparing, and every key is compared in constant
 * time, so neither timing nor memory of a log tells a key.
 */
export class KeyRing {
  private readonly secret = randomBytes(32);
  private readonly stored: readonly StoredKey[];

  constructor(keys: readonly ApiKey[]) {
    this.stored = keys.map((key) => ({ digest: this.digest(key.key), key }));
  }

  /** The key that a request presents; undefined when none are configured. Throws `invalid_api_key`. */
  authenticate(headers: IncomingHttpHeaders): ApiKey | undefined {
    if (this.stored.length === 0) return undefined;
    const presented = presentedKey(headers);
    if (presented === undefined) {
      throw new MaestroError('invalid_api_key', 'An API key is needed: send "Authorization: Bearer <key>".');
    }
    const digest = this.digest(presented);
    let found: ApiKey | undefined;
    for (const { digest: stored, key } of this.stored) {
      if (timingSafeEqual(stored, digest)) found = key;
    }
    if (!found) throw new MaestroError('invalid_api_key', 'This API key is not known here.');
    return found;
  }

  private digest(text: string): Buffer {
    return createHmac('sha256', this.secret).update(text).digest();
  }
}

function presentedKey(headers: IncomingHttpHeaders): string | undefined {
  const bearer = /^bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  const key = bearer ?? headers['x-api-key'];
  return typeof key === 'string' && key.length > 0 && key.length <= MAX_KEY_LENGTH ? key : undefined;
}
