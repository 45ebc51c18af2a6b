import { describe, expect, it } from 'vitest';
import type { GpuDetail } from '../engine/telemetry/nvidia-smi-xml.js';
import { ManualClock } from '../model/clock.js';
import type { EngineState } from '../model/fleet.js';
import { ResidueGuard } from './residue-guard.js';

const GIB = 1024 ** 3;

function detail(...used: readonly (readonly [pid: number, gib: number | undefined])[]): GpuDetail {
  const processes = used.map(([pid, gib]) => ({ pid, name: 'VLLM::EngineCore', usedBytes: gib && gib * GIB }));
  return { uuid: 'GPU-0', name: 'H100', migMode: 'disabled', migDevices: [], processes, driverVersion: undefined };
}

/** One engine, pid 100, whose engine process 101 is in its group. */
function guarded(retire?: () => Promise<void>) {
  const state: { of: EngineState; pid: number; details: GpuDetail[] } = { of: 'sleeping', pid: 100, details: [] };
  const retired: number[] = [];
  const warnings: object[] = [];
  const guard = new ResidueGuard({
    supervisors: () => [
      {
        engineId: 'e',
        get pid() {
          return state.pid;
        },
        retire: retire ?? (async () => void retired.push(state.pid)),
      },
    ],
    stateOf: () => state.of,
    readDetails: async () => state.details,
    clock: new ManualClock(),
    logger: { warn: (fields: object) => void warnings.push(fields) },
    groupOf: (pid) => (pid === 999 ? 5 : state.pid),
  });
  const look = async (...gib: readonly number[]) => {
    for (const each of gib) {
      state.details = [detail([101, each], [999, 60])];
      await guard.look();
    }
  };
  return { state, retired, warnings, guard, look };
}

describe('ResidueGuard', () => {
  it('replaces a process that leaks with every sleep, once three readings say so', async () => {
    const { look, retired, warnings } = guarded();
    await look(1.2, 1.3, 1.2, 4.2, 4.2);
    expect(retired).toEqual([]);
    await look(4.3);
    expect(retired).toEqual([100]);
    expect(warnings).toMatchObject([{ engine: 'e', pid: 100 }]);
  });

  it('goes on where a process cannot be ended', async () => {
    const { look, warnings } = guarded(() => Promise.reject(new Error('not permitted')));
    await look(1, 4.2, 4.2, 4.2);
    expect(warnings).toMatchObject([{ engine: 'e' }, { err: { message: 'not permitted' } }]);
  });

  it('lets one high reading pass, and what an awake engine holds', async () => {
    const { look, retired, state } = guarded();
    await look(1, 9, 1, 9, 1, 9);
    state.of = 'running';
    await look(70, 70, 70, 70);
    expect(retired).toEqual([]);
  });

  it('judges a new process by itself', async () => {
    const { look, retired, state } = guarded();
    await look(1);
    state.pid = 200;
    await look(4, 4, 4, 4);
    expect(retired).toEqual([]);
  });

  it('judges nothing where the driver does not tell, or the engine wakes meanwhile', async () => {
    const { guard, look, retired, state } = guarded();
    await look(1);
    for (const details of [[], [detail([999, 60])], [detail([101, undefined])], [detail([101, undefined])]]) {
      state.details = details;
      await guard.look();
    }
    await look(5, 5);
    state.of = 'waking';
    await look(5, 5);
    expect(retired).toEqual([]);
  });
});
