import { BatchEngine, type BatchEngineConfig, type EngineEvent } from '../../src/engine/batch-engine.js';

export interface ClosedLoop {
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Requests in flight. */
  readonly concurrency: number;
}

export interface ClosedLoopResult {
  /** Median time to first token, milliseconds. */
  readonly ttftMs: number;
  /** Mean time per output token after the first, milliseconds. */
  readonly tpotMs: number;
}

/**
 * A closed loop on one engine: whenever a request ends the next begins. The first round has staggered lengths, so that requests do not move in step; the two rounds after it
 * are measured.
 */
export function runClosedLoop(config: BatchEngineConfig, loop: ClosedLoop): ClosedLoopResult {
  const { promptTokens, outputTokens, concurrency } = loop;
  const engine = new BatchEngine(config);
  const times = new Map<string, { readonly startMs: number; firstMs: number }>();
  const ttfts: number[] = [];
  const tpots: number[] = [];
  const total = 3 * concurrency;
  let started = 0;
  const start = (nowMs: number) => {
    const place = started++;
    const share = place < concurrency ? (place + 0.5) / concurrency : 1;
    const request = { promptTokens, outputTokens: Math.max(1, Math.ceil(share * outputTokens)), priority: 0 };
    times.set(String(place), { startMs: nowMs, firstMs: 0 });
    engine.add({ id: String(place), ...request, arrivalMs: nowMs }, nowMs);
  };
  for (let place = 0; place < concurrency; place++) start(0);
  const events: EngineEvent[] = [];
  for (let finished = 0; finished < total; ) {
    const nextMs = engine.nextEventMs();
    if (nextMs === Number.POSITIVE_INFINITY) break;
    events.length = 0;
    engine.advance(nextMs, events);
    for (const event of events) {
      const time = times.get(event.id)!;
      if (event.kind === 'first-token') time.firstMs = event.atMs;
      if (event.kind !== 'finished') continue;
      finished += 1;
      if (Number(event.id) >= concurrency) {
        ttfts.push(time.firstMs - time.startMs);
        tpots.push((event.atMs - time.firstMs) / Math.max(1, outputTokens - 1));
      }
      if (started < total) start(event.atMs);
    }
  }
  ttfts.sort((a, b) => a - b);
  return {
    ttftMs: ttfts[ttfts.length >> 1] ?? 0,
    tpotMs: tpots.reduce((sum, each) => sum + each, 0) / Math.max(1, tpots.length),
  };
}
