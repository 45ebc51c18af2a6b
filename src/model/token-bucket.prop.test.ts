import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TokenBucket } from './token-bucket.js';
import { MINUTE_MS } from './units.js';

const perMinute = fc.integer({ min: 1, max: 1_000_000 });
/** Requests one after the other: how long after the one before, and how much of the limit each needs. */
const requests = fc.array(
  fc.record({
    afterMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 90_000, noNaN: true })),
    part: fc.double({ min: 0.001, max: 1.5, noNaN: true }),
  }),
  { minLength: 1, maxLength: 60 },
);

describe('a token bucket', () => {
  it('lets no more pass in any span of time than its size and what comes back meanwhile, but for one that was larger than its size', () => {
    fc.assert(
      fc.property(perMinute, requests, (limit, asked) => {
        const bucket = new TokenBucket(0);
        const passed: { atMs: number; amount: number }[] = [];
        let nowMs = 0;
        for (const { afterMs, part } of asked) {
          nowMs += afterMs;
          const amount = part * limit;
          if (bucket.waitMs(amount, limit, nowMs) > 0) continue;
          bucket.take(amount, limit, nowMs);
          passed.push({ atMs: nowMs, amount });
        }
        for (let first = 0; first < passed.length; first++) {
          let sum = 0;
          for (const { atMs, amount } of passed.slice(first)) {
            sum += amount;
            const comesBack = ((atMs - passed[first]!.atMs) * limit) / MINUTE_MS;
            expect(sum).toBeLessThanOrEqual(Math.max(limit, amount) + comesBack + limit * 1e-6 + 1e-3);
          }
        }
      }),
    );
  });

  it('tells the time after which it lets pass what it refuses now, and not before', () => {
    fc.assert(
      fc.property(perMinute, requests, fc.double({ min: 0.001, max: 3, noNaN: true }), (limit, taken, part) => {
        const build = () => {
          const bucket = new TokenBucket(0);
          let nowMs = 0;
          for (const { afterMs, part: each } of taken) {
            nowMs += afterMs;
            bucket.take(each * limit, limit, nowMs);
          }
          return { bucket, nowMs };
        };
        const { bucket, nowMs } = build();
        const amount = part * limit;
        const waitMs = bucket.waitMs(amount, limit, nowMs);
        fc.pre(waitMs > 1);
        expect(build().bucket.waitMs(amount, limit, nowMs + waitMs * 0.99)).toBeGreaterThan(0);
        expect(bucket.waitMs(amount, limit, nowMs + waitMs)).toBe(0);
      }),
    );
  });

  it('is never fuller than full, whatever is given back', () => {
    fc.assert(
      fc.property(perMinute, requests, (limit, given) => {
        const bucket = new TokenBucket(0);
        let nowMs = 0;
        for (const [index, { afterMs, part }] of given.entries()) {
          nowMs += afterMs;
          bucket.take((index % 2 === 0 ? part : -part * 2) * limit, limit, nowMs);
          expect(bucket.left(limit, nowMs)).toBeLessThanOrEqual(limit);
        }
        expect(bucket.left(limit, nowMs + given.length * 3 * MINUTE_MS)).toBe(limit);
      }),
    );
  });
});
