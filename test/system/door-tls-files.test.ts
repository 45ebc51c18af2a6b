/** `maestro up --tls-cert`: files that cannot be used, files that change, and the commands that ask such a door. */
import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { until } from './agent-process.js';
import { MAESTRO, ROOT } from './built.js';

const LIMIT_MS = 60_000;
vi.setConfig({ testTimeout: 120_000 });
const fixture = (name: string) => join(import.meta.dirname, 'tls', name);

let folder = '';
let said = '';
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-door-'));
  said = '';
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

function maestro(...args: string[]) {
  const child = spawn(process.execPath, [MAESTRO, ...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  return child;
}

/** What a command has printed, and how it has ended. */
async function run(...args: string[]): Promise<{ out: string; err: string; code: number | null }> {
  const child = maestro(...args);
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { out, err, code };
}

async function serve(...args: string[]): Promise<{ child: ChildProcess; address: string }> {
  const child = maestro('up', '--port', '0', ...args);
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  }
  await until('it serves', LIMIT_MS, () => said.includes('maestro serves at'));
  return { child, address: /maestro serves at (\S+)/.exec(said)![1]! };
}

/** Fingerprint of the certificate that a new connection is shown. */
function shown(address: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: Number(new URL(address).port), host: '127.0.0.1', rejectUnauthorized: false });
    socket.once('error', reject);
    socket.once('secureConnect', () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
  });
}

it('serves HTTPS, and is asked by explain and replay with the authority that they are told, and a certificate', async () => {
  const files = ['--tls-cert', fixture('engine.pem'), '--tls-key', fixture('engine.key')];
  const { address } = await serve(...files, '--tls-client-ca', fixture('ca.pem'));
  expect(address).toMatch(/^https:/);
  const known = ['--cacert', fixture('ca.pem'), '--cert', fixture('maestro.pem'), '--cert-key', fixture('maestro.key')];
  const trace = join(folder, 'trace.jsonl');
  const row = { request_id: 'r', timestamp: 0, model: 'llama-3.1-8b', input_length: 20, output_length: 2 };
  writeFileSync(trace, `${JSON.stringify({ maestro_trace: 1, source: 'made up' })}\n${JSON.stringify(row)}\n`);
  const replayed = await run('replay', trace, '--target', address, '--json', ...known);
  expect([replayed.code, replayed.out]).toEqual([0, expect.stringMatching(/"completed": ?1\b/)]);
  const explained = await run('explain', 'last', '--target', address, ...known);
  expect(explained.out).toMatch(/^outcome +completed/m);
  const stranger = await run('explain', 'last', '--target', address);
  expect([stranger.code, stranger.err]).toEqual([1, expect.stringMatching(/is not trusted.*--cacert/)]);
});

it('takes new files at SIGHUP, and goes on with the former ones where they cannot be used', async () => {
  const [cert, key] = [join(folder, 'door.pem'), join(folder, 'door.key')];
  const put = (certFrom: string, keyFrom: string) => {
    copyFileSync(fixture(`${certFrom}.pem`), cert);
    copyFileSync(fixture(`${keyFrom}.key`), key);
  };
  put('engine', 'engine');
  const fleet = join(folder, 'fleet.yaml');
  writeFileSync(fleet, JSON.stringify({ gateway: { tls: { cert, key } } }));
  const { child, address } = await serve('--fleet', fleet);
  const first = await shown(address);
  const reload = async (word: string) => {
    child.kill('SIGHUP');
    await until(word, LIMIT_MS, () => said.includes(word));
  };
  put('maestro', 'engine');
  await reload('the new certificate of the front door cannot be used');
  expect(await shown(address)).toBe(first);
  put('maestro', 'maestro');
  await reload('the front door has a new certificate');
  expect(await shown(address)).not.toBe(first);
});

it.each([
  [
    'a certificate that is not there',
    { cert: '/no/such.pem' },
    /Cannot read the file \/no\/such\.pem.*gateway\.tls\.cert.*ENOENT/,
  ],
  ['a key that is none', { key: fixture('README.md') }, /README\.md should hold.*gateway\.tls\.key/],
  [
    'a key of another certificate',
    { key: fixture('maestro.key') },
    /gateway\.tls\.key: the file .*maestro\.key cannot be used beside the certificate .*mismatch/,
  ],
  [
    'a key in place of the authority',
    { clientCa: fixture('engine.key') },
    /gateway\.tls\.clientCa: the file .*engine\.key cannot be used/,
  ],
])('says what is wrong with %s', async (_what, wrong, message) => {
  const fleet = join(folder, 'fleet.yaml');
  const tls = { cert: fixture('engine.pem'), key: fixture('engine.key'), ...wrong };
  writeFileSync(fleet, JSON.stringify({ gateway: { tls } }));
  const { code, err } = await run('up', '--fleet', fleet, '--port', '0');
  expect([code, err]).toEqual([1, expect.stringMatching(message)]);
  const doctor = await run('doctor', '--fleet', fleet);
  expect([doctor.code, doctor.out]).toEqual([1, expect.stringMatching(message)]);
});
