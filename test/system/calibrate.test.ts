import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.js';
import { toNodeSpecs } from '../../src/config/node-specs.js';
import { MAESTRO } from './built.js';

let emulator: ChildProcess | undefined;
let folder: string | undefined;

afterEach(async () => {
  emulator?.kill('SIGKILL');
  if (folder !== undefined) await rm(folder, { recursive: true });
});

function maestro(...args: string[]): ChildProcess {
  return spawn(process.execPath, [MAESTRO, ...args], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
}

it('maestro calibrate writes costs that the fleet file takes, near those of the engine', async () => {
  folder = await mkdtemp(join(tmpdir(), 'calibrate-'));
  // Four times as slow as the engine that it emulates, so that the tokens of an answer come one by one on a busy machine too.
  const slow = ['--time-scale', '0.25'];
  emulator = maestro('emulate', '--model', 'llama-3.1-8b', '--gpu', 'h100-sxm', '--port', '0', ...slow);
  const [{ url }] = (await once(emulator, 'message')) as [{ url: string }];
  const out = join(folder, 'measured.yaml');
  const points = [
    '--prompts',
    '128,6000',
    '--batches',
    '1,4',
    '--contexts',
    '128,512',
    '--output',
    '16',
    '--repeats',
    '1',
  ];
  const run = maestro('calibrate', url, ...points, '--out', out, '--json');
  const [printed, [code]] = await Promise.all([text(run.stdout!), once(run, 'exit')]);
  expect(code).toBe(0);
  const { samples, costs: told } = JSON.parse(printed) as {
    samples: { prefill: { promptTokens: number }[]; decode: { batch: number }[] };
    costs: Record<string, number>;
  };
  expect(samples.prefill).toHaveLength(2);
  expect(samples.decode.map(({ batch }) => batch)).toEqual([1, 4, 1, 4]);
  const measured = (await readFile(out, 'utf8')).replaceAll('\n', '\n          ');
  const fleet = `
fleet:
  nodes:
    - id: node
      gpus: { type: h100-sxm, count: 1 }
      hostMemory: 64GiB
      engines:
        - id: only
          model: llama-3.1-8b
          gpus: [0]
          kvMemory: 10GiB
          ${measured}
`;
  const costs = toNodeSpecs(parseConfig(fleet, 'fleet.yaml'))[0]!.engines[0]!.measuredCosts!;
  // Wide, because this machine may be busy; the engine model says about 26 ms a step and 0.08 ms a prompt token.
  expect(costs.stepMs).toBeGreaterThan(4);
  expect(costs.stepMs).toBeLessThan(240);
  expect(costs.prefillMsPerToken).toBeGreaterThan(0);
  expect(Object.keys(told)).toEqual(Object.keys(costs));

  const accepted = async () =>
    ((await (await fetch(`${url}/_emulator/ledger`)).json()) as { totals: { accepted: number } }).totals.accepted;
  const before = await accepted();
  const [refused] = await once(maestro('calibrate', url, '--prompts', '128'), 'exit');
  // Nothing is measured that no line can be drawn through.
  expect([refused, await accepted()]).toEqual([1, before]);
});
