/** Weights that are brought onto the node by a command before their engine starts: a process of its own, which may fail, hang, or outlive whoever started it. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { processEntry } from '../../src/engine/supervise/process-table.js';
import { StartLocks } from '../../src/engine/supervise/start-locks.js';
import { EngineSupervisor } from '../../src/engine/supervise/supervisor.js';
import { WeightFetch, type WeightFetchOptions } from '../../src/engine/supervise/weight-fetch.js';

const FAKE = join(import.meta.dirname, 'fake-vllm-process.mjs');
const QUIET = { info: () => undefined, warn: () => undefined, error: () => undefined };

let root = '';
let turns = new StartLocks();
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'maestro-fetch-'));
  turns = new StartLocks();
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A shell script as the command: `$1` is the folder; whatever it does stands in `runs` first. */
function fetchBy(script: string, name = 'w', logger: WeightFetchOptions['logger'] = QUIET): WeightFetch {
  const folder = join(root, 'models', name);
  const text = `echo ${name} $$ >> ${join(root, 'runs')}; mkdir -p "$1"; ${script}`;
  return new WeightFetch({
    ...{ engineId: name, folder, environment: process.env, logPath: join(root, `${name}.log`), turns, logger },
    command: ['bash', '-c', text, 'fetch', folder],
    clock: new WallClock(),
    graceMs: 500,
  });
}

const runs = () =>
  existsSync(join(root, 'runs')) ? readFileSync(join(root, 'runs'), 'utf8').split('\n').slice(0, -1) : [];
const record = (name = 'w') => join(root, 'models', `${name}.fetching`);
const alive = (pid: number) => ![undefined, 'Z'].includes(processEntry(pid)?.state);

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('waited 20 s in vain');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('WeightFetch', () => {
  it('runs its command where the weights are not there, and never where they are', async () => {
    await fetchBy('echo x > "$1/model.gguf"').bring();
    expect(runs()).toHaveLength(1);
    expect(existsSync(record())).toBe(false);
    await fetchBy('exit 1').bring();
    expect(runs()).toHaveLength(1);
  });

  it('tells why it failed, and what a command that ends well has not brought; the next try runs it again', async () => {
    await expect(fetchBy('echo "403 Forbidden" >&2; exit 3').bring()).rejects.toThrow(/exit code 3.*403 Forbidden/);
    await expect(fetchBy('echo "{}" > "$1/config.json"').bring()).rejects.toThrow(
      /ended well, but .* holds no weights/,
    );
    await fetchBy('echo x > "$1/model.gguf"').bring();
    expect(runs()).toHaveLength(3);
  });

  it('takes a fetch that was broken off for what it is, whatever it has brought, and ends what is left of it', async () => {
    const first = fetchBy('echo x > "$1/model.gguf"; sleep 60');
    const brought = expect(first.bring()).rejects.toThrow('could not be fetched');
    await until(() => existsSync(record()) && existsSync(join(root, 'models', 'w', 'model.gguf')));
    // The program that started it is killed, and another one comes: the first command still runs.
    const pid = Number(runs()[0]!.split(' ')[1]);
    expect(alive(pid)).toBe(true);
    turns = new StartLocks();
    await fetchBy('echo y > "$1/model.gguf"').bring();
    expect(alive(pid)).toBe(false);
    expect(readFileSync(join(root, 'models', 'w', 'model.gguf'), 'utf8')).toBe('y\n');
    await brought;
  });

  it('ends its command when it is told to', async () => {
    const fetch = fetchBy('sleep 60');
    const brought = fetch.bring();
    await until(() => existsSync(record()) && runs()[0] !== undefined);
    const pid = Number(runs()[0]!.split(' ')[1]);
    await fetch.end();
    await brought;
    expect(alive(pid)).toBe(false);
    expect(existsSync(record())).toBe(true);
  });

  it('ends its command when it is told to just as it starts', async () => {
    const logger = { info: () => void fetch.end() };
    const fetch = fetchBy('sleep 60', 'w', logger);
    await fetch.bring();
    expect(existsSync(record())).toBe(true);
  });

  it('fetches one checkpoint at a time, and one that two engines have in common once', async () => {
    const slow = 'sleep 0.3; echo x > "$1/model.gguf"';
    await Promise.all([
      fetchBy(slow, 'a').bring(),
      fetchBy(`test -e ${join(root, 'models', 'a', 'model.gguf')} || exit 7; ${slow}`, 'b').bring(),
      fetchBy('exit 8', 'a').bring(),
    ]);
    expect(runs().map((line) => line.split(' ')[0])).toEqual(['a', 'b']);
  });
});

describe('EngineSupervisor', () => {
  const supervisor = (fetch: WeightFetch, firstMs = 20) =>
    new EngineSupervisor({
      launch: {
        ...{ engineId: 'e', program: [process.execPath, FAKE], weights: 'w', servedName: 'w', gpuIndices: [0] },
        ...{ url: `unix:${join(root, 's.sock')}`, sleep: true, maxNumSeqs: 8, kvDtype: 'bf16', args: [], env: {} },
      },
      ...{ stateDir: root, clock: new WallClock(), locks: new StartLocks(), logger: QUIET, fetch },
      backoff: { firstMs, mostMs: 2 * firstMs, soundMs: 60_000 },
      graceMs: 1_000,
    });

  it('starts its engine when the weights have come, at the second try if need be', async () => {
    mkdirSync(join(root, 'models'));
    const engine = supervisor(
      fetchBy(`sleep 0.3; test $(wc -l < ${join(root, 'runs')}) -ge 2 && echo x > "$1/m.gguf"`),
    );
    engine.start();
    await until(() => engine.state === 'fetching');
    expect([engine.pid, engine.comesBack]).toEqual([undefined, false]);
    await until(() => engine.failure?.includes('could not be fetched') ?? false);
    await until(() => engine.state === 'serving');
    expect(runs()).toHaveLength(2);
    await engine.stop();
  });

  it('still has to fetch them between two tries, so that nobody waits for it', async () => {
    const engine = supervisor(fetchBy('exit 1'), 60_000);
    engine.start();
    await until(() => engine.failure !== undefined);
    expect([engine.state, engine.comesBack]).toEqual(['fetching', false]);
    await engine.stop();
    expect(engine.state).toBe('stopped');
  });

  it('fetches nothing that it is told to stop before', async () => {
    const engine = supervisor(fetchBy('sleep 60'));
    engine.start();
    await engine.stop();
    expect([engine.state, runs()]).toEqual(['stopped', []]);
  });

  it.each(['stop', 'release'] as const)('gives a fetch up at once: %s', async (how) => {
    const engine = supervisor(fetchBy('sleep 60'));
    engine.start();
    await until(() => existsSync(record()) && runs()[0] !== undefined);
    const pid = Number(runs()[0]!.split(' ')[1]);
    await engine[how]();
    expect(alive(pid)).toBe(false);
    expect(engine.state).toBe('stopped');
  });
});
