import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import type { EngineSnapshot, FleetSnapshot } from '../bus/contract.js';
import { exportFleet } from './fleet-metrics.js';

const ENGINE: EngineSnapshot = {
  ...{ nodeId: 'n', engineId: 'e', model: 'm', state: 'sleeping', weights: 'sleeping' },
  ...{ leases: 2, seats: 14, running: undefined, waiting: undefined },
  ...{ kvReservedTokens: 300, kvKeptTokens: 40, kvUsedTokens: 200, kvPoolTokens: 1_000 },
};

const FLEET: FleetSnapshot = {
  ...{ atMs: 0, policy: 'maestro:edf', openWorkflows: 3, queued: { m: 7 }, floods: { m: 0.25 }, engines: [ENGINE] },
  gpus: [{ nodeId: 'n', gpu: 0, usedBytes: 10, totalBytes: 80 }],
  kv: { unit: 'bytes', reservedByteSeconds: 5, maxTokenByteSeconds: 50, usedByteSeconds: 4 },
  moves: { sleeps: 1, wakes: 2, failures: 3 },
  coldStarts: { count: 2, requestSeconds: 1.5 },
  preemptions: 6,
  outcomes: {},
};

describe('exportFleet', () => {
  it('tells what the levels know', async () => {
    const registry = new Registry();
    exportFleet(registry, () => FLEET);
    const page = await registry.metrics();
    const own = 'node="n",engine="e",model="m"';
    for (const line of [
      'maestro_workflows_open 3',
      'maestro_queued_stages{model="m"} 7',
      'maestro_flood_seat_share{model="m"} 0.25',
      `maestro_engine_state{${own},state="sleeping"} 1`,
      `maestro_engine_state{${own},state="running"} 0`,
      `maestro_engine_weights{${own},tier="sleeping"} 1`,
      `maestro_engine_requests{${own},part="leased"} 2`,
      `maestro_engine_seats{${own}} 14`,
      `maestro_kv_tokens{${own},part="reserved"} 300`,
      'maestro_gpu_memory_bytes{node="n",gpu="0",part="total"} 80',
      'maestro_kv_seconds_total{of="max_tokens",unit="bytes"} 50',
      'maestro_weight_moves_total{kind="failure"} 3',
      'maestro_cold_start_wait_seconds_total 1.5',
      'maestro_preemptions_total 6',
      'maestro_order_info{policy="maestro:edf"} 1',
    ])
      expect(page).toContain(`${line}\n`);
    expect(page).not.toContain('part="running"');
  });

  it('leaves out what is no number, and tells the rest', async () => {
    const registry = new Registry();
    const kv = { ...FLEET.kv, maxTokenByteSeconds: Number.POSITIVE_INFINITY };
    exportFleet(registry, () => ({ ...FLEET, kv, queued: { m: Number.NaN, n: 1 } }));
    const page = await registry.metrics();
    expect(page).toContain('maestro_kv_seconds_total{of="used",unit="bytes"} 4\n');
    expect(page).toContain('maestro_queued_stages{model="n"} 1\n');
    expect(page).not.toMatch(/of="max_tokens"|model="m"} (Nan|NaN)/);
  });

  it('follows the fleet, one look a page', async () => {
    const registry = new Registry();
    let looks = 0;
    exportFleet(registry, () => {
      looks += 1;
      return { ...FLEET, policy: looks === 1 ? 'edf' : 'fcfs', queued: looks === 1 ? { gone: 1 } : {} };
    });
    expect(await registry.metrics()).toContain('maestro_queued_stages{model="gone"} 1\n');
    await new Promise((resolve) => setImmediate(resolve));
    const second = await registry.metrics();
    expect(second).not.toContain('gone');
    expect(second).not.toContain('policy="edf"');
    expect(second).toContain('maestro_order_info{policy="fcfs"} 1\n');
    expect(looks).toBe(2);
  });
});
