import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type Clock, ManualClock } from '../../model/clock.js';
import { CrashBackoff } from './crash-backoff.js';
import { adoptEngine, sweepGroup } from './engine-process.js';
import { classifyExit, type EndedProcess, type ExitReason } from './exit-reason.js';
import { type EngineLaunch, launchCommand, launchEnvironment } from './launch-command.js';
import { logTail, openLog } from './log-file.js';
import { type ProcessEntry, parseStat, processEntry } from './process-table.js';
import { bootId, forgetRunRecord, liveRunRecords, readLiveRunRecord, writeRunRecord } from './run-record.js';
import { StartLocks } from './start-locks.js';
import { claimStateDir } from './state-lock.js';

describe('classifyExit', () => {
  const GUARD =
    'ValueError: Free memory on device cuda:0 (9.1/79.2 GiB) on startup is less than desired GPU memory utilization (0.92, 72.8 GiB).';
  const CASES: [string, Partial<EndedProcess>, ExitReason][] = [
    ['asked, whatever the code', { asked: true, code: 0, served: true }, 'stopped'],
    ['code 0 without being asked is a dead engine', { code: 0, served: true }, 'engine-died'],
    [
      'the engine says that it died',
      { code: 1, served: true, logTail: 'EngineDeadError: EngineCore encountered' },
      'engine-died',
    ],
    ['the start-up guard', { code: 1, logTail: GUARD }, 'no-room'],
    ['others gave memory back', { code: 1, logTail: 'AssertionError: Error in memory profiling.' }, 'no-room'],
    [
      'GPU memory',
      { code: 1, served: true, logTail: 'torch.OutOfMemoryError: CUDA out of memory. Tried' },
      'out-of-memory',
    ],
    ['the port', { code: 1, logTail: 'OSError: [Errno 98] Address already in use' }, 'port-taken'],
    ['argparse', { code: 2, logTail: 'vllm serve: error: unrecognized arguments: --foo' }, 'bad-arguments'],
    ['a value refused at start', { code: 1, logTail: 'ValueError: model type `x` is not supported' }, 'bad-arguments'],
    ['a ValueError of one request, later', { code: 1, served: true, logTail: 'ValueError: whatever' }, 'crashed'],
    ['killed from outside', { code: null, signal: 'SIGKILL', served: true }, 'killed'],
    ['killed, as a shell tells it', { code: 137, served: true }, 'killed'],
    ['a segmentation fault', { code: null, signal: 'SIGSEGV', served: true }, 'crashed'],
  ];
  it.each(CASES)('%s', (_name, given, reason) => {
    const plain: EndedProcess = { code: 1, signal: null, asked: false, served: false, logTail: '' };
    expect(classifyExit({ ...plain, ...given })).toBe(reason);
  });
});

describe('CrashBackoff', () => {
  it('doubles up to a limit and forgets after sound service', () => {
    const backoff = new CrashBackoff({ firstMs: 10, mostMs: 50, soundMs: 1000 });
    expect([backoff.failed(0), backoff.failed(1), backoff.failed(2), backoff.failed(3)]).toEqual([10, 20, 40, 50]);
    backoff.serving(100);
    expect(backoff.failed(1099)).toBe(50);
    backoff.serving(2000);
    backoff.serving(2500);
    expect(backoff.failed(3000)).toBe(10);
    expect(backoff.count).toBe(1);
  });
});

const LAUNCH: EngineLaunch = {
  engineId: 'e1',
  program: ['vllm', 'serve'],
  weights: 'meta-llama/Llama-3.1-8B-Instruct',
  servedName: 'llama',
  url: 'http://127.0.0.1:8001',
  gpuIndices: [2, 3],
  sleep: true,
  maxNumSeqs: 64,
  maxModelLen: 8192,
  kvMemoryBytes: 1000,
  kvDtype: 'bf16',
  args: ['--max-num-seqs', '32'],
  env: { HF_HOME: '/data' },
};

