import { describe, expect, it } from 'vitest';
import { nextInt, SeededRng } from '../model/rng.js';
import { GiB } from '../model/units.js';
import { MemoryLedger } from './ledger.js';

const SCHEDULES = 10_000;
const STEPS = 40;
const GPU_CAPACITIES = [80 * GiB, 80 * GiB, 24 * GiB];

/** One random fleet of engines under one random order of starts, sleeps, wakes, moves of KV limits, failures and deaths; returns how many steps were allowed. */
function runSchedule(seed: number): number {
  const rng = new SeededRng(seed);
  const hostCapacityBytes = (20 + nextInt(rng, 200)) * GiB;
  const ledger = new MemoryLedger(GPU_CAPACITIES, hostCapacityBytes);
  const engineIds = ['a', 'b', 'c', 'd', 'e'];
  for (const engineId of engineIds) {
    const first = nextInt(rng, GPU_CAPACITIES.length);
    const gpuIndices = nextInt(rng, 3) === 0 ? [first, (first + 1) % GPU_CAPACITIES.length] : [first];
    ledger.add({
      engineId,
      gpuIndices,
      // Odd sizes on purpose: sums must be exact to the byte.
      weightBytes: nextInt(rng, 40) * GiB + nextInt(rng, 1000),
      kvPoolBytes: nextInt(rng, 30) * GiB + nextInt(rng, 1000) + 0.5,
      residueBytes: nextInt(rng, 2) * GiB + 7,
    });
  }
  let allowed = 0;
  for (let step = 0; step < STEPS; step++) {
    const engineId = engineIds[nextInt(rng, engineIds.length)]!;
    const phase = ledger.phase(engineId);
    const choice = nextInt(rng, 10);
    if (choice === 0) ledger.gone(engineId);
    else if (phase === 'absent') {
      const level = nextInt(rng, 3) as 0 | 1 | 2;
      if (ledger.canStart(engineId, level)) {
        ledger.found(engineId, level);
        allowed++;
      }
    } else if (phase === 'awake' && choice > 7) {
      // An elastic pool: what was seen to be given back is free, what is lent is charged first.
      const kvBytes = nextInt(rng, Math.floor(2 * ledger.kvBytes(engineId)) + 1);
      if (kvBytes <= ledger.kvBytes(engineId)) ledger.shrinkKv(engineId, kvBytes);
      else if (ledger.growKv(engineId, kvBytes)) allowed++;
    } else if (phase === 'awake') {
      if (ledger.beginSleep(engineId, choice < 5 ? 1 : 2)) allowed++;
    } else if (phase === 'asleep') {
      const kvBytes = nextInt(rng, Math.floor(ledger.kvBytes(engineId)) + 1);
      if (choice < 5 ? ledger.beginWake(engineId) : ledger.beginWake(engineId, kvBytes)) allowed++;
    } else if (phase === 'falling-asleep') {
      if (choice < 7) ledger.sleepDone(engineId);
      else ledger.sleepFailed(engineId);
    } else if (choice < 7) ledger.wakeDone(engineId);
    else ledger.beginWake(engineId);

    ledger.checkIntegrity();
    if (ledger.overcommittedBytes() > 0) throw new Error(`seed ${seed}, step ${step}: over capacity`);
    for (let gpu = 0; gpu < ledger.gpuCount; gpu++) {
      if (ledger.gpuUsedBytes(gpu) < 0) throw new Error(`seed ${seed}, step ${step}: negative`);
    }
  }
  for (const engineId of engineIds) ledger.gone(engineId);
  if (ledger.hostUsedBytes !== 0 || ledger.gpuUsedBytes(0) !== 0) throw new Error(`seed ${seed}: not empty at the end`);
  return allowed;
}

describe('MemoryLedger, random schedules', () => {
  it(`never exceeds capacity in ${SCHEDULES} schedules of start, sleep, wake, growth, shrinking, failure and death`, () => {
    let allowed = 0;
    for (let seed = 0; seed < SCHEDULES; seed++) allowed += runSchedule(seed);
    // The schedules do something: a ledger that refuses everything would pass otherwise.
    expect(allowed).toBeGreaterThan(5 * SCHEDULES);
  });
});
