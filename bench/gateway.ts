/**
 * What the front door costs, with scheduling on: `npm run bench:gateway [-- --rounds N --json --peer NAME=COMMAND]`.
 *
 * Direct, nginx (when installed) and Maestro stand in front of the same two mock servers and take the same load in turn, in one
 * run, several rounds; medians are printed. Other gateways join by their commands, in which `{port}` and `{urls}` (of the two mock servers, with a space between them)
 * are filled in: `--peer "vllm-router=vllm-router --worker-urls {urls} --policy round_robin --port {port}"`. Latency is added latency: minus the direct run of the same round. CPU is
 * user + system time of the gateway's own process tree. Absolute figures depend on the machine; compare within one run.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { on } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool, request } from 'undici';
import { count, orEnd, positive, scriptFlags } from './flags.js';

interface Target {
  readonly name: string;
  readonly url: string;
  readonly pid: number | undefined;
}

interface Shape {
  readonly name: string;
  readonly body: Buffer;
  readonly concurrency: number;
  readonly seconds: number;
}

interface Measurement {
  readonly p50Us: number;
  readonly p99Us: number;
  readonly requestsPerSecond: number;
  readonly cpuMsPerRequest: number | undefined;
}

const flags = scriptFlags(
  'npm run bench:gateway -- [flags]\nWhat the front door costs, beside direct calls and other gateways, in one run.',
  {
    rounds: { type: 'string', default: '3', help: 'medians are over these' },
    seconds: { type: 'string', default: '2', help: 'of each measurement' },
    peer: {
      type: 'string',
      multiple: true,
      default: [],
      help: 'NAME=COMMAND of another gateway; {port} and {urls} are filled in',
    },
    json: { type: 'boolean', default: false, help: 'print the figures as JSON' },
  },
);
const { rounds, seconds } = orEnd(() => ({
  rounds: count('--rounds', flags.rounds),
  seconds: positive('--seconds', flags.seconds),
}));

const children: ChildProcess[] = [];
const scratch = mkdtempSync(join(tmpdir(), 'maestro-bench-'));

/** Starts a process and waits for the URL that it prints. */
async function start(command: string, args: string[], pattern: RegExp): Promise<{ url: string; pid: number }> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  for await (const [chunk] of on(child.stdout!, 'data', { close: ['end'] })) {
    const match = pattern.exec(String(chunk));
    if (match) return { url: match[0], pid: child.pid! };
  }
  throw new Error(`${command} ${args.join(' ')} ended before it printed its address`);
}

const URL_PATTERN = /http:\/\/127\.0\.0\.1:\d+/;

function startNginx(upstreams: string[], port: number): { url: string; pid: number } | undefined {
  if (spawnSync('nginx', ['-v']).error) return undefined;
  const servers = upstreams.map((url) => `server ${new URL(url).host};`).join(' ');
  const config = `
    worker_processes 1; pid ${scratch}/nginx.pid; error_log ${scratch}/error.log; daemon off;
    events { worker_connections 4096; }
    http { access_log off; client_body_temp_path ${scratch}; proxy_temp_path ${scratch}; client_max_body_size 16m; client_body_buffer_size 1m;
      upstream engines { ${servers} keepalive 128; }
      server { listen 127.0.0.1:${port}; location / { proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; } } }`;
  writeFileSync(join(scratch, 'nginx.conf'), config);
  const child = spawn('nginx', ['-c', join(scratch, 'nginx.conf'), '-p', scratch], { stdio: 'ignore' });
  children.push(child);
  return { url: `http://127.0.0.1:${port}`, pid: child.pid! };
}

/** Starts another gateway by its command; answers when it serves. */
async function startPeer(peer: string, urls: string[], port: number): Promise<Target> {
  const equals = peer.indexOf('=');
  if (equals < 1) throw new Error(`--peer ${peer}: want NAME=COMMAND`);
  const name = peer.slice(0, equals);
  const command = peer
    .slice(equals + 1)
    .replaceAll('{port}', String(port))
    .replaceAll('{urls}', urls.join(' '));
  const child = spawn(`exec ${command}`, { stdio: 'ignore', shell: true });
  children.push(child);
  const target = { name, url: `http://127.0.0.1:${port}`, pid: child.pid };
  const headers = { 'content-type': 'application/json' };
  await until(`${name} did not become ready`, async () => {
    const answer = await request(`${target.url}/v1/chat/completions`, {
      method: 'POST',
      headers,
      body: chatBody(20, false),
    });
    await answer.body.dump();
    return answer.statusCode === 200;
  });
  return target;
}

