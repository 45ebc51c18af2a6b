import type { KeptContext } from '../model/fleet.js';

/**
 * Contexts of agents in a tool call that one engine is to keep: KV memory that counts as taken for all others until its time is over. vLLM has no call that pins a prefix, so
 * keeping is a matter of not letting in what would push it out; which of its unused blocks it gives away first is its own least-recently-used order.
 */
export class KeptPrefixes {
  private readonly bySession = new Map<string, KeptContext>();
  /** All together. */
  tokens = 0;
  /** When the first of them is over; Infinity when there is none. */
  dueMs = Number.POSITIVE_INFINITY;

  keep(context: KeptContext): void {
    this.drop(context.session);
    this.bySession.set(context.session, context);
    this.tokens += context.tokens;
    this.dueMs = Math.min(this.dueMs, context.untilMs);
  }

  /** What is kept for everybody but this session. */
  tokensBesides(session: string | undefined): number {
    if (this.tokens === 0 || session === undefined) return this.tokens;
    return this.tokens - (this.bySession.get(session)?.tokens ?? 0);
  }

  /** The session is back, or not expected any more. */
  drop(session: string): void {
    if (this.bySession.size === 0) return;
    const kept = this.bySession.get(session);
    if (!kept) return;
    this.bySession.delete(session);
    this.tokens -= kept.tokens;
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
    this.dueMs = Number.POSITIVE_INFINITY;
  }
}
