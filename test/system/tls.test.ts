/** Engines at `https://` URLs, which ask for a certificate as vLLM does with `--ssl-cert-reqs 2`: data, control, discovery, doctor, calibration and supervision. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WallClock } from '../../src/bus/wall-clock.js';
import { type Served, serve } from '../../src/cli/serve.js';
import { discoveredNodes } from '../../src/cli/vllm-urls.js';
import { parseConfig } from '../../src/config/load.js';
import { measureEngine } from '../../src/engine/calibrate/measure.js';
import { launchEmulator } from '../../src/engine/emulator/launch.js';
import { VllmClient } from '../../src/engine/vllm/client.js';
import { EngineTls, type TlsFiles } from '../../src/engine/vllm/engine-tls.js';
import { examine } from '../../src/observe/doctor/examine.js';
import { exposedAddresses } from '../../src/observe/doctor/exposure.js';
import { ask } from './ask-fixture.js';
import { EMULATED_VLLM } from './built.js';
import { freePort } from './free-port.js';

const SCALE = 20;
const file = (name: string) => join(import.meta.dirname, 'tls', name);
const SERVER = { keyfile: file('engine.key'), certfile: file('engine.pem'), caCerts: file('ca.pem') };
const CLIENT: TlsFiles = { ca: file('ca.pem'), cert: file('maestro.pem'), key: file('maestro.key') };
const QUIET = { observe: { logLevel: 'silent' } };

let folder: string;
const closers: (() => Promise<unknown>)[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-tls-'));
});

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  rmSync(folder, { recursive: true, force: true });
});

async function emulator(certReqs = 2, caCerts = SERVER.caCerts): Promise<string> {
  const running = await launchEmulator(
    {
      ...{ model: 'llama-3.1-8b', gpu: 'h100-sxm', schedulingPolicy: 'priority', timeScale: SCALE },
      ...{ enableSleepMode: true, devMode: true, ssl: { ...SERVER, certReqs, caCerts } },
    },
    new WallClock(SCALE),
  );
  closers.push(() => running.close());
  return running.url;
}

async function up(options: Omit<Parameters<typeof serve>[0], 'port'>): Promise<Served> {
  const served = await serve({ ...options, port: 0 });
  closers.push(() => served.stop(0));
  return served;
}

function tlsWith(files: TlsFiles): EngineTls {
  return new EngineTls(files, new WallClock(), () => undefined);
}

/** A fleet of one engine, as JSON, which is YAML as well. */
function fleet(engine: object, tls: TlsFiles, rest: object = {}) {
  const node = { id: 'n', gpus: ['h100-sxm'], hostMemory: '64GiB', engines: [{ id: 'e', gpus: [0], ...engine }] };
  return parseConfig(JSON.stringify({ ...QUIET, fleet: { tls, nodes: [node], ...rest } }), 'test');
}

async function health(url: string, files: TlsFiles | undefined) {
  const client = new VllmClient({ url, tls: files && tlsWith(files) });
  closers.push(() => client.close());
  return client.health();
}

