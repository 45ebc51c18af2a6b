import type { KeptContext } from '../model/fleet.js';

/**
 * Contexts of agents in a tool call that one engine is to keep: KV memory that counts as taken for all others until its time is over. vLLM has no call that pins a prefix, so
 * keeping is a matter of not letting in what would push it out; which of its unused blocks it gives away first is its own least-recently-used order.
 */
export class KeptPrefixes {
  private readonly bySession = new Map<string, KeptContext>();
  /** All together. */
  tokens = 0;
  /** By data-parallel rank, where there are several; else all in the first. */
  private readonly rankTokens: number[] = [];
  /** When the first of them is over; Infinity when there is none. */
  dueMs = Number.POSITIVE_INFINITY;

  keep(context: KeptContext): void {
    this.drop(context.session);
    this.bySession.set(context.session, context);
    this.add(context, context.tokens);
    this.dueMs = Math.min(this.dueMs, context.untilMs);
  }

  /** What is kept on the rank. */
  tokensOn(rank: number): number {
    return this.tokens === 0 ? 0 : (this.rankTokens[rank] ?? 0);
  }

  /** What is kept on the rank for everybody but this session. */
  tokensBesides(session: string | undefined, rank: number): number {
    const tokens = this.tokensOn(rank);
    const own = tokens === 0 || session === undefined ? undefined : this.bySession.get(session);
    return own && (own.rank ?? 0) === rank ? tokens - own.tokens : tokens;
  }

  /** The session is back, or not expected any more. */
  drop(session: string): void {
    if (this.bySession.size === 0) return;
    const kept = this.bySession.get(session);
    if (!kept) return;
    this.bySession.delete(session);
    this.add(kept, -kept.tokens);
  }

  /** Drops what is over by now; true when anything was. */
  expire(nowMs: number): boolean {
    if (nowMs < this.dueMs) return false;
    const before = this.bySession.size;
    this.dueMs = Number.POSITIVE_INFINITY;
    for (const [session, { untilMs }] of this.bySession) {
      if (untilMs <= nowMs) this.drop(session);
      else this.dueMs = Math.min(this.dueMs, untilMs);
    }
    return this.bySession.size < before;
  }

  /** The engine has lost its cache. */
  clear(): void {
    this.bySession.clear();
    this.tokens = 0;
    this.rankTokens.length = 0;
    this.dueMs = Number.POSITIVE_INFINITY;
  }

  private add({ rank = 0 }: KeptContext, tokens: number): void {
    this.tokens += tokens;
    this.rankTokens[rank] = (this.rankTokens[rank] ?? 0) + tokens;
  }
}
