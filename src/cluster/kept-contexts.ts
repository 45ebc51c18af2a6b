import type { KeptContext } from '../model/fleet.js';
import { type Stage, sessionOf } from '../model/stage.js';
import type { EngineRecord } from './engine-record.js';
import { RecentMap } from './recent-map.js';

/** A context that an engine keeps, as long as it has not lost its cache since. */
interface KeptHere extends KeptContext {
  readonly engine: EngineRecord;
  readonly generation: number;
}

/** Which engine keeps the context of a session for its return from a tool call. */
export class KeptContexts {
  private readonly bySession: RecentMap<string, KeptHere>;

  /** @param maxSessions The oldest beyond so many are forgotten. */
  constructor(maxSessions: number) {
    this.bySession = new RecentMap(maxSessions);
  }

  keep(engine: EngineRecord, { session, tokens, untilMs }: KeptContext): void {
    this.bySession.set(session, { session, tokens, untilMs, engine, generation: engine.cacheGeneration });
  }

  /** What is kept for the session of the stage, and still there. */
  find(stage: Stage, nowMs: number): KeptHere | undefined {
    if (this.bySession.isEmpty) return undefined;
    const kept = this.bySession.get(sessionOf(stage));
    return kept && nowMs < kept.untilMs && kept.generation === kept.engine.cacheGeneration ? kept : undefined;
  }

  /** The session has come back with this stage, and its context is in use again. */
  returned(stage: Stage): void {
    if (!this.bySession.isEmpty) this.bySession.delete(sessionOf(stage));
  }
}
