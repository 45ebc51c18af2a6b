/** `maestro up --vllm dns+http://NAME:PORT`: servers behind one name come and go with its addresses. They are emulated, on addresses of the loopback. */
import { afterEach, expect, it } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { type Served, serve } from '../../src/cli/serve.js';
import { ServerNames } from '../../src/cli/server-names.js';
import { parseConfig } from '../../src/config/load.js';
import { launchEmulator, type RunningEmulator } from '../../src/engine/emulator/launch.js';
import { until } from './agent-process.js';
import { ask } from './ask-fixture.js';

const LIMIT_MS = 60_000;
const emulators: RunningEmulator[] = [];
let served: Served | undefined;

afterEach(async () => {
  await served?.stop(0);
  for (const emulator of emulators.splice(0)) await emulator.close();
});

async function emulate(host: string, port: number): Promise<number> {
  const options = { model: 'llama-3.1-8b', gpu: 'h100-sxm', host, port, timeScale: 5, apiKeys: ['engine-key'] };
  const emulator = await launchEmulator(options, new WallClock(5));
  emulators.push(emulator);
  return Number(new URL(emulator.url).port);
}

it('takes in a server whose address is new, lets go of one whose address is gone, and sends each the key', async () => {
  let hosts = ['127.0.0.1'];
  const port = await emulate(hosts[0]!, 0);
  const names = new ServerNames([`dns+http://vllm.example:${port}`], async () =>
    hosts.map((address) => ({ address, family: 4 })),
  );
  served = await serve({
    config: parseConfig('observe: {logLevel: silent}', 'test'),
    ...{ vllmUrls: await names.look(), vllmNames: names, vllmApiKey: 'engine-key', port: 0 },
  });
  const { scheduling } = served;
  const engines = () => scheduling.fleet().engines.map(({ engineId, state }) => `${engineId} ${state}`);
  expect(engines()).toEqual([`127.0.0.1:${port} running`]);
  await emulate('127.0.0.2', port);
  hosts = ['127.0.0.1', '127.0.0.2'];
  await until('the second is there', LIMIT_MS, () => engines().includes(`127.0.0.2:${port} running`));
  hosts = ['127.0.0.2'];
  await until('the first is gone', LIMIT_MS, () => engines().length === 1);
  const answer = await ask(served);
  expect([answer.status, answer.headers.get('x-maestro-engine')]).toEqual([200, `127.0.0.2:${port}`]);
});
