/**
 * `maestro up` as systemd starts it: on a socket that is passed, which outlives it, and with somebody to tell that it is ready. In systemd's place is a shell that holds the socket and
 * starts Maestro again whenever it ends.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { until } from './agent-process.js';
import { MAESTRO, ROOT } from './built.js';

const LIMIT_MS = 60_000;
vi.setConfig({ testTimeout: 180_000 });

/** Emulated, so that it needs nothing else. */
const NODE = {
  ...{ id: 'n', gpus: ['h100-sxm'], hostMemory: '64GiB' },
  engines: [{ id: 'e', model: 'llama-3.1-8b', gpus: [0] }],
};
const HOLDER = `
code=0
while [ "$code" = 0 ]; do
  /bin/sh -c 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"' sh "$@"
  code=$?
  echo "ended with $code"
done
`;

let folder = '';
let told = '';
let holder: ChildProcess | undefined;
let said = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-socket-'));
  told = join(folder, 'told');
  writeFileSync(told, '');
  said = '';
});

afterEach(() => {
  // The shell first, so that it starts none anew.
  holder?.kill('SIGKILL');
  const pid = lastPid();
  if (holder && pid !== undefined && isAlive(pid)) process.kill(pid, 'SIGKILL');
  holder = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** Puts what systemd would hear into a file: the socket's name, and the first word of each message. */
function fakeNotify(text = `#!/bin/sh\necho "$NOTIFY_SOCKET $1" >> '${told}'\n`): string {
  const path = join(folder, 'systemd-notify');
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return `${folder}${delimiter}${process.env['PATH']}`;
}

/** Hands a socket that listens to a shell, which hands it to one Maestro after the other; gives its port. */
async function hold(config: object, environment: NodeJS.ProcessEnv, host = '127.0.0.1'): Promise<number> {
  const file = join(folder, 'fleet.yaml');
  writeFileSync(file, JSON.stringify(config));
  const server = createServer();
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  // A port of its own would be taken for wrong: whoever connects to the one above waits for ever.
  holder = spawn('/bin/sh', ['-c', HOLDER, 'sh', process.execPath, MAESTRO, 'up', '--fleet', file, '--port', '9'], {
    cwd: ROOT,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe', descriptorOf(server)],
  });
  // In the same turn, before this process takes a connection in.
  server.close();
  for (const stream of [holder.stdout!, holder.stderr!]) {
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  }
  return port;
}

function descriptorOf(server: Server): number {
  return (server as Server & { readonly _handle: { readonly fd: number } })._handle.fd;
}

const starts = () => [...said.matchAll(/"pid":(\d+),.*"msg":"maestro starts"/g)].map(([, pid]) => Number(pid));
const lastPid = () => starts().at(-1);
const served = () => said.split('maestro serves at').length - 1;

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** One request on a connection of its own; the status, or what went wrong. */
function ask(port: number): Promise<number | string> {
  return new Promise((resolve) => {
    const body = JSON.stringify({ model: 'llama-3.1-8b', messages: [{ role: 'user', content: 'x' }], max_tokens: 1 });
    const outgoing = httpRequest(
      {
        ...{ port, host: '127.0.0.1', path: '/v1/chat/completions', method: 'POST', agent: false },
        headers: { 'content-type': 'application/json', 'content-length': body.length },
      },
      (response) => response.resume().on('end', () => resolve(response.statusCode ?? 0)),
    );
    outgoing.on('error', ({ message }) => resolve(message));
    outgoing.end(body);
  });
}

it('refuses nobody while it is restarted, and says when it is ready, reloads and stops', async () => {
  const path = fakeNotify();
  const port = await hold({ fleet: { nodes: [NODE] } }, { PATH: path, NOTIFY_SOCKET: '/run/systemd/notify' });
  await until('it serves', LIMIT_MS, () => served() === 1);
  expect(said).toContain(`maestro serves at http://127.0.0.1:${port} `);

  const answers: (number | string)[] = [];
  let asking = true;
  const clients = Array.from({ length: 4 }, async () => {
    while (asking) answers.push(await ask(port));
  });
  for (const restart of [1, 2]) {
    const before = answers.length;
    await until('clients are served', LIMIT_MS, () => answers.length > before + 20);
    process.kill(lastPid()!, 'SIGTERM');
    await until('the next serves', LIMIT_MS, () => served() === restart + 1);
  }
  asking = false;
  await Promise.all(clients);
  expect(new Set(answers)).toEqual(new Set([200]));
  expect(said.match(/ended with \d+/g)).toEqual(['ended with 0', 'ended with 0']);

  process.kill(lastPid()!, 'SIGHUP');
  const messages = () => readFileSync(told, 'utf8').trim().split('\n');
  await until('it has reloaded', LIMIT_MS, () => messages().length === 7);
  expect(messages().map((line) => line.replace('/run/systemd/notify ', ''))).toEqual([
    'READY=1',
    'STOPPING=1',
    'READY=1',
    'STOPPING=1',
    'READY=1',
    'RELOADING=1',
    'READY=1',
  ]);
});

it('asks for a key by the address of the socket, whatever the file says', async () => {
  await hold({ listen: { host: '127.0.0.1' }, fleet: { nodes: [NODE] } }, {}, '0.0.0.0');
  await until('it ends', LIMIT_MS, () => said.includes('ended with'));
  expect(said).toMatch(/"0\.0\.0\.0" lets other machines in, and no key is asked of them/);
});

it('serves without systemd-notify, and says once that it is missing', async () => {
  const port = await hold({ fleet: { nodes: [NODE] } }, { PATH: '/nowhere', NOTIFY_SOCKET: '/run/systemd/notify' });
  await until('it says so', LIMIT_MS, () => said.includes('systemd cannot be told'));
  expect(await ask(port)).toBe(200);
  process.kill(lastPid()!, 'SIGHUP');
  await until('it has reloaded', LIMIT_MS, () => said.includes('the config was read again'));
  expect(said.match(/systemd cannot be told/g)).toHaveLength(1);
});

it('leaves neither the socket nor the word to systemd to the engines that it starts', async () => {
  const path = fakeNotify();
  const program = join(folder, 'engine');
  const seen = join(folder, 'seen');
  writeFileSync(
    program,
    `#!/bin/sh\nenv > '${seen}.part'; echo "$$" >> '${seen}.part'; mv '${seen}.part' '${seen}'; exec sleep 60\n`,
  );
  chmodSync(program, 0o755);
  const engine = { ...NODE.engines[0], url: 'http://127.0.0.1:9', launch: { program: [program], weights: 'x' } };
  const nodes = [{ ...NODE, engines: [engine] }];
  await hold({ fleet: { nodes, stateDir: folder } }, { PATH: path, NOTIFY_SOCKET: '/run/systemd/notify' });
  await until('the engine runs', LIMIT_MS, () => readdirSync(folder).includes('seen'));
  const text = readFileSync(seen, 'utf8').trim();
  const pid = text.slice(text.lastIndexOf('\n') + 1);
  const open = readdirSync(`/proc/${pid}/fd`).map((fd) => [fd, readlinkSync(`/proc/${pid}/fd/${fd}`)]);
  try {
    expect(text).not.toMatch(/^(NOTIFY_SOCKET|LISTEN_)/m);
    expect(open.filter(([, target]) => target!.startsWith('socket:'))).toEqual([]);
  } finally {
    process.kill(Number(pid), 'SIGKILL');
  }
});
