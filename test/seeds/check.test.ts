import { afterEach, describe, expect, it, vi } from 'vitest';
import { runSimulation } from '../../sim/simulation.js';
import { SRTF } from '../../src/global/order/srtf.js';
import { MemoryLedger } from '../../src/node/ledger.js';
import { randomWorkflows, SMALL_FLEET, testScenario } from '../sim-scenario.js';
import { violations } from './check.js';
import { starvedStages } from './starvation.js';

afterEach(() => vi.restoreAllMocks());

describe('the invariants of random runs', () => {
  it('fire where a ledger promises memory that is not there', () => {
    const workflows = randomWorkflows(10, 1);
    const run = () => violations(workflows, runSimulation(testScenario(SMALL_FLEET, workflows)));
    expect(run()).toEqual([]);
    vi.spyOn(MemoryLedger.prototype, 'canWake').mockReturnValue(true);
    vi.spyOn(MemoryLedger.prototype, 'wakeBytes').mockReturnValue(0);
    expect(run().join()).toContain('bytes were promised that no GPU or host has');
  });

  it('fire where nobody lets an overdue stage through', () => {
    expect(starvedStages(SRTF, 1)).toEqual([]);
    expect(starvedStages(SRTF, 1, 0).length).toBeGreaterThan(0);
  });
});
