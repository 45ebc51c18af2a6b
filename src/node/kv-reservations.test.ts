import { describe, expect, it } from 'vitest';
import type { Lease } from '../model/fleet.js';
import type { OutputForecast, PoolShare } from '../model/stage.js';
import { emptyKvTotals, type HeldLease, KvReservations } from './kv-reservations.js';
import { testDemand } from './node-fixture.js';
import { PooledBound } from './pooled-bound.js';

const FORECAST: OutputForecast = { kind: 'coder', mean: 120, q50: 100, q95: 300 };

/** Calls of 100 prompt tokens, expected to write 120, bound at 500 and allowed `mostTokens` in all. */
function bench({ pools = true, mostTokens }: { pools?: boolean; mostTokens?: number } = {}) {
  const pooled = pools ? new PooledBound() : undefined;
  const totals = emptyKvTotals();
  const reservations = new KvReservations(1, totals, pooled);
  let sequence = 0;
  const demand = (forecast: OutputForecast | undefined = FORECAST) =>
    testDemand(`s${sequence++}`, 'a', { promptTokens: 100, kvTokens: 600, maxKvTokens: mostTokens, forecast });
  const grant = (forecast?: OutputForecast): HeldLease => {
    const wanted = demand(forecast);
    const lease: Lease = {
      ...{ leaseId: wanted.stageId, stageId: wanted.stageId, engineId: 'a', nodeId: 'n1', kvTokens: 600 },
      ...{ epoch: 1, grantedAtMs: 0, coldStartMs: 0 },
    };
    return reservations.add(wanted, lease);
  };
  return { pooled, totals, reservations, demand, grant };
}