describe('launchCommand', () => {
  it('follows the launch contract and lets own flags win', () => {
    expect(launchCommand(LAUNCH)).toEqual([
      ...['vllm', 'serve', 'meta-llama/Llama-3.1-8B-Instruct', '--served-model-name', 'llama'],
      ...['--host', '127.0.0.1', '--port', '8001', '--tensor-parallel-size', '2', '--max-num-seqs', '64'],
      ...['--scheduling-policy', 'priority', '--enable-prompt-tokens-details', '--enable-request-id-headers'],
      ...['--enable-server-load-tracking', '--enable-sleep-mode', '--max-model-len', '8192'],
      ...['--kv-cache-memory-bytes', '1000', '--gpu-memory-utilization', '0.1', '--max-num-seqs', '32'],
    ]);
  });

  it.each([
    [{ sleep: false }, '', '--enable-sleep-mode'],
    [{ url: 'unix:/run/e1.sock' }, '--uds /run/e1.sock', '--port'],
    [{ kvDtype: 'fp8' as const }, '--kv-cache-dtype fp8', ''],
    [{ toolCallParser: 'hermes' }, '--enable-auto-tool-choice --tool-call-parser hermes', ''],
    [{ reasoningParser: 'qwen3' }, '--reasoning-parser qwen3', ''],
    [{ gpuIndices: [] }, '--tensor-parallel-size 1', ''],
    [{}, '', '--enable-lora'],
    [
      { adapters: { planner: '/a/planner', critic: 'org/critic' } },
      '--enable-lora --max-loras 2 --lora-modules planner=/a/planner critic=org/critic --max-num-seqs 32',
      '',
    ],
    [{ gpuIndices: [0, 1, 2, 3], dataParallel: 2 }, '--tensor-parallel-size 2 --data-parallel-size 2 ', ''],
  ])('with %j says "%s" and not "%s"', (changes, said, notSaid) => {
    const text = launchCommand({ ...LAUNCH, ...changes }).join(' ');
    expect(text).toContain(said);
    if (notSaid) expect(text).not.toContain(notSaid);
  });

  it('gives the engine its GPUs and the control endpoints', () => {
    expect(launchEnvironment(LAUNCH, { PATH: '/bin', HF_HOME: '/other' })).toEqual({
      PATH: '/bin',
      VLLM_SERVER_DEV_MODE: '1',
      CUDA_DEVICE_ORDER: 'PCI_BUS_ID',
      CUDA_VISIBLE_DEVICES: '2,3',
      HF_HOME: '/data',
    });
  });
});

describe('StartLocks', () => {
  it('starts one at a time on a GPU, in order, and others beside it', async () => {
    const locks = new StartLocks();
    const log: string[] = [];
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const start = (name: string, gpus: number[], fails = false) =>
      locks.hold(gpus, async () => {
        log.push(`+${name}`);
        await turn();
        await turn();
        log.push(`-${name}`);
        if (fails) throw new Error(name);
      });
    const all = Promise.allSettled([start('a', [0], true), start('b', [0, 1]), start('c', [1]), start('d', [2])]);
    expect(locks.busy([1])).toBe(true);
    await all;
    const order = (name: string) => log.indexOf(name);
    expect(order('-a')).toBeLessThan(order('+b'));
    expect(order('-b')).toBeLessThan(order('+c'));
    expect(order('+d')).toBeLessThan(order('-a'));
    expect(locks.busy([0, 1, 2])).toBe(false);
  });
});

describe('files', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maestro-supervise-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('keeps the logs of the last runs', () => {
    const path = join(folder, 'logs', 'e.log');
    for (const text of ['one', 'two', 'three', 'four', 'five']) writeFileSync(openLog(path), text);
    expect(readFileSync(path, 'utf8')).toBe('five');
    expect([1, 2, 3].map((index) => logTail(`${path}.${index}`))).toEqual(['four', 'three', 'two']);
    expect(logTail(`${path}.4`)).toBe('');
    expect(logTail(path, 3)).toBe('ive');
  });

  it('knows its process again, and no other that has the same pid', () => {
    const path = join(folder, 'run', 'e.json');
    const me = processEntry(process.pid)!;
    const record = { engineId: 'e', pid: me.pid, startTicks: me.startTicks, bootId: bootId(), command: ['x'] };
    writeRunRecord(path, record);
    expect(readLiveRunRecord(path)).toEqual(record);
    writeRunRecord(path, { ...record, startTicks: me.startTicks - 1 });
    expect(readLiveRunRecord(path)).toBeUndefined();
    writeRunRecord(path, { ...record, bootId: 'another' });
    expect(readLiveRunRecord(path)).toBeUndefined();
    writeFileSync(path, '{"pid":');
    expect(readLiveRunRecord(path)).toBeUndefined();
    forgetRunRecord(path);
    expect(readLiveRunRecord(path)).toBeUndefined();
  });

  it('finds the processes of all records that still run', () => {
    const run = join(folder, 'run');
    expect(liveRunRecords(run)).toEqual([]);
    const me = processEntry(process.pid)!;
    const record = { engineId: 'e', pid: me.pid, startTicks: me.startTicks, bootId: bootId(), command: ['x'] };
    writeRunRecord(join(run, 'e.json'), record);
    writeRunRecord(join(run, 'gone.json'), { ...record, engineId: 'gone', startTicks: me.startTicks - 1 });
    writeFileSync(join(run, 'half.json'), '{"pid":');
    expect(liveRunRecords(run)).toEqual([record]);
  });

  it('goes on where a record cannot be removed', () => {
    writeFileSync(join(folder, 'run'), 'a file where the folder of records was');
    expect(() => forgetRunRecord(join(folder, 'run', 'e.json'))).not.toThrow();
    mkdirSync(join(folder, 'e.json'));
    expect(() => forgetRunRecord(join(folder, 'e.json'))).not.toThrow();
  });
});

