import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PHASES, phaseSpans, phasesByShare, workflowPhases } from './breakdown.js';
import { stage } from './records-fixture.js';

const ms = fc.integer({ min: 0, max: 10_000 });

/** Stages with any waits, also such as contradict their times: records come from outside. */
const anyStage = fc
  .record({ startMs: ms, lengthMs: ms, queueMs: ms, coldStartMs: ms, firstMs: fc.option(ms, { nil: undefined }) })
  .map(({ startMs, lengthMs, queueMs, coldStartMs, firstMs }) =>
    stage({
      startMs,
      endMs: startMs + lengthMs,
      queueMs,
      coldStartMs,
      firstTokenMs: firstMs === undefined ? undefined : startMs + firstMs,
    }),
  );

describe('phaseSpans', () => {
  it('covers a stage from start to end without gap or overlap', () => {
    fc.assert(
      fc.property(anyStage, (some) => {
        let atMs = some.startMs;
        for (const span of phaseSpans(some)) {
          expect(span.startMs).toBe(atMs);
          expect(span.endMs).toBeGreaterThan(span.startMs);
          atMs = span.endMs;
        }
        expect(atMs).toBe(some.endMs);
      }),
    );
  });

  it('takes the waits in their order', () => {
    const spans = phaseSpans(stage({ startMs: 100, queueMs: 50, coldStartMs: 200, firstTokenMs: 400, endMs: 1000 }));
    expect(spans.map(({ phase, startMs, endMs }) => [phase, startMs, endMs])).toEqual([
      ['queue', 100, 150],
      ['coldStart', 150, 350],
      ['prefill', 350, 400],
      ['decode', 400, 1000],
    ]);
  });

  it('counts a rejected stage as waiting', () => {
    const spans = phaseSpans(
      stage({ startMs: 0, endMs: 700, outcome: 'rejected:queue_full', firstTokenMs: undefined }),
    );
    expect(spans).toEqual([{ phase: 'queue', startMs: 0, endMs: 700 }]);
  });
});

describe('workflowPhases', () => {
  it('cuts the duration into parts that add up to it, none below zero', () => {
    fc.assert(
      fc.property(ms, ms, fc.array(anyStage, { maxLength: 8 }), (arrivalMs, lengthMs, stages) => {
        const times = workflowPhases({ arrivalMs }, arrivalMs + lengthMs, stages);
        const sum = PHASES.reduce((total, phase) => total + times[phase], 0);
        expect(sum).toBeCloseTo(lengthMs, 4);
        for (const phase of PHASES) expect(times[phase]).toBeGreaterThanOrEqual(-1e-9);
      }),
    );
  });

  it('shares a moment among parallel stages and leaves the rest outside', () => {
    const stages = [
      stage({ startMs: 0, queueMs: 100, coldStartMs: 0, firstTokenMs: 100, endMs: 100 }),
      stage({ startMs: 0, queueMs: 0, coldStartMs: 0, firstTokenMs: 0, endMs: 200 }),
    ];
    const times = workflowPhases({ arrivalMs: 0 }, 500, stages);
    expect(times).toEqual({ queue: 50, coldStart: 0, prefill: 0, decode: 150, outside: 300 });
    expect(phasesByShare(times).map(({ phase }) => phase)).toEqual(['outside', 'decode', 'queue']);
  });
});
