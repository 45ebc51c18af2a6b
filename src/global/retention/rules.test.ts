import { describe, expect, it } from 'vitest';
import { RETENTION_RULES, type ToolGap } from './rules.js';

const GAP: ToolGap = {
  returns: { chance: 1, reusedShare: 1, pausesMs: [1_000, 2_000, 3_000, 60_000] },
  contextTokens: 40_000,
  poolTokens: 100_000,
  recomputeMs: 2_000,
  queueWaitMs: 0,
};
const keepMs = (rule: keyof typeof RETENTION_RULES, change: Partial<ToolGap> = {}) =>
  RETENTION_RULES[rule].keepMs({ ...GAP, ...change });

describe('retention rules', () => {
  it('rent: keeps as long as another return is worth the memory that waits for it', () => {
    // Two fifths of an engine for 2.25 s, which it lies there on the mean, cost 0.9 s; three of four come back by then, for 1.5 s of work. The fourth would cost another 5.7 s.
    expect(keepMs('rent')).toBe(3_001);
    // A tenth of the memory for the same work: the last return is still not worth its wait, with a hundredth it is.
    expect(keepMs('rent', { contextTokens: 10_000 })).toBe(3_001);
    expect(keepMs('rent', { contextTokens: 1_000 })).toBe(60_001);
    expect(keepMs('rent', { contextTokens: 100_000, recomputeMs: 1_000 })).toBe(0);
    expect(keepMs('rent', { recomputeMs: 100 })).toBe(0);
  });

  it('rent: keeps nothing for those who hardly ever come back, and tries those of whom nothing is known', () => {
    expect(keepMs('rent', { returns: { ...GAP.returns!, chance: 0.05 } })).toBe(0);
    expect(keepMs('rent', { returns: undefined })).toBe(10_000);
  });

  it('continuum: weighs the time itself against the recomputation and the wait in the queue', () => {
    expect(keepMs('continuum')).toBe(0);
    expect(keepMs('continuum', { recomputeMs: 6_000 })).toBe(3_001);
    expect(keepMs('continuum', { queueWaitMs: 300_000 })).toBe(60_001);
    expect(keepMs('continuum', { returns: undefined })).toBe(10_000);
  });

  it('progress-ttl: for as long as nine pauses in ten last', () => {
    expect(keepMs('progress-ttl')).toBe(3_001);
    expect(keepMs('progress-ttl', { returns: { ...GAP.returns!, pausesMs: [5, 6] } })).toBe(6);
  });

  it('none: keeps nothing', () => {
    expect(keepMs('none')).toBe(0);
  });
});
