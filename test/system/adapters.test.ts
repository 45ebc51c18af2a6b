/** LoRA adapters: served under names of their own, by the engines that have them. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { type Served, serve } from '../../src/cli/serve.js';
import { parseConfig } from '../../src/config/load.js';
import { launchEmulator } from '../../src/engine/emulator/launch.js';
import { ask } from './ask-fixture.js';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

/** An emulated vLLM server with these adapters; its address. */
async function server(...adapters: string[]): Promise<string> {
  const emulator = await launchEmulator(
    {
      ...{ model: 'llama-3.1-8b', gpu: 'h100-sxm', enablePromptTokensDetails: true, startupMs: 0 },
      ...{ servedModelNames: ['llama-3.1-8b', 'llama'], runtimeLora: true },
      loraModules: adapters.map((name) => `${name}=/adapters/${name}`),
    },
    new WallClock(),
    { onDeath: () => undefined, onDeviceLost: () => undefined },
  );
  closers.unshift(() => emulator.close());
  return emulator.url;
}

async function up(fleet: string): Promise<Served> {
  const served = await serve({
    config: parseConfig(`observe: { logLevel: silent }\nlisten: { port: 0 }\n${fleet}`, 'fleet.yaml'),
  });
  closers.unshift(() => served.stop(0));
  return served;
}

const engine = (id: string, url: string) => `{ id: ${id}, model: llama-3.1-8b, url: "${url}" }`;
const fleetOf = (...urls: string[]) =>
  `aliases: { plan: planner }\nfleet: { nodes: [{ id: n, engines: [${urls.map((url, index) => engine(`e${index}`, url)).join(', ')}] }] }`;

const SOON = { timeout: 30_000, interval: 50 };

describe('adapters of an engine', () => {
  it('are listed and served where they are', { timeout: 60_000 }, async () => {
    const served = await up(
      `fleet: { nodes: [{ id: n, engines: [
        { id: a, model: llama-3.1-8b, url: "${await server('planner')}", adapters: { planner: /adapters/planner } },
        { id: b, model: llama-3.1-8b, url: "${await server('planner', 'critic')}" }] }] }`,
    );
    await vi.waitFor(async () => expect((await ask(served, { model: 'critic' })).status).toBe(200), SOON);
    const { data } = (await (await fetch(`${served.address}/v1/models`)).json()) as {
      data: { id: string; parent: string | null }[];
    };
    expect(data.map(({ id, parent }) => [id, parent])).toEqual([
      ['llama-3.1-8b', null],
      ['llama', null],
      ['planner', 'llama-3.1-8b'],
      ['critic', 'llama-3.1-8b'],
    ]);
    const engines = new Set<string | null>();
    for (let call = 0; call < 6; call++) {
      const answer = await ask(served, { model: 'critic', messages: [{ role: 'user', content: `call ${call}` }] });
      engines.add(answer.headers.get('x-maestro-engine'));
      expect(await answer.json()).toMatchObject({ model: 'critic' });
    }
    expect([...engines]).toEqual(['b']);
    const other = await ask(served, { model: 'llama' });
    expect([other.status, ((await other.json()) as { model: string }).model]).toEqual([200, 'llama-3.1-8b']);
    const unknown = await ask(served, { model: 'painter' });
    expect([unknown.status, await unknown.text()]).toEqual([404, expect.stringContaining('critic')]);
  });

  it('keep their contexts apart in the cache, and their aliases', { timeout: 60_000 }, async () => {
    const served = await up(
      fleetOf(await server('planner', 'critic')).replace(
        'model: llama-3.1-8b,',
        'model: llama-3.1-8b, adapters: { planner: /p, critic: /c },',
      ),
    );
    const messages = [{ role: 'user', content: 'the same long context of two roles '.repeat(60) }];
    const cached = async (model: string) => {
      const answer = (await (await ask(served, { model, messages })).json()) as {
        model: string;
        usage: { prompt_tokens_details: { cached_tokens: number } | null };
      };
      return [answer.model, (answer.usage.prompt_tokens_details?.cached_tokens ?? 0) > 0];
    };
    await vi.waitFor(async () => expect((await ask(served, { model: 'critic' })).status).toBe(200), SOON);
    expect([await cached('planner'), await cached('critic'), await cached('plan'), await cached('llama')]).toEqual([
      ['planner', false],
      ['critic', false],
      ['planner', true],
      ['llama-3.1-8b', false],
    ]);
  });
});
