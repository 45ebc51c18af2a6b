import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { TargetName } from './options.js';
import { freePort, type Running, startServer } from './processes.js';

/** The release that is measured. */
const VLLM_ROUTER = 'vllm-router==0.1.17';

/** What a target is put in front of. */
export interface Backends {
  readonly urls: readonly string[];
  /** KV tokens of one engine, which an operator would tell a router that asks for it. */
  readonly kvPoolTokens: number;
  /** The fleet file as parsed YAML, for a target that is told models and GPUs. */
  readonly fleet: FleetFile;
  readonly mainPath: string;
  /** Where peers are installed. */
  readonly cacheDir: string;
  /** Folder for configurations and logs. */
  readonly dir: string;
}

export interface FleetFile {
  readonly scheduling?: object;
  readonly fleet: { readonly nodes: readonly { readonly engines: readonly object[] }[] };
}

export interface StartedTarget extends Running {
  readonly url: string;
}

/** One way to spread requests over the fleet. */
export interface Target {
  readonly name: TargetName;
  /** How it is set up, for the report. */
  readonly about: string;
  /** Makes sure that its program is there; else the reason, and how to get it. */
  prepare(cacheDir: string): string | undefined;
  start(backends: Backends): Promise<StartedTarget>;
}

export const TARGETS: readonly Target[] = [
  {
    name: 'nginx',
    about: 'round robin, keep-alive, no buffering; is told nothing',
    prepare: () =>
      spawnSync('nginx', ['-v']).error ? 'nginx is not in PATH (Debian: apt-get install nginx-light)' : undefined,
    start: startNginx,
  },
  {
    name: 'vllm-router',
    about: `${VLLM_ROUTER}, --policy cache_aware, other flags default; renders every prompt at the engines`,
    prepare: installVllmRouter,
    start: (backends) => startVllmRouter(backends, []),
  },
  {
    name: 'vllm-router-programs',
    about: `${VLLM_ROUTER}, cache_aware, --enable-program-scheduling with the engines' true KV capacity; knows programs by agentic_context`,
    prepare: installVllmRouter,
    start: (backends) =>
      startVllmRouter(backends, [
        '--enable-program-scheduling',
        '--program-scheduling-config-json',
        JSON.stringify({ token_capacity_per_dp_rank: backends.kvPoolTokens }),
      ]),
  },
  {
    name: 'maestro',
    about:
      'maestro up --vllm URLS: all else default; reads models and limits from the engines; knows workflows by x-maestro-* headers',
    prepare: () => undefined,
    start: (backends) => startMaestro(backends, ['--vllm', backends.urls.join(',')]),
  },
  {
    name: 'maestro-fleet',
    about: 'maestro up --fleet FILE: the same engines, their models and GPUs named',
    prepare: () => undefined,
    start: (backends) => {
      const path = join(backends.dir, 'fleet.yaml');
      writeFileSync(path, stringify(withUrls(backends.fleet, backends.urls)));
      return startMaestro(backends, ['--fleet', path]);
    },
  },
];

/** The fleet file with the address of each engine, in their order. */
export function withUrls(file: FleetFile, urls: readonly string[]): FleetFile {
  let next = 0;
  const nodes = file.fleet.nodes.map((node) => ({
    ...node,
    engines: node.engines.map((engine) => ({ ...engine, url: urls[next++]! })),
  }));
  return { ...file, fleet: { ...file.fleet, nodes } };
}

async function startNginx({ urls, dir }: Backends): Promise<StartedTarget> {
  const port = await freePort();
  const servers = urls.map((url) => `server ${new URL(url).host};`).join(' ');
  const path = join(dir, 'nginx.conf');
  writeFileSync(
    path,
    `worker_processes 1; pid ${dir}/nginx.pid; error_log ${dir}/nginx.log; daemon off;
events { worker_connections 4096; }
http {
  access_log off; client_body_temp_path ${dir}; proxy_temp_path ${dir}; client_max_body_size 64m; client_body_buffer_size 1m;
  upstream engines { ${servers} keepalive 128; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 600s;
    }
  }
}
`,
  );
  const url = `http://127.0.0.1:${port}`;
  const running = await startServer(['nginx', '-c', path, '-p', dir], `${url}/v1/models`, join(dir, 'target.log'));
  return { ...running, url };
}

/** Into a virtual environment under the cache folder, once. */
function installVllmRouter(cacheDir: string): string | undefined {
  const venv = join(cacheDir, VLLM_ROUTER.replace('==', '-'));
  if (existsSync(programOf(cacheDir))) return undefined;
  mkdirSync(cacheDir, { recursive: true });
  for (const argv of [
    ['python3', '-m', 'venv', venv],
    [join(venv, 'bin', 'pip'), 'install', '--quiet', VLLM_ROUTER],
  ]) {
    const { error, status, stderr } = spawnSync(argv[0]!, argv.slice(1), { encoding: 'utf8' });
    if (error) return `${argv[0]} cannot be run (${error.message}); it needs Python 3 with venv`;
    if (status !== 0) return `${argv.join(' ')} failed: ${stderr.trim().split('\n').at(-1)}`;
  }
  return existsSync(programOf(cacheDir)) ? undefined : `${VLLM_ROUTER} has no program vllm-router`;
}

function programOf(cacheDir: string): string {
  return join(cacheDir, VLLM_ROUTER.replace('==', '-'), 'bin', 'vllm-router');
}

async function startVllmRouter(backends: Backends, flags: readonly string[]): Promise<StartedTarget> {
  const [port, metricsPort] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const argv = [
    programOf(backends.cacheDir),
    ...['--worker-urls', ...backends.urls, '--policy', 'cache_aware', '--log-level', 'error'],
    ...['--host', '127.0.0.1', '--port', String(port), '--prometheus-port', String(metricsPort), ...flags],
  ];
  return { ...(await startServer(argv, `${url}/v1/models`, join(backends.dir, 'target.log'))), url };
}

async function startMaestro({ mainPath, dir }: Backends, flags: readonly string[]): Promise<StartedTarget> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const argv = [process.execPath, mainPath, 'up', ...flags, '--port', String(port)];
  return { ...(await startServer(argv, `${url}/readyz`, join(dir, 'target.log'))), url };
}