describe('claimStateDir', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'maestro-claim-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('gives a folder to one process at a time', () => {
    const giveBack = claimStateDir(join(folder, 'state'));
    expect(() => claimStateDir(join(folder, 'state'))).toThrow(`Process ${process.pid} runs the engines of`);
    giveBack();
    claimStateDir(join(folder, 'state'))();
    expect(readdirSync(join(folder, 'state'))).toEqual([]);
  });

  it('does not mind what a killed process has left, whole or in part', () => {
    const { startTicks } = processEntry(process.pid)!;
    const dead = { pid: process.pid, startTicks: startTicks - 1, bootId: bootId() };
    for (const left of [JSON.stringify(dead), '{"pid":', '']) {
      writeFileSync(join(folder, 'owner.json'), left);
      claimStateDir(folder)();
    }
  });

  it('leaves to another process what that is about to take over, unless it dies first', () => {
    const mine = processEntry(process.pid)!;
    const parent = processEntry(mine.parent)!;
    const owner = ({ pid, startTicks }: ProcessEntry) => JSON.stringify({ pid, startTicks, bootId: bootId() });
    const dead = owner({ ...mine, startTicks: mine.startTicks - 1 });
    writeFileSync(join(folder, 'owner.json'), dead);
    writeFileSync(join(folder, 'owner.json.turn'), owner(parent));
    expect(() => claimStateDir(folder)).toThrow('runs the engines of');
    expect(readFileSync(join(folder, 'owner.json'), 'utf8')).toBe(dead);
    writeFileSync(join(folder, 'owner.json.turn'), dead);
    claimStateDir(folder)();
    expect(readdirSync(folder)).toEqual([]);
  });

  it('keeps nobody from working where the folder cannot be', () => {
    writeFileSync(join(folder, 'file'), '');
    expect(() => claimStateDir(join(folder, 'file', 'state'))()).not.toThrow();
  });
});

it('leaves alone what a dead engine has left to another user', async () => {
  const kill = vi.spyOn(process, 'kill').mockImplementation(() => {
    throw Object.assign(new Error('kill EPERM'), { code: 'EPERM' });
  });
  try {
    expect(await sweepGroup(processEntry(process.pid)!.group, new ManualClock())).toBeGreaterThan(0);
  } finally {
    kill.mockRestore();
  }
});

it('looks no more for the end of an engine that has been let go', () => {
  const { pid, startTicks } = processEntry(process.pid)!;
  const looks: (() => void)[] = [];
  const clock: Clock = {
    nowMs: () => 0,
    after: (_delayMs, look) => {
      looks.push(look);
      return { cancel: () => undefined };
    },
  };
  let wanted = true;
  adoptEngine(pid, startTicks, clock, () => wanted);
  looks.shift()!();
  expect(looks).toHaveLength(1);
  wanted = false;
  looks.shift()!();
  expect(looks).toEqual([]);
});

describe('parseStat', () => {
  it('reads names with spaces and parentheses', () => {
    const rest = Array.from({ length: 30 }, (_, index) => index + 100).join(' ');
    expect(parseStat(`42 (VLLM::Engine (0)) S 7 42 ${rest}`)).toEqual({
      pid: 42,
      state: 'S',
      parent: 7,
      group: 42,
      startTicks: 116,
    });
    expect(parseStat('gone')).toBeUndefined();
  });
});