describe('an engine that asks for a certificate', () => {
  it('serves who shows one, by --vllm: whole answers, streams, large prompts', async () => {
    const url = await emulator();
    expect(url).toMatch(/^https:/);
    const config = parseConfig(JSON.stringify(QUIET), 'test');
    const served = await up({ config, vllmUrls: [url], vllmTls: tlsWith(CLIENT) });
    expect(served.scheduling.readiness().ready).toBe(true);
    expect((await ask(served)).status).toBe(200);
    expect(await (await ask(served, { stream: true })).text()).toMatch(/^data: .*data: \[DONE\]\n\n$/s);
    expect((await ask(served, { messages: [{ role: 'user', content: 'long '.repeat(20_000) }] })).status).toBe(200);
  });

  it('is put to sleep and woken, with the certificates of a fleet file', async () => {
    const url = await emulator();
    const client = new VllmClient({ url, tls: tlsWith(CLIENT) });
    closers.push(() => client.close());
    expect(await client.sleep(1, 'abort', 10_000)).toMatchObject({ ok: true });
    const served = await up({ config: fleet({ model: 'llama-3.1-8b', sleep: true, url }, CLIENT) });
    expect(served.scheduling.fleet().engines).toMatchObject([{ engineId: 'e', state: 'sleeping' }]);
    const woken = await ask(served);
    expect([woken.status, Number(woken.headers.get('x-maestro-cold-start-ms')) > 0]).toEqual([200, true]);
  });

  it('lets nobody else in, and is not trusted by who does not know its authority', async () => {
    const url = await emulator();
    const failure = { ok: false, failure: { kind: 'tls' } };
    expect(await health(url, CLIENT)).toMatchObject({ ok: true });
    expect(await health(url, { ca: CLIENT.ca })).toMatchObject(failure);
    expect(await health(url, { cert: CLIENT.cert, key: CLIENT.key })).toMatchObject(failure);
    expect(await health(url, undefined)).toMatchObject(failure);
    const served = await up({
      config: parseConfig(JSON.stringify(QUIET), 'test'),
      vllmUrls: [url],
      vllmTls: tlsWith({ ca: CLIENT.ca }),
    });
    expect(served.scheduling.readiness().ready).toBe(false);
  });

  it('is looked at by doctor: what does not fit, and whether strangers reach its development endpoints', async () => {
    const url = await emulator();
    const reachable = async (files: TlsFiles) => {
      const findings = await examine(discoveredNodes([url]), undefined, { tls: tlsWith(files) });
      return findings.find(({ check }) => check === 'reachable');
    };
    expect(await reachable(CLIENT)).toMatchObject({ severity: 'ok' });
    expect(await reachable({ ca: CLIENT.ca })).toMatchObject({
      severity: 'problem',
      message: expect.stringContaining('do not trust each other'),
      fix: expect.stringContaining('fleet.tls'),
    });
    // One that knows no authority of ours: which certificate it was shown, and until when that is valid, is all that can be told.
    const stranger = await emulator(2, file('engine.pem'));
    const [refused] = (await examine(discoveredNodes([stranger]), undefined, { tls: tlsWith(CLIENT) })).filter(
      ({ check }) => check === 'reachable',
    );
    expect(refused).toMatchObject({
      message: expect.stringMatching(
        /it may not accept the certificate that it was shown \(.*maestro\.pem, valid from .* to .*\)$/,
      ),
      fix: expect.stringContaining('--ssl-ca-certs'),
    });
    const [plain] = (await examine(discoveredNodes([url.replace('https', 'http')]), undefined)).filter(
      ({ check }) => check === 'reachable',
    );
    expect(plain?.message).toContain('its URL begins with https://');
    expect(await exposedAddresses(url, ['127.0.0.1'])).toEqual([]);
    const open = await emulator(0);
    expect(await exposedAddresses(open, ['127.0.0.1'])).toEqual([new URL(open).host]);
  });

  it('is measured', async () => {
    const url = await emulator();
    const { prefill } = await measureEngine({
      ...{ url, model: 'llama-3.1-8b', nowMs: () => performance.now(), seed: 1, outputTokens: 4, repeats: 1 },
      ...{ promptTokens: [64, 128], batches: [1], contextTokens: [64], tls: tlsWith(CLIENT) },
    });
    expect(prefill).toHaveLength(2);
  });

  it('is started by `maestro up`, with vLLM’s flags', async () => {
    const url = `https://127.0.0.1:${await freePort()}`;
    const { keyfile, certfile, caCerts } = SERVER;
    const args = [
      '--ssl-keyfile',
      keyfile,
      '--ssl-certfile',
      certfile,
      '--ssl-ca-certs',
      caCerts,
      '--ssl-cert-reqs',
      '2',
    ];
    const launch = { program: EMULATED_VLLM, weights: 'llama-3.1-8b', args };
    const engine = { model: 'llama-3.1-8b', kvMemory: '8GiB', url, launch };
    const served = await up({ config: fleet(engine, CLIENT, { stateDir: join(folder, 'state') }) });
    await vi.waitFor(() => expect(served.scheduling.readiness().ready).toBe(true), { timeout: 60_000, interval: 50 });
    expect((await ask(served)).status).toBe(200);
  });
});