/** Asks every 100 ms for up to 20 s. What fails counts as no. */
async function until(problem: string, ready: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (await ready().catch(() => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(problem);
}

/** User + system CPU of a process and its children, milliseconds, from /proc (Linux); undefined elsewhere. */
function cpuMs(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined;
  try {
    const ticksPerSecond = 100;
    const own = (of: number) => {
      const fields = readFileSync(`/proc/${of}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return { parent: Number(fields[1]), ms: ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond };
    };
    let total = own(pid).ms;
    for (const entry of readdirSync('/proc')) {
      if (!/^\d+$/.test(entry) || Number(entry) === pid) continue;
      try {
        const other = own(Number(entry));
        if (other.parent === pid) total += other.ms;
      } catch {
        // The process ended between the listing and the read.
      }
    }
    return total;
  } catch {
    return undefined;
  }
}

async function load(target: Target, shape: Shape): Promise<Measurement> {
  const pool = new Pool(target.url, { connections: shape.concurrency, pipelining: 1 });
  const latencies: number[] = [];
  const headers = { 'content-type': 'application/json' };
  const one = () =>
    new Promise<void>((resolve, reject) => {
      let statusCode = 0;
      pool.dispatch(
        { path: '/v1/chat/completions', method: 'POST', headers, body: shape.body },
        {
          onRequestStart() {},
          onResponseStart(_controller, status) {
            statusCode = status;
          },
          onResponseData() {},
          onResponseEnd() {
            if (statusCode === 200) resolve();
            else reject(new Error(`${target.name} answered ${statusCode}`));
          },
          onResponseError(_controller, error) {
            reject(error);
          },
        },
      );
    });
  const worker = async (untilMs: number, record: boolean) => {
    while (performance.now() < untilMs) {
      const startedMs = performance.now();
      await one();
      if (record) latencies.push(performance.now() - startedMs);
    }
  };
  const all = (untilMs: number, record: boolean) =>
    Promise.all(Array.from({ length: shape.concurrency }, () => worker(untilMs, record)));
  await all(performance.now() + 400, false);
  const cpuBefore = cpuMs(target.pid);
  const startedMs = performance.now();
  await all(startedMs + shape.seconds * 1000, true);
  const elapsedMs = performance.now() - startedMs;
  const cpuAfter = cpuMs(target.pid);
  await pool.close();
  latencies.sort((a, b) => a - b);
  const at = (q: number) =>
    1000 * (latencies[Math.min(latencies.length - 1, Math.floor(q * latencies.length))] ?? Number.NaN);
  return {
    p50Us: at(0.5),
    p99Us: at(0.99),
    requestsPerSecond: latencies.length / (elapsedMs / 1000),
    cpuMsPerRequest:
      cpuBefore === undefined || cpuAfter === undefined ? undefined : (cpuAfter - cpuBefore) / latencies.length,
  };
}

function chatBody(contentBytes: number, stream: boolean): Buffer {
  const content = 'Summarise the ticket and propose the next step. '
    .repeat(Math.ceil(contentBytes / 48))
    .slice(0, contentBytes);
  return Buffer.from(
    JSON.stringify({
      model: 'mock',
      messages: [{ role: 'user', content }],
      max_tokens: 256,
      ...(stream ? { stream } : {}),
    }),
  );
}

const median = (numbers: number[]) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

async function main(): Promise<void> {
  const tsx = join('node_modules', '.bin', 'tsx');
  const mocks = [
    await start(tsx, ['bench/mock-engine.ts', '0'], URL_PATTERN),
    await start(tsx, ['bench/mock-engine.ts', '0'], URL_PATTERN),
  ];
  const upstreams = mocks.map((mock) => mock.url);
  const targets: Target[] = [{ name: 'direct', url: upstreams[0]!, pid: undefined }];
  const nginx = startNginx(upstreams, 18931);
  if (nginx) targets.push({ name: 'nginx', ...nginx });
  else console.error('nginx is not installed: its row is left out');
  const maestro = await start(
    process.execPath,
    ['dist/src/cli/main.js', 'up', '--vllm', upstreams.join(','), '--port', '0'],
    URL_PATTERN,
  );
  targets.push({ name: 'maestro', ...maestro });
  await until('maestro did not become ready', async () => {
    const answer = await request(`${maestro.url}/readyz`);
    await answer.body.dump();
    return answer.statusCode === 200;
  });
  for (const [index, peer] of flags.peer.entries()) targets.push(await startPeer(peer, upstreams, 18932 + index));

  const shapes: Shape[] = [
    { name: 'JSON c=1', body: chatBody(200, false), concurrency: 1, seconds },
    { name: 'JSON c=32', body: chatBody(200, false), concurrency: 32, seconds },
    { name: 'SSE x65 c=32', body: chatBody(200, true), concurrency: 32, seconds },
    { name: '32 kB c=1', body: chatBody(32_000, false), concurrency: 1, seconds },
    { name: '256 kB c=1', body: chatBody(256_000, false), concurrency: 1, seconds },
  ];
  // Everything is compiled and every pool filled before anything is measured: the figures are of a server at work.
  const warmUp: Shape = { name: 'warm-up', body: chatBody(200, false), concurrency: 32, seconds: 4 };
  for (const target of targets) await load(target, warmUp);
  const rows: {
    shape: string;
    target: string;
    p50Us: number;
    addedP50Us: number;
    p99Us: number;
    requestsPerSecond: number;
    cpuMsPerRequest: number;
  }[] = [];
  for (const shape of shapes) {
    const samples = new Map<string, (Measurement & { addedUs: number })[]>();
    for (let round = 0; round < rounds; round++) {
      let directUs = 0;
      for (const target of targets) {
        const measured = await load(target, shape);
        if (target.name === 'direct') directUs = measured.p50Us;
        const list = samples.get(target.name) ?? [];
        list.push({ ...measured, addedUs: measured.p50Us - directUs });
        samples.set(target.name, list);
      }
    }
    for (const [target, list] of samples) {
      rows.push({
        shape: shape.name,
        target,
        p50Us: median(list.map((sample) => sample.p50Us)),
        addedP50Us: median(list.map((sample) => sample.addedUs)),
        p99Us: median(list.map((sample) => sample.p99Us)),
        requestsPerSecond: median(list.map((sample) => sample.requestsPerSecond)),
        cpuMsPerRequest: median(list.map((sample) => sample.cpuMsPerRequest ?? Number.NaN)),
      });
    }
  }
  const machine = `${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown CPU'}, Node ${process.version}`;
  if (flags.json) {
    console.log(JSON.stringify({ machine, rounds, seconds, rows }, null, 2));
    return;
  }
  console.log(
    `${machine}; ${rounds} rounds of ${seconds} s, medians, after 4 s of warm-up; two mock servers behind every gateway\n`,
  );
  console.log('| load | target | p50 µs | added p50 µs | p99 µs | requests/s | CPU ms a request |');
  console.log('|---|---|---|---|---|---|---|');
  for (const row of rows) {
    const cpu = Number.isNaN(row.cpuMsPerRequest) ? '' : row.cpuMsPerRequest.toFixed(3);
    const added = row.target === 'direct' ? '' : row.addedP50Us.toFixed(0);
    console.log(
      `| ${row.shape} | ${row.target} | ${row.p50Us.toFixed(0)} | ${added} | ${row.p99Us.toFixed(0)} | ${row.requestsPerSecond.toFixed(0)} | ${cpu} |`,
    );
  }
}

main()
  .finally(() => {
    for (const child of children) child.kill('SIGTERM');
    rmSync(scratch, { recursive: true, force: true });
  })
  .catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  });
