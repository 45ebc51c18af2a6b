import { describe, expect, it } from 'vitest';
import { KvInUse } from './kv-in-use.js';

/** One sequence that has written so many tokens. */
function reading(inUseTokens: number, generatedTokens: number | undefined, running = 1) {
  return { inUseTokens, running, generatedTokens };
}

describe('KvInUse', () => {
  it('knows nothing before the first reading', () => {
    const inUse = new KvInUse();
    inUse.granted(500);
    expect(inUse.tokens).toBe(0);
  });

  it('is ahead of a call that goes on writing', () => {
    const inUse = new KvInUse();
    for (let second = 0; second < 10; second++) {
      const used = 1_000 + 144 * second;
      if (second > 1) expect(inUse.tokens).toBeGreaterThanOrEqual(used);
      inUse.read(reading(used, 144 * second), 0, 1_000 * second);
      expect(inUse.tokens).toBeLessThan(used + 200);
    }
  });

  it('has a block for each sequence where the engine does not count what it writes', () => {
    const inUse = new KvInUse();
    for (const nowMs of [0, 1_000]) inUse.read(reading(1_000, undefined, 3), 0, nowMs);
    expect(inUse.tokens).toBe(1_048);
  });

  it('takes a sequence that began between two readings to write on as fast as it did', () => {
    const inUse = new KvInUse();
    inUse.read(reading(0, 0, 0), 0, 0);
    inUse.read(reading(1_000, 100, 1), 0, 1_000);
    expect(inUse.tokens).toBe(1_000 + 16 + 125);
    inUse.read(reading(2_000, 300, 4), 0, 2_000);
    // 200 by two and a half sequences are 80 each, but one had just written 100.
    expect(inUse.tokens).toBe(2_000 + 4 * (16 + 113));
    // The pace is known after a pause, too.
    inUse.read(reading(1_000, 900, 1), 0, 60_000);
    expect(inUse.tokens).toBe(1_000 + 16 + 113);
  });

  it('adds who is let in, and takes off who has ended', () => {
    const inUse = new KvInUse();
    inUse.read(reading(1_000, 0), 0, 0);
    inUse.granted(600);
    expect(inUse.tokens).toBe(1_616);
    inUse.ended(500, 700, 0, 500);
    expect(inUse.tokens).toBe(916);
    // It was let in and ended in between: no reading has seen it.
    inUse.ended(600, 200, 1, 600);
    expect(inUse.tokens).toBe(316);
    expect(inUse.seenTokens).toBe(1_000);
    inUse.ended(900, 900, 0, 700);
    expect(inUse.tokens).toBe(0);
  });

  it('remembers a call that has outgrown its bound while the prompt of another is not in memory yet', () => {
    const inUse = new KvInUse();
    inUse.read(reading(1_000, 0), 0, 0);
    inUse.granted(5_000);
    inUse.read(reading(1_400, 0, 2), 5_000, 1_000);
    expect(inUse.tokens).toBe(1_000 + 5_000 + 32);
    // No more than all that is in use and the whole of the other.
    inUse.granted(9_000);
    inUse.read(reading(1_400, 0, 2), 5_000, 2_000);
    expect(inUse.tokens).toBe(1_400 + 5_000 + 32);
    inUse.read(reading(5_400, 0, 2), 0, 3_000);
    expect(inUse.tokens).toBe(5_432);
  });

  it('drops a reading that is old, and what another process told', () => {
    const inUse = new KvInUse();
    inUse.read(reading(1_000, 0), 0, 0);
    inUse.ended(500, 500, 0, 2_001);
    expect(inUse.tokens).toBe(0);
    inUse.read(reading(1_000, 500), 0, 3_000);
    inUse.restarted();
    expect(inUse.tokens).toBe(0);
    inUse.read(reading(100, 7), 0, 3_100);
    expect(inUse.tokens).toBe(116);
  });
});
