import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { request } from 'undici';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import type { EngineLaunch } from '../../src/engine/supervise/launch-command.js';
import { groupMembers, processEntry } from '../../src/engine/supervise/process-table.js';
import { StartLocks } from '../../src/engine/supervise/start-locks.js';
import { EngineSupervisor, type SupervisorOptions } from '../../src/engine/supervise/supervisor.js';
import { VllmClient } from '../../src/engine/vllm/client.js';
import { DEFAULT_MONITOR_CONFIG, EngineMonitor } from '../../src/engine/vllm/monitor.js';
import { freePort } from './free-port.js';

const FAKE = fileURLToPath(new URL('./fake-vllm-process.mjs', import.meta.url));
const QUIET = { info: () => undefined, warn: () => undefined, error: () => undefined };

let stateDir = '';
let port = 0;
const supervisors: EngineSupervisor[] = [];

beforeEach(async () => {
  stateDir = mkdtempSync(join(tmpdir(), 'maestro-supervise-'));
  port = await freePort();
});

afterEach(async () => {
  await Promise.all(supervisors.splice(0).map((supervisor) => supervisor.stop()));
  rmSync(stateDir, { recursive: true, force: true });
});

function launch(env: Record<string, string> = {}): EngineLaunch {
  return {
    engineId: 'e1',
    program: [process.execPath, FAKE],
    weights: 'tiny',
    servedName: 'tiny',
    url: `http://127.0.0.1:${port}`,
    gpuIndices: [0],
    sleep: true,
    maxNumSeqs: 8,
    kvDtype: 'bf16',
    args: [],
    env,
  };
}

function supervisor(env: Record<string, string> = {}, options: Partial<SupervisorOptions> = {}): EngineSupervisor {
  const made = new EngineSupervisor({
    launch: launch(env),
    stateDir,
    clock: new WallClock(),
    locks: new StartLocks(),
    logger: QUIET,
    backoff: { firstMs: 50, mostMs: 200, soundMs: 60_000 },
    graceMs: 1_000,
    ...options,
  });
  supervisors.push(made);
  made.start();
  return made;
}

