import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../model/clock.js';
import { KvLimit } from './kv-limit.js';
import type { SegmentReading, SegmentWrite } from './segment.js';

/** A segment that a test plays: what is written, and how much the engine holds. */
function scene(answer: SegmentWrite = { ok: true }) {
  const clock = new ManualClock();
  const told: string[] = [];
  const held = { usedBytes: 0, preallocBytes: 0 };
  const limit = new KvLimit({
    segment: {
      setLimit: async (bytes: number) => {
        told.push(`write ${bytes}`);
        return answer;
      },
      read: (): SegmentReading => ({ limitBytes: 1, ...held }),
    },
    clock,
    nudge: () => told.push('nudge'),
    onLimited: (bytes) => told.push(`limited ${bytes}`),
    onFailed: (message) => told.push(`failed: ${message}`),
  });
  return { clock, told, held, limit };
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('KvLimit', () => {
  it('tells when the engine holds no more than the limit', async () => {
    const { clock, told, held, limit } = scene();
    held.usedBytes = 80;
    held.preallocBytes = 30;
    limit.set(100);
    await settled();
    clock.advance(200);
    expect(told).toEqual(['write 100']);
    held.usedBytes = 70;
    clock.advance(50);
    expect(told).toEqual(['write 100', 'limited 100']);
    clock.advance(60_000);
    expect(told).toHaveLength(2);
  });

  it('makes an idle engine look, once', async () => {
    const { clock, told, held, limit } = scene();
    held.usedBytes = 200;
    limit.set(100);
    await settled();
    clock.advance(5_000);
    expect(told).toEqual(['write 100', 'nudge']);
  });

  it('gives up on memory that does not come free', async () => {
    const { clock, told, held, limit } = scene();
    held.usedBytes = 200;
    limit.set(100);
    await settled();
    clock.advance(31_000);
    expect(told.at(-1)).toMatch(/^failed: still holds 200 bytes/);
  });

  it('hands on why a limit could not be written', async () => {
    const { told, limit } = scene({ ok: false, message: 'no segment' });
    limit.set(100);
    await settled();
    expect(told).toEqual(['write 100', 'failed: no segment']);
  });

  it('forgets a limit for a newer one, and everything when it stops', async () => {
    const { clock, told, held, limit } = scene();
    held.usedBytes = 200;
    limit.set(100);
    await settled();
    limit.set(300);
    await settled();
    expect(told).toEqual(['write 100', 'write 300', 'limited 300']);
    limit.set(50);
    limit.stop();
    await settled();
    clock.advance(60_000);
    expect(told.at(-1)).toBe('write 50');
  });
});
