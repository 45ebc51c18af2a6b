import { describe, expect, it } from 'vitest';
import type { FleetSnapshot } from '../bus/contract.js';
import { ManualClock } from '../model/clock.js';
import { FleetRecorder } from './fleet-recorder.js';

const SNAPSHOT = {
  atMs: 0,
  engines: [],
  gpus: [],
  kv: { unit: 'bytes', reservedByteSeconds: 1, maxTokenByteSeconds: 2, usedByteSeconds: 3 },
  coldStarts: { count: 0, requestSeconds: 0 },
  preemptions: 0,
  outcomes: { completed: 4 },
} as unknown as FleetSnapshot;

/** Lets what was promised happen. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('a fleet recorder', () => {
  it('looks again and again until it is stopped', async () => {
    const clock = new ManualClock();
    let looks = 0;
    const recorder = new FleetRecorder(async () => {
      looks += 1;
      return SNAPSHOT;
    }, clock);
    expect(await recorder.start()).toBe(true);
    for (let step = 0; step < 3; step++) {
      clock.advance(2_000);
      await settle();
    }
    expect(looks).toBe(4);
    expect((await recorder.stop())?.outcomes).toEqual({ completed: 0 });
    clock.advance(10_000);
    await settle();
    expect(looks).toBe(5);
  });

  it('keeps no timer for a target that shows no fleet: `maestro replay` against it would never end', async () => {
    const clock = new ManualClock();
    let looks = 0;
    const recorder = new FleetRecorder(async () => {
      looks += 1;
      return undefined;
    }, clock);
    expect(await recorder.start()).toBe(false);
    clock.advance(10_000);
    await settle();
    expect(looks).toBe(1);
  });
});