describe('EngineSupervisor', () => {
  it('starts an engine, waits until it serves, and ends its whole group', async () => {
    const engine = supervisor();
    await until(() => engine.state === 'serving');
    const pids = await serverPids();
    expect(pids[0]).toBe(engine.pid);
    expect(groupMembers(engine.pid!)).toEqual(expect.arrayContaining(pids));
    await engine.stop();
    expect(pids.filter(alive)).toEqual([]);
    expect(readFileSync(engine.logPath, 'utf8')).toContain('engine pid');
  });

  it('starts it again when it ends with code 0, and tells why it ended', async () => {
    const engine = supervisor();
    await until(() => engine.state === 'serving');
    const [first] = await serverPids();
    await request(`http://127.0.0.1:${port}/die`).catch(() => undefined);
    await until(() => engine.state === 'serving' && engine.pid !== first);
    expect([...engine.exits]).toEqual([['engine-died', 1]]);
  });

  it('sweeps the engine that a killed API server leaves behind', async () => {
    const engine = supervisor();
    await until(() => engine.state === 'serving');
    const [server, child] = await serverPids();
    process.kill(server!, 'SIGKILL');
    await until(() => !alive(child!) && engine.state === 'serving');
    expect([...engine.exits]).toEqual([['killed', 1]]);
  });

  it('ends one that does not serve in time, and starts it again', async () => {
    const engine = supervisor({ FAKE_NEVER_SERVES: '1' }, { startLimitMs: 300 });
    await until(() => engine.pid !== undefined);
    const first = engine.pid!;
    await until(() => engine.pid !== undefined && engine.pid !== first);
    expect(alive(first)).toBe(false);
    expect([...engine.exits.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0);
  });

  it('kills what does not go by itself', async () => {
    const engine = supervisor({ FAKE_STUBBORN: '1' });
    await until(() => engine.state === 'serving');
    const pids = await serverPids();
    await engine.stop();
    expect(pids.filter(alive)).toEqual([]);
  });

  it('ends a server that listens no more and hangs on its way out, and starts it again', async () => {
    const engine = supervisor({}, { deafLimitMs: 300 });
    // Told from the beginning, when nobody listens because it starts.
    const told: number[] = [];
    const client = new VllmClient({ url: `http://127.0.0.1:${port}` });
    const monitor = new EngineMonitor(
      client,
      new WallClock(),
      { ...DEFAULT_MONITOR_CONFIG, pollMs: 20, downPollMs: 20 },
      {
        ...{ up: () => undefined, down: () => undefined, metrics: () => undefined, outstanding: () => 0 },
        adapters: () => undefined,
        refused: (forMs) => {
          told.push(forMs);
          engine.refused(forMs + 60_000);
        },
      },
    );
    await monitor.start();
    try {
      await until(() => engine.state === 'serving');
      const pids = await serverPids();
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect(pids.every(alive)).toBe(true);
      await request(`http://127.0.0.1:${port}/deaf`).catch(() => undefined);
      await until(() => engine.exits.size === 1 && engine.state === 'serving' && engine.pid !== undefined);
      expect(pids.filter(alive)).toEqual([]);
      expect(engine.pid).not.toBe(pids[0]);
      expect(Math.max(...told)).toBeGreaterThan(0);
    } finally {
      monitor.stop();
      await client.close();
    }
  });

  it('tells that a server is not its own to end, and why that ends some day', async () => {
    const errors: object[] = [];
    const logger = { ...QUIET, error: (fields: object) => errors.push(fields) };
    const engine = supervisor({}, { deafLimitMs: 0, logger });
    await until(() => engine.state === 'serving');
    const kill = vi.spyOn(process, 'kill').mockImplementation(() => {
      throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
    });
    try {
      engine.refused(60_000);
      await until(() => errors.length === 1);
      await expect(engine.retire()).rejects.toThrow('EPERM');
    } finally {
      kill.mockRestore();
    }
    expect(errors).toMatchObject([{ engine: 'e1', err: { code: 'EPERM' } }]);
    process.kill(engine.pid!, 'SIGKILL');
    await until(() => engine.exits.size > 0);
    expect([...engine.exits]).toEqual([['killed', 1]]);
  });

  it('replaces a process that is used up, which is no crash', async () => {
    const engine = supervisor({}, { backoff: { firstMs: 600_000, mostMs: 600_000, soundMs: 60_000 } });
    await until(() => engine.state === 'serving');
    const pids = await serverPids();
    await engine.retire();
    expect(pids.filter(alive)).toEqual([]);
    await until(() => engine.state === 'serving' && engine.pid !== pids[0]);
    expect([...engine.exits]).toEqual([['stopped', 1]]);
    expect(engine.failure).toBeUndefined();
  });

  it.each(['stop', 'release'] as const)(
    'leaves nothing behind when it is told to %s just as it starts',
    async (how) => {
      let told: Promise<void> | undefined;
      const environment = {
        ...process.env,
        // Read when the process is made.
        get TOLD() {
          told ??= engine[how]();
          return 'x';
        },
      };
      const engine = supervisor({}, { environment });
      await until(() => told !== undefined);
      await told;
      await until(() => engine.pid === undefined || groupMembers(engine.pid).length === 0);
      expect(engine.state).toBe('stopped');
    },
  );

  it('stays told to stop though the engine still says that it is well', async () => {
    const engine = supervisor({ FAKE_SLOW_HEALTH: '300', FAKE_STUBBORN: '1' });
    await until(() => existsSync(engine.logPath) && readFileSync(engine.logPath, 'utf8').includes('asked'));
    const { pid } = engine;
    await engine.stop();
    expect([engine.state, groupMembers(pid!)]).toEqual(['stopped', []]);
  });

  it('takes a running engine over after a restart of its own, and can still end it', async () => {
    const before = supervisor();
    await until(() => before.state === 'serving');
    const pids = await serverPids();
    await before.release();
    expect(pids.every(alive)).toBe(true);
    const after = supervisor();
    await until(() => after.state === 'serving');
    expect(after.pid).toBe(pids[0]);
    expect(await serverPids()).toEqual(pids);
    await after.stop();
    expect(pids.filter(alive)).toEqual([]);
  });

  it('ends an engine of another model that an earlier run has left, and starts its own', async () => {
    const before = supervisor();
    await until(() => before.state === 'serving');
    const pids = await serverPids();
    await before.release();
    const after = supervisor({}, { launch: { ...launch(), weights: 'another', servedName: 'another' } });
    await until(() => after.state === 'serving');
    expect(pids.filter(alive)).toEqual([]);
    expect(readFileSync(join(stateDir, 'run', 'e1.json'), 'utf8')).toContain('"another"');
  });

  it('sees the end of an engine that it took over', async () => {
    const before = supervisor();
    await until(() => before.state === 'serving');
    await before.release();
    const after = supervisor();
    await until(() => after.state === 'serving');
    const adopted = after.pid;
    process.kill(adopted!, 'SIGKILL');
    await until(() => after.state === 'serving' && after.pid !== adopted);
  });

  it('starts an engine on a full disk, and writes the record by which it is found again when there is room', async () => {
    mkdirSync(join(stateDir, 'run'));
    const record = join(stateDir, 'run', 'e1.json');
    symlinkSync('/dev/full', `${record}.new`);
    // A folder that cannot hold a log either.
    writeFileSync(join(stateDir, 'logs'), '');
    const engine = supervisor();
    await until(() => engine.state === 'serving');
    expect(engine.failure).toBeUndefined();
    expect(existsSync(record)).toBe(false);
    rmSync(`${record}.new`);
    await until(() => existsSync(record));
    await engine.release();
    const after = supervisor();
    await until(() => after.state === 'serving');
    expect(after.pid).toBe(engine.pid);
  });

  it('gives a wrong command line up instead of trying for ever', async () => {
    const engine = supervisor({ FAKE_REFUSES: 'unrecognized arguments: --typo' });
    expect(engine.comesBack).toBe(true);
    await until(() => engine.state === 'given-up');
    expect(engine.comesBack).toBe(false);
    expect(engine.failure).toContain('bad-arguments');
    expect([...engine.exits]).toEqual([['bad-arguments', 1]]);
  });

  it('is not waited for when it keeps ending', async () => {
    const engine = supervisor({}, { backoff: { firstMs: 1, mostMs: 1, soundMs: 60_000 } });
    for (let ends = 1; ends <= 5; ends++) {
      await until(() => engine.state === 'serving');
      expect(engine.comesBack).toBe(false);
      process.kill(engine.pid!, 'SIGKILL');
      await until(() => engine.state !== 'serving');
      expect(engine.comesBack).toBe(ends < 5);
    }
  });

  it('does not start on a port that somebody else has, and starts when it is free', async () => {
    const other = createServer().listen(port, '127.0.0.1');
    const engine = supervisor();
    await until(() => engine.failure?.includes('in use') ?? false);
    other.close();
    await until(() => engine.state === 'serving');
  });
});

async function serverPids(): Promise<number[]> {
  const { body } = await request(`http://127.0.0.1:${port}/pids`);
  return (await body.json()) as number[];
}

function alive(pid: number): boolean {
  const entry = processEntry(pid);
  return entry !== undefined && entry.state !== 'Z';
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('waited 20 s in vain');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
