/**
 * How much one gateway process takes for each open stream. Engine, gateway and clients are processes of their own: `npm run bench:streams -- [N]`
 * (default 10,000). Each stream needs a socket to its client and one to its engine, so the limit of open files must be above 2 N + 50. Linux only.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { count, orEnd } from './flags.js';

const SELF = fileURLToPath(import.meta.url);
const MAIN = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));
/** One address has fewer free ports than there are streams, and each side of loopback counts. */
const STREAMS_PER_PROCESS = 2_500;

const [role = 'bench', first = '10000', second = ''] = process.argv.slice(2).filter((argument) => argument !== '--');
if (role === 'engine') engine();
else if (role === 'client') await client(Number(first), second);
else await bench(orEnd(() => count('N', role === 'bench' ? first : role)));

/** Answers every stream with one event, and nothing more until it is told to end: `POST /end`. */
function engine(): void {
  const open = new Set<ServerResponse>();
  const chunk = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"mock","choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n`;
  const models =
    '{"object":"list","data":[{"id":"mock","object":"model","root":"mock","parent":null,"max_model_len":131072}]}';
  const server = createServer((incoming, response) => {
    if (incoming.url === '/end') {
      for (const stream of open) stream.end(`${chunk.replace('null}', '"stop"}')}data: [DONE]\n\n`);
      response.end(String(open.size));
      open.clear();
    } else if (incoming.method === 'GET') {
      const known = incoming.url === '/health' || incoming.url === '/metrics' || incoming.url === '/v1/models';
      response.writeHead(known ? 200 : 404).end(incoming.url === '/v1/models' ? models : '');
    } else {
      incoming.resume();
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(chunk);
      open.add(response);
      response.on('close', () => open.delete(response));
    }
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 8192 }, () => {
    const address = server.address();
    if (address && typeof address === 'object') console.log(`ready http://127.0.0.1:${address.port}`);
  });
}

/** Opens streams and keeps them; tells how many have their first event, and at the end how many ended with [DONE]. */
async function client(count: number, url: string): Promise<void> {
  const body = '{"model":"mock","messages":[{"role":"user","content":"hi"}],"stream":true}';
  let started = 0;
  let whole = 0;
  let failed = 0;
  const ends: Promise<void>[] = [];
  const openOne = () =>
    new Promise<void>((opened) => {
      ends.push(
        new Promise<void>((ended) => {
          const call = request(
            `${url}/v1/chat/completions`,
            { method: 'POST', agent: false, headers: { 'content-type': 'application/json' } },
            (response) => {
              let last = '';
              response.on('data', (data: Buffer) => {
                if (last === '') {
                  started += 1;
                  opened();
                }
                last = data.toString('latin1').slice(-64);
              });
              response.on('close', () => {
                if (last.includes('[DONE]')) whole += 1;
                else failed += 1;
                ended();
              });
            },
          );
          call.on('error', () => {
            failed += 1;
            opened();
            ended();
          });
          call.end(body);
        }),
      );
    });
  for (let index = 0; index < count; index += 50)
    await Promise.all(Array.from({ length: Math.min(50, count - index) }, openOne));
  console.log(`ready ${started}`);
  await Promise.all(ends);
  console.log(`done ${whole} ${failed}`);
}

async function bench(streams: number): Promise<void> {
  const children: ChildProcess[] = [];
  const start = (...args: string[]) => {
    // The limit of open files is raised to what the system allows.
    const child = spawn('sh', ['-c', 'ulimit -n $(ulimit -Hn); exec "$0" "$@"', process.execPath, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    return child;
  };
  try {
    const upstream = start('--import', 'tsx', SELF, 'engine');
    const engineUrl = await line(upstream, /^ready (\S+)/);
    const gateway = start(MAIN, 'up', '--vllm', engineUrl, '--port', '0');
    const address = await line(gateway, /serves at (\S+)/);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const idleKb = residentKb(gateway.pid!);
    const cpuBefore = cpuMs(gateway.pid!);
    const clients = Array.from({ length: Math.ceil(streams / STREAMS_PER_PROCESS) }, (_, index) => {
      const count = Math.min(STREAMS_PER_PROCESS, streams - index * STREAMS_PER_PROCESS);
      return start('--import', 'tsx', SELF, 'client', String(count), address);
    });
    const started = await Promise.all(clients.map((child) => line(child, /^ready (\d+)/)));
    const opened = started.reduce((sum, count) => sum + Number(count), 0);
    const openKb = residentKb(gateway.pid!);
    const openCpuMs = cpuMs(gateway.pid!) - cpuBefore;
    const quietBefore = cpuMs(gateway.pid!);
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    const quietShare = (cpuMs(gateway.pid!) - quietBefore) / 5_000;
    const ends = clients.map((child) => line(child, /^done (\d+ \d+)/));
    await fetch(`${engineUrl}/end`, { method: 'POST' });
    const ended = (await Promise.all(ends)).map((counts) => counts.split(' ').map(Number));
    const whole = ended.reduce((sum, [count = 0]) => sum + count, 0);
    console.log(`limit of open files ${openFilesLimit(gateway.pid!)}`);
    console.log(`streams asked for   ${streams}`);
    console.log(`open at once        ${opened}`);
    console.log(`ended with [DONE]   ${whole}`);
    console.log(
      `gateway memory      ${Math.round(idleKb / 1024)} MB idle, ${Math.round(openKb / 1024)} MB with all open`,
    );
    console.log(`per open stream     ${((openKb - idleKb) / Math.max(1, opened)).toFixed(1)} kB`);
    console.log(`CPU to open one     ${(openCpuMs / Math.max(1, opened)).toFixed(2)} ms`);
    console.log(`CPU while all quiet ${(100 * quietShare).toFixed(1)} % of a core`);
    if (whole !== streams) process.exitCode = 1;
  } finally {
    for (const child of children) child.kill('SIGKILL');
  }
}

function line(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout!.on('data', (data: Buffer) => {
      text += data.toString();
      for (const each of text.split('\n')) {
        const match = pattern.exec(each);
        if (match) resolve(match[1]!);
      }
    });
    void once(child, 'exit').then(([code]) =>
      reject(new Error(`a process ended with ${String(code)}: ${text.slice(-300)}`)),
    );
  });
}

function openFilesLimit(pid: number): string {
  return /Max open files\s+(\S+)/.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1] ?? 'unknown';
}

function residentKb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

/** User and system time, milliseconds; the kernel counts in hundredths of a second. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
