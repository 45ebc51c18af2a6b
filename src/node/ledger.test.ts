import { describe, expect, it } from 'vitest';
import { GiB } from '../model/units.js';
import { type EngineFootprint, MemoryLedger } from './ledger.js';

function footprint(engineId: string, gpuIndices: readonly number[], weightGiB: number, kvGiB: number): EngineFootprint {
  return { engineId, gpuIndices, weightBytes: weightGiB * GiB, kvPoolBytes: kvGiB * GiB, residueBytes: GiB };
}

function ledgerOf(hostGiB: number, ...footprints: EngineFootprint[]): MemoryLedger {
  const ledger = new MemoryLedger([80 * GiB, 80 * GiB], hostGiB * GiB);
  for (const one of footprints) ledger.add(one);
  return ledger;
}

describe('MemoryLedger', () => {
  it('charges residue, weights, KV and the pinned copy at each step of a sleep and a wake', () => {
    const ledger = ledgerOf(100, footprint('a', [0], 30, 20));
    const charges: [number, number][] = [];
    const note = () => charges.push([ledger.gpuUsedBytes(0) / GiB, ledger.hostUsedBytes / GiB]);
    ledger.found('a', 0);
    note();
    expect(ledger.beginSleep('a', 1)).toBe(true);
    note();
    ledger.sleepDone('a');
    note();
    expect(ledger.beginWake('a')).toBe(true);
    note();
    ledger.wakeDone('a');
    note();
    ledger.gone('a');
    note();
    // The pinned copy stays charged after the wake, until the process dies.
    expect(charges).toEqual([
      [51, 0],
      [51, 30],
      [1, 30],
      [51, 30],
      [51, 30],
      [0, 0],
    ]);
  });

  it('charges the workspace of an engine while it is not asleep, and starts and wakes none without room for it', () => {
    const ledger = ledgerOf(
      200,
      { ...footprint('a', [0], 30, 20), workspaceBytes: 2 * GiB },
      footprint('b', [0], 0, 27),
    );
    expect(ledger.startBytes('a')).toBe(53 * GiB);
    ledger.found('a', 0);
    expect(ledger.gpuUsedBytes(0)).toBe(53 * GiB);
    // One more GiB than there is.
    expect(ledger.canStart('b', 0)).toBe(false);
    expect(ledger.beginSleep('a', 1)).toBe(true);
    expect(ledger.sleepFreesBytes('a')).toBe(52 * GiB);
    ledger.sleepDone('a');
    expect(ledger.gpuUsedBytes(0)).toBe(1 * GiB);
    expect(ledger.hostUsedBytes).toBe(30 * GiB);
    ledger.found('b', 0);
    expect(ledger.wakeBytes('a')).toBe(52 * GiB);
    expect(ledger.canWake('a')).toBe(false);
  });

  it('refuses a wake until the victim is confirmed asleep', () => {
    const ledger = ledgerOf(200, footprint('a', [0], 30, 20), footprint('b', [0], 30, 20));
    ledger.found('a', 0);
    ledger.found('b', 1);
    expect(ledger.canWake('b')).toBe(false);
    ledger.beginSleep('a', 1);
    expect(ledger.beginWake('b')).toBe(false);
    ledger.sleepDone('a');
    expect(ledger.beginWake('b')).toBe(true);
  });

  it('keeps a failed wake charged and lets it begin again', () => {
    const ledger = ledgerOf(200, footprint('a', [0], 30, 20));
    ledger.found('a', 1);
    ledger.beginWake('a');
    expect(ledger.canWake('a')).toBe(true);
    expect(ledger.gpuUsedBytes(0)).toBe(51 * GiB);
  });

  it('needs room on every GPU of a TP group, and host RAM for the copies of all ranks', () => {
    const ledger = ledgerOf(100, footprint('tp2', [0, 1], 40, 20), footprint('b', [1], 10, 10));
    ledger.found('tp2', 0);
    expect(ledger.beginSleep('tp2', 1)).toBe(true);
    ledger.sleepDone('tp2');
    expect(ledger.hostUsedBytes).toBe(80 * GiB);
    ledger.found('b', 0);
    expect(ledger.canWake('tp2')).toBe(false);
    expect(ledger.canSleep('b', 1)).toBe(true);
    ledger.beginSleep('b', 1);
    ledger.sleepDone('b');
    expect(ledger.canWake('tp2')).toBe(true);
  });

  it('falls back to level 2 where host RAM is short', () => {
    const ledger = ledgerOf(20, footprint('a', [0], 30, 20));
    ledger.found('a', 0);
    expect(ledger.canSleep('a', 1)).toBe(false);
    expect(ledger.canSleep('a', 2)).toBe(true);
  });

  it('pins no more than the host says it has left, whatever the share of the node', () => {
    const ledger = ledgerOf(200, footprint('a', [0], 30, 20), footprint('b', [1], 30, 20));
    for (const id of ['a', 'b']) ledger.found(id, 0);
    ledger.hostSeen(70 * GiB);
    expect(ledger.beginSleep('a', 1)).toBe(true);
    expect(ledger.canSleep('b', 1)).toBe(true);
    // A reading in the middle of the copy may or may not hold it.
    ledger.hostSeen(55 * GiB);
    expect(ledger.canSleep('b', 1)).toBe(false);
    ledger.sleepDone('a');
    ledger.hostSeen(40 * GiB);
    expect(ledger.canSleep('b', 1)).toBe(true);
    ledger.hostSeen(10 * GiB);
    expect(ledger.canSleep('b', 1)).toBe(false);
    expect(ledger.canSleep('b', 2)).toBe(true);
    ledger.beginWake('a');
    ledger.wakeDone('a');
    expect(ledger.canSleep('a', 1), 'its copy is there already').toBe(true);
  });

  it('counts a copy that is begun at once, and as being made until its sleep or its process has ended', () => {
    const ledger = ledgerOf(200, footprint('a', [0], 30, 20), footprint('b', [1], 30, 20));
    for (const id of ['a', 'b']) ledger.found(id, 0);
    ledger.hostSeen(50 * GiB);
    expect(ledger.beginSleep('a', 1)).toBe(true);
    expect(ledger.pinningBytes).toBe(30 * GiB);
    expect(ledger.canSleep('b', 1)).toBe(false);
    ledger.sleepFailed('a');
    expect(ledger.pinningBytes).toBe(0);
    ledger.hostSeen(50 * GiB);
    expect(ledger.canSleep('b', 1)).toBe(true);
    expect(ledger.beginSleep('b', 1)).toBe(true);
    ledger.gone('b');
    expect(ledger.pinningBytes).toBe(0);
    ledger.found('b', 0);
    expect(ledger.beginSleep('b', 2)).toBe(true);
    expect(ledger.pinningBytes).toBe(0);
  });

  it('charges what is found even where it overflows, says so, and wakes nothing on top', () => {
    const ledger = ledgerOf(200, footprint('a', [0], 30, 20), footprint('b', [0], 30, 20));
    ledger.found('a', 0);
    ledger.found('b', 0);
    expect(ledger.overcommittedBytes()).toBe(22 * GiB);
    expect(ledger.canStart('a', 0)).toBe(false);
  });

  it('charges nothing for engines whose GPUs are unknown', () => {
    const ledger = new MemoryLedger([], Number.POSITIVE_INFINITY);
    ledger.add({ engineId: 'a', gpuIndices: [], weightBytes: 0, kvPoolBytes: 0, residueBytes: 0 });
    ledger.found('a', 1);
    expect(ledger.beginWake('a')).toBe(true);
  });

  it('refuses a GPU that the node lacks and an unknown engine', () => {
    expect(() => ledgerOf(1, footprint('a', [7], 1, 1))).toThrow(/GPU 7/);
    expect(() => ledgerOf(1).phase('ghost')).toThrow(/ghost/);
  });
});
