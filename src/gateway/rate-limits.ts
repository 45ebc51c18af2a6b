import type { Clock } from '../model/clock.js';
import { MaestroError } from '../model/error.js';
import type { OutcomeKind } from '../model/stage.js';
import { TokenBucket } from '../model/token-bucket.js';
import type { AnswerFacts } from './answer-facts.js';
import type { ApiKey } from './config.js';

/** What is limited. The names are those of OpenAI's headers. */
export const RATE_LIMITS = ['requests', 'tokens'] as const;
export type RateLimit = (typeof RATE_LIMITS)[number];

type Buckets = Readonly<Record<RateLimit, TokenBucket>>;

/** Requests and tokens a minute of tenants, of the keys that bound them. Keys of one tenant share its buckets, so that a second one, as while keys are changed, brings no more. */
export class RateLimits {
  private readonly tenants = new Map<string, Buckets>();

  /** @param onRefused Counts a request that is one too many. */
  constructor(
    private readonly wallClock: Clock,
    private readonly onRefused: (limit: RateLimit) => void,
  ) {}

  /** What meters a request of the key; undefined where the key bounds nothing. */
  meter(key: ApiKey | undefined): RateMeter | undefined {
    if (key?.requestsPerMinute === undefined && key?.tokensPerMinute === undefined) return undefined;
    const { tenant } = key;
    let buckets = this.tenants.get(tenant);
    if (!buckets) {
      const nowMs = this.wallClock.nowMs();
      buckets = { requests: new TokenBucket(nowMs), tokens: new TokenBucket(nowMs) };
      this.tenants.set(tenant, buckets);
    }
    return new RateMeter(key, buckets, this.wallClock, this.onRefused);
  }

  /** Forgets all tenants but those of the keys. */
  keep(keys: readonly ApiKey[]): void {
    const known = new Set(keys.map(({ tenant }) => tenant));
    for (const tenant of this.tenants.keys()) if (!known.has(tenant)) this.tenants.delete(tenant);
  }
}

/**
 * One request against the limits of its tenant. The tokens of its prompt are taken before it is queued, by their estimate: without that, all that come before the first has ended would
 * pass. Those of its answer are taken when they are known: what may be asked for (`max_tokens`, the whole context by default) is mostly many times what comes, and would turn away
 * requests that fit.
 */
export class RateMeter {
  private reserved = 0;
  private events = 0;
  private settled = false;
  private readonly perMinute: Readonly<Record<RateLimit, number | undefined>>;

  constructor(
    private readonly key: ApiKey,
    private readonly buckets: Buckets,
    private readonly clock: Clock,
    private readonly onRefused: (limit: RateLimit) => void,
  ) {
    this.perMinute = { requests: key.requestsPerMinute, tokens: key.tokensPerMinute };
  }

  /** It has come. Throws `rate_limit_exceeded`. */
  takeRequest(): void {
    this.demand('requests', 1);
    this.take('requests', 1);
  }

  /** Its prompt has about so many tokens. Throws `rate_limit_exceeded`; it does not count as a request then. */
  takePrompt(tokens: number): void {
    try {
      this.demand('tokens', tokens);
    } catch (error) {
      this.take('requests', -1);
      throw error;
    }
    this.take('tokens', tokens);
    this.reserved = tokens;
  }

  /** A part of a streamed answer is handed on: one event a token, where the stream breaks off before its usage. */
  sawContent(bytes: Buffer): void {
    for (let at = bytes.indexOf('\n\n'); at >= 0; at = bytes.indexOf('\n\n', at + 2)) this.events += 1;
  }

  /**
   * It has ended, and costs what it has used in place of what was reserved: nothing where no engine has worked on it, or failed before an answer. Only the first call counts: a refusal
   * tells what is left after it.
   *
   * @param sent An engine has got it.
   */
  settle(sent: boolean, kind: OutcomeKind, { promptTokens, outputTokens }: AnswerFacts = {}): void {
    if (this.settled) return;
    this.settled = true;
    const output = outputTokens ?? this.events;
    const used = sent && (output > 0 || kind === 'completed' || kind === 'client_cancelled');
    this.take('tokens', (used ? (promptTokens ?? this.reserved) + output : 0) - this.reserved);
  }

  /** Adds the headers by which clients of OpenAI pace themselves: names and values in turn. */
  addHeaders(headers: string[]): void {
    const nowMs = this.clock.nowMs();
    for (const limit of RATE_LIMITS) {
      const perMinute = this.perMinute[limit];
      if (perMinute === undefined) continue;
      const bucket = this.buckets[limit];
      const left = Math.max(0, Math.floor(bucket.left(perMinute, nowMs)));
      const fullInMs = bucket.waitMs(perMinute, perMinute, nowMs);
      headers.push(`x-ratelimit-limit-${limit}`, String(perMinute), `x-ratelimit-remaining-${limit}`, String(left));
      headers.push(`x-ratelimit-reset-${limit}`, shortDuration(fullInMs));
    }
  }

  private demand(limit: RateLimit, amount: number): void {
    const perMinute = this.perMinute[limit];
    if (perMinute === undefined) return;
    const nowMs = this.clock.nowMs();
    const waitMs = this.buckets[limit].waitMs(amount, perMinute, nowMs);
    if (waitMs === 0) return;
    this.onRefused(limit);
    const left = Math.floor(this.buckets[limit].left(perMinute, nowMs));
    throw new MaestroError(
      'rate_limit_exceeded',
      `Rate limit reached for tenant ${this.key.tenant} on ${limit} per minute: limit ${perMinute}, left ${left}, needed ${amount}. Please try again in ${shortDuration(waitMs)}.`,
      { reason: `${limit}-per-minute`, retryAfterMs: waitMs },
    );
  }

  private take(limit: RateLimit, amount: number): void {
    const perMinute = this.perMinute[limit];
    if (perMinute !== undefined) this.buckets[limit].take(amount, perMinute, this.clock.nowMs());
  }
}

/** A duration as OpenAI writes it: `20ms`, `8.64s`, `6m0s`. */
export function shortDuration(ms: number): string {
  const whole = Math.ceil(ms);
  if (whole > 0 && whole < 1000) return `${whole}ms`;
  const minutes = Math.floor(whole / 60_000);
  const seconds = `${(whole % 60_000) / 1000}s`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}