describe('KvReservations', () => {
  it('holds less for many calls together than their bounds add up to, and says so beforehand', () => {
    const { reservations, demand, grant } = bench();
    for (let call = 0; call < 63; call++) grant();
    const said = reservations.reservedWith(demand());
    grant();
    expect(reservations.reservedTokens).toBe(said);
    expect(said).toBeLessThan(64 * 600 * 0.55);
    expect(said).toBeGreaterThan(64 * 220);
  });

  it('holds the bounds of a few calls, and of all where nothing is pooled', () => {
    const few = bench();
    few.grant({ ...FORECAST, q95: 5000 });
    expect(few.reservations.reservedTokens).toBe(600);
    const { reservations, grant } = bench({ pools: false });
    for (let call = 0; call < 64; call++) grant();
    expect(reservations.reservedTokens).toBe(64 * 600);
  });

  it('counts what limits would take while calls run, as it counts what is held', () => {
    const { reservations, totals, demand, grant } = bench({ pools: false });
    const { lease } = grant();
    const wanted = { ...demand(), maxKvTokens: 2400 };
    reservations.add(wanted, { ...lease, leaseId: wanted.stageId, stageId: wanted.stageId, grantedAtMs: 1_000 });
    expect(totals).toMatchObject({ reservedByteMs: 600_000, maxTokenByteMs: 600_000 });
    reservations.add(demand(), { ...lease, grantedAtMs: 2_000 });
    expect(totals).toMatchObject({ reservedByteMs: 1_800_000, maxTokenByteMs: 3_600_000 });
  });

  it('counts prompts and outputs by what they take of the pool', () => {
    const reserved = (share?: PoolShare) => {
      const { reservations, demand, grant } = bench();
      for (let call = 0; call < 32; call++) {
        const wanted = { ...demand(), share };
        reservations.add(wanted, grant().lease);
      }
      return reservations.reservedTokens;
    };
    expect(reserved({ promptTokens: 100, perOutputToken: 1 })).toBe(reserved());
    // 32 prompts take 200 more each; 32 outputs, expected and spread, twice as much.
    expect(reserved({ promptTokens: 300, perOutputToken: 2 })).toBeGreaterThan(reserved() + 32 * (200 + 120));
  });

  it('counts what was used in tokens of the pool', () => {
    const used = (share?: PoolShare) => {
      const { reservations, totals, demand, grant } = bench();
      const held = reservations.add({ ...demand(), share }, grant().lease);
      const before = totals.usedByteMs;
      reservations.end(held, { completed: true, promptTokens: 100, outputTokens: 200 }, 10);
      return totals.usedByteMs - before;
    };
    expect(used({ promptTokens: 300, perOutputToken: 2 })).toBe((used() * (300 + 200)) / (100 + 100));
  });

  it('tells whether a call outgrew its bound in tokens of the pool', () => {
    const { reservations, totals, demand, grant } = bench();
    const { lease } = grant();
    const share: PoolShare = { promptTokens: 300, perOutputToken: 2 };
    for (const outputTokens of [140, 160]) {
      const held = reservations.add({ ...demand(), share }, lease);
      reservations.end(held, { completed: true, promptTokens: 100, outputTokens }, 10);
    }
    expect(totals.overflows).toBe(1);
  });

  it('holds the whole bound of a call of which nothing is forecast', () => {
    const { reservations } = bench();
    for (let call = 0; call < 20; call++) {
      const demand = testDemand(`t${call}`, 'a', { promptTokens: 100, kvTokens: 600 });
      const lease: Lease = {
        ...{ leaseId: `t${call}`, stageId: `t${call}`, engineId: 'a', nodeId: 'n1' },
        ...{ kvTokens: 600, epoch: 1, grantedAtMs: 0, coldStartMs: 0 },
      };
      reservations.add(demand, lease);
    }
    expect(reservations.reservedTokens).toBe(20 * 600);
  });

  it('holds nothing when all have ended, whatever was learned meanwhile', () => {
    const { reservations, grant } = bench();
    const held = Array.from({ length: 30 }, (_, call) => grant({ ...FORECAST, mean: 100 / (call + 3) }));
    for (const each of held) reservations.end(each, { promptTokens: 100, outputTokens: 333, completed: true }, 10);
    expect(reservations.reservedTokens).toBe(0);
  });

  it('holds more after more was in use than was promised for many calls, and slowly less while it is not', () => {
    const { reservations, grant } = bench();
    for (let call = 0; call < 32; call++) grant();
    const first = reservations.reservedTokens;
    const read = (inUseTokens: number, nowMs: number) =>
      reservations.read({ inUseTokens, running: 32, generatedTokens: 0 }, nowMs);
    read(first + 1, 0);
    read(100, 1_000);
    const wider = reservations.reservedTokens;
    expect(wider).toBeGreaterThan(first + 1);
    read(100, 2_000);
    expect(reservations.reservedTokens).toBeLessThan(wider);
    expect(reservations.reservedTokens).toBeGreaterThan(first);
  });

  it('learns how long answers are from those that ran to their end alone', () => {
    const { pooled, reservations, grant } = bench();
    for (let call = 0; call < 50; call++) reservations.end(grant(), { promptTokens: 100, outputTokens: 3 }, 10);
    expect(pooled!.expect(FORECAST).mean).toBe(120);
    for (let call = 0; call < 50; call++) {
      reservations.end(grant(), { promptTokens: 100, outputTokens: 60, completed: true }, 10);
    }
    expect(pooled!.expect(FORECAST).mean).toBeCloseTo(60, 0);
  });

  it('holds what the engine is about to have in use where calls have outgrown what is held for them, and shows what it has', () => {
    const { reservations, demand, grant } = bench({ mostTokens: 4_000 });
    const held = grant();
    reservations.firstToken(held);
    for (const second of [0, 1, 2]) {
      const written = 700 + 100 * second;
      reservations.read({ inUseTokens: 100 + written, running: 1, generatedTokens: written }, 1_000 * second);
    }
    expect(reservations.reservedTokens).toBe(1_000 + 16 + 125);
    expect(reservations.shownTokens).toBe(1_000);
    expect(reservations.reservedWith(demand())).toBe(1_141 + 600);
    reservations.read({ inUseTokens: 10, running: 1, generatedTokens: 900 }, 3_000);
    expect(reservations.reservedTokens).toBe(600);
  });

  it('counts as reserved no more than requests allow, whatever an engine would write until the next reading', () => {
    const { reservations, totals, grant } = bench({ mostTokens: 640 });
    const [first, second] = [grant(), grant()];
    for (const held of [first, second]) reservations.firstToken(held);
    // Two answers that write five hundred tokens a second: their limits end them before the next reading.
    for (const second of [0, 1, 2]) {
      reservations.read({ inUseTokens: 400, running: 2, generatedTokens: 1_000 * second }, 1_000 * second);
    }
    expect(reservations.reservedTokens).toBeGreaterThan(2 * 640);
    reservations.end(first, { promptTokens: 100, outputTokens: 200 }, 2_100);
    reservations.end(second, { promptTokens: 100, outputTokens: 200 }, 2_200);
    expect(totals.maxTokenByteMs).toBe(640 * (2_100 + 2_200));
    expect(totals.reservedByteMs).toBeLessThanOrEqual(totals.maxTokenByteMs);
  });

  it('holds no more for many calls together than their requests allow, however wrong forecasts have been', () => {
    const { pooled, reservations, demand, grant } = bench({ mostTokens: 610 });
    for (let looks = 0; looks < 40; looks++) pooled!.observeNode(true);
    for (let call = 0; call < 31; call++) grant({ ...FORECAST, q95: 900 });
    expect(reservations.reservedWith(demand({ ...FORECAST, q95: 900 }))).toBe(32 * 610);
    grant({ ...FORECAST, q95: 900 });
    expect(reservations.reservedTokens).toBe(32 * 610);
  });

  it('counts no more as reserved than requests allow, whatever others have in use on the engine', () => {
    const { reservations, totals, grant } = bench({ mostTokens: 640 });
    const held = grant();
    reservations.read({ inUseTokens: 50_000, running: 9, generatedTokens: 0 }, 0);
    expect(reservations.reservedTokens).toBeGreaterThanOrEqual(50_000);
    reservations.end(held, { promptTokens: 100, outputTokens: 200 }, 1_000);
    expect(totals.reservedByteMs).toBe(640 * 1_000);
  });

  it('has the room of an ended call at once, and shows it when the engine does', () => {
    const { reservations, demand, grant } = bench();
    const [first, second] = [grant(), grant()];
    for (const held of [first, second]) reservations.firstToken(held);
    reservations.read({ inUseTokens: 1_100, running: 2, generatedTokens: 900 }, 0);
    reservations.end(first, { promptTokens: 100, outputTokens: 500 }, 500);
    expect(reservations.reservedTokens).toBe(600);
    expect(reservations.reservedWith(demand())).toBe(1_200);
    expect(reservations.shownTokens).toBe(1_100);
    reservations.read({ inUseTokens: 500, running: 1, generatedTokens: 900 }, 1_000);
    expect(reservations.shownTokens).toBe(600);
    reservations.end(second, { promptTokens: 100, outputTokens: 500 }, 1_500);
    expect([reservations.reservedTokens, reservations.shownTokens]).toEqual([0, 0]);
  });

  it('holds what many calls together are expected to need, or have in use', () => {
    const { reservations, demand, grant } = bench();
    for (let call = 0; call < 32; call++) grant();
    const promised = reservations.reservedTokens;
    for (const nowMs of [0, 1_000])
      reservations.read({ inUseTokens: 5_000, running: 32, generatedTokens: nowMs }, nowMs);
    // Each reading that finds room makes the margin a hair smaller.
    expect(reservations.reservedTokens).toBeCloseTo(promised, -1);
    reservations.read({ inUseTokens: 30_000, running: 32, generatedTokens: 2_000 }, 2_000);
    expect(reservations.reservedTokens).toBe(30_000);
    expect(reservations.reservedWith(demand())).toBe(30_000);
  });

  it('goes on holding for a call that has outgrown its bound while another begins', () => {
    const { reservations, grant } = bench({ mostTokens: 4_000 });
    reservations.firstToken(grant());
    reservations.read({ inUseTokens: 900, running: 1, generatedTokens: 800 }, 0);
    grant();
    reservations.read({ inUseTokens: 960, running: 2, generatedTokens: 800 }, 1_000);
    expect(reservations.reservedTokens).toBe(900 + 600 + 32);
    // An answer that is not streamed has no first token; after five seconds its prompt is taken to be in memory.
    reservations.read({ inUseTokens: 960, running: 2, generatedTokens: 800 }, 6_000);
    expect(reservations.reservedTokens).toBe(1_200);
  });

  it('goes on holding what many calls have written beyond what was expected of them, while the prompt of another is not in memory', () => {
    const { reservations, demand, grant } = bench({ mostTokens: 4_000 });
    const calls = Array.from({ length: 20 }, () => grant());
    for (const held of calls) reservations.firstToken(held);
    for (const second of [0, 1, 2]) {
      const written = 20 * (400 + 50 * second);
      reservations.read({ inUseTokens: 2_000 + written, running: 20, generatedTokens: written }, 1_000 * second);
    }
    reservations.add({ ...demand(), promptTokens: 5_000, kvTokens: 5_500 }, { ...calls[0]!.lease, grantedAtMs: 2_100 });
    reservations.read({ inUseTokens: 13_000, running: 20, generatedTokens: 20 * 550 }, 3_000);
    const held = 2_000 + 20 * 600 + 5_000;
    expect([reservations.reservedTokens, reservations.shownTokens]).toEqual([held, held]);
    expect(reservations.reservedWith(demand())).toBe(held + 100);
    for (const each of calls.slice(0, 5)) reservations.end(each, { promptTokens: 100, outputTokens: 550 }, 3_100);
    expect(reservations.reservedTokens).toBe(held - 5 * 650);
  });

  it('forgets what calls had written when the process is another one', () => {
    const { reservations, grant } = bench({ mostTokens: 4_000 });
    for (let call = 0; call < 20; call++) grant();
    const promised = reservations.reservedTokens;
    for (const nowMs of [0, 1_000]) {
      reservations.read({ inUseTokens: 12_000, running: 20, generatedTokens: 10_000 + nowMs }, nowMs);
    }
    expect(reservations.reservedTokens).toBe(14_000);
    reservations.restarted();
    expect(reservations.reservedTokens).toBeLessThan(promised * 1.2);
  });

  it('takes promises for wrong where they were, whatever is held of what was written since', () => {
    const { pooled, reservations, grant } = bench({ mostTokens: 4_000 });
    const calls = Array.from({ length: 20 }, () => grant());
    for (const held of calls) reservations.firstToken(held);
    for (const second of [0, 1, 2, 3]) {
      const written = 20 * (500 + 50 * second);
      reservations.read({ inUseTokens: 2_000 + written, running: 20, generatedTokens: written }, 1_000 * second);
    }
    // Four steps up from 3.5, though the last readings found no more than was held.
    expect(pooled!.state().margin).toBeCloseTo(3.5 + 4 * 0.4 * (1 - 0.007), 9);
  });

  it('goes on holding for calls that have outgrown their bounds when of many only a few are left', () => {
    const { reservations, demand, grant } = bench({ mostTokens: 4_000 });
    const calls = Array.from({ length: 8 }, () => grant());
    for (const held of calls) reservations.firstToken(held);
    reservations.read({ inUseTokens: 8 * 1_000, running: 8, generatedTokens: 7_200 }, 0);
    reservations.add({ ...demand(), promptTokens: 5_000, kvTokens: 5_500 }, { ...calls[0]!.lease, grantedAtMs: 500 });
    reservations.read({ inUseTokens: 8 * 1_000, running: 8, generatedTokens: 7_200 }, 1_000);
    reservations.end(calls[0]!, { promptTokens: 100, outputTokens: 900 }, 1_500);
    expect(reservations.reservedTokens).toBe(7 * 1_000 + 5_500 + 8 * 16);
  });

  it('counts over time what is held for all together', () => {
    const { reservations, totals, grant } = bench();
    const held = Array.from({ length: 32 }, () => grant());
    const tokens = reservations.reservedTokens;
    reservations.end(held[0]!, { promptTokens: 100, outputTokens: 120, completed: true }, 10);
    expect(totals.reservedByteMs).toBe(10 * tokens);
  });
});
