import type { BatchEngineConfig, EngineEvent } from '../../src/engine/batch-types.js';
import { newEngine } from '../../src/engine/new-engine.js';
import { SeededRng } from '../../src/model/rng.js';

export interface ClosedLoop {
  /** Longest prompt and longest output, tokens. */
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Requests in flight. */
  readonly concurrency: number;
  /** Lengths are drawn evenly between this share of the longest and the longest itself. 1: all equal. */
  readonly shortestShare: number;
  /** Requests for each one in flight. Default 10, as in the public benchmark scripts. */
  readonly rounds?: number;
}

export interface ClosedLoopResult {
  /** Means over all requests, the first burst included: time to first token, and time per output token after the first; milliseconds. */
  readonly ttftMs: number;
  readonly tpotMs: number;
}

const ROUNDS = 10;

/**
 * A closed loop on one engine, as `vllm bench serve --max-concurrency` and its relatives run it: all places start at once, and whenever
 * a request ends the next one starts. The burst at the start is part of the result: with ten rounds it is a tenth of the requests, and what makes
 * mean times to first token grow with the concurrency.
 */
export function runClosedLoop(config: BatchEngineConfig, loop: ClosedLoop): ClosedLoopResult {
  const { concurrency, shortestShare } = loop;
  const engine = newEngine(config);
  const rng = new SeededRng(1);
  const draw = (longest: number) => Math.max(1, Math.round(longest * (1 - (1 - shortestShare) * rng.next())));
  const requests = Array.from({ length: (loop.rounds ?? ROUNDS) * concurrency }, () => ({
    promptTokens: draw(loop.promptTokens),
    outputTokens: draw(loop.outputTokens),
    startMs: 0,
    firstMs: 0,
  }));
  let started = 0;
  const start = (nowMs: number) => {
    const id = started++;
    const request = requests[id]!;
    request.startMs = nowMs;
    const { promptTokens, outputTokens } = request;
    engine.add({ id: String(id), promptTokens, outputTokens, priority: 0, arrivalMs: nowMs }, nowMs);
  };
  while (started < concurrency) start(0);
  let finished = 0;
  let ttftMs = 0;
  let tpotMs = 0;
  const events: EngineEvent[] = [];
  while (finished < requests.length) {
    const nextMs = engine.nextEventMs();
    if (nextMs === Number.POSITIVE_INFINITY) throw new Error('runClosedLoop: the engine ran dry');
    events.length = 0;
    engine.advance(nextMs, events);
    for (const event of events) {
      const request = requests[Number(event.id)]!;
      if (event.kind === 'first-token') {
        request.firstMs = event.atMs;
        ttftMs += event.atMs - request.startMs;
      }
      if (event.kind !== 'finished') continue;
      finished += 1;
      if (event.outputTokens > 1) tpotMs += (event.atMs - request.firstMs) / (event.outputTokens - 1);
      if (started < requests.length) start(event.atMs);
    }
  }
  return { ttftMs: ttftMs / requests.length, tpotMs: tpotMs / requests.length };
}
