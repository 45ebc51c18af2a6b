import { describe, expect, it } from 'vitest';
import { RecentShift } from './recent-shift.js';

/** Feeds residuals one after the other, each as if it had begun just before it ended. */
function fed(residuals: readonly number[], memory = 16): RecentShift {
  const shift = new RecentShift(100, memory);
  for (const residual of residuals) shift.observe('research', shift.of('research').mean, residual);
  return shift;
}

describe('RecentShift', () => {
  it('shifts by nothing before it has seen a few, and templates that it does not know', () => {
    expect(fed([0.5, 0.5, 0.5]).of('research').mean).toBe(0);
    expect(fed(new Array(100).fill(0.5)).of('coding').shift).toBe(0);
  });

  it('follows what lasts', () => {
    const blocks = Array.from({ length: 1000 }, (_, call) => (Math.floor(call / 100) % 2 === 0 ? 0.4 : -0.4));
    const shift = fed(blocks);
    expect(shift.of('research').mean).toBeCloseTo(-0.4, 1);
    expect(shift.of('research').shift).toBeLessThan(-0.3);
  });

  it('believes in nothing that does not come back', () => {
    const alternating = Array.from({ length: 1000 }, (_, call) => (call % 8 < 4 ? 0.4 : -0.4));
    const shift = fed(alternating, 4);
    expect(Math.abs(shift.of('research').mean)).toBeGreaterThan(0.1);
    expect(shift.of('research').shift).toBeCloseTo(0, 10);
  });

  it('takes an outlier for no more than a factor of e', () => {
    expect(fed([0, 0, 0, 100], 4).of('research').mean).toBe(0.25);
  });

  it('goes on after a restart as if nothing had happened', () => {
    const before = fed(Array.from({ length: 200 }, (_, call) => (Math.floor(call / 50) % 2) / 2));
    const after = new RecentShift(100, 16);
    after.restore(JSON.parse(JSON.stringify(before.state())));
    expect(after.of('research').shift).toBeCloseTo(before.of('research').shift, 2);
  });
});
