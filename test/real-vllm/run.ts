/**
 * `npm run test:real-vllm`: what only real vLLM can prove. Without `MAESTRO_VLLM_URL` it installs vLLM for CPUs into a cache outside the checkout and starts two servers under
 * an agent; with it, it runs the conformance suite and the tests of a gateway against the servers named there. Where neither can be had it says why and ends with success.
 * `--version 0.32.0` takes another vLLM, `--dir` another cache.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { homedir, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';

/** `install.py` ends so where vLLM cannot be installed, as opposed to a failure. */
const CANNOT = 3;

/** Well below the quarter of an hour that a step of continuous integration gets: the installation, which is done once, and the whole. On a quiet host the tests take three minutes. */
const INSTALL_LIMIT_MS = 5 * 60_000;
const LIMIT_MS = 11 * 60_000;

/** Python with which vLLM's wheels work, the default one first. */
const PYTHONS = ['python3', 'python3.12', 'python3.11', 'python3.13'];

const ROOT = join(import.meta.dirname, '..', '..');

/** What two servers with their engines need, and the packages on the disk. */
const NEEDED_MEMORY_GIB = 10;
const NEEDED_DISK_GIB = 8;

/** Ends what a test that is broken off would leave. */
let sweep: (() => void) | undefined;

function vitest(files: readonly string[], env: Readonly<Record<string, string>> = {}, timeout?: number): number {
  const runner = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const { status, error } = spawnSync(process.execPath, [runner, 'run', ...files], {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, ...env },
    timeout,
  });
  if (error && (error as NodeJS.ErrnoException).code === 'ETIMEDOUT')
    skip(`it had not ended after ${((timeout ?? 0) / 60_000).toFixed(1)} minutes; a host with more CPU time is needed`);
  return status ?? 1;
}

function skip(reason: string): never {
  sweep?.();
  console.log(`real vLLM: skipped, ${reason}`);
  process.exit(0);
}

/** What `install.py` prints about the installation. */
function install(): string {
  if (process.platform !== 'linux' || !existsSync('/proc/cpuinfo')) skip('vLLM for CPUs needs Linux');
  if (totalmem() < NEEDED_MEMORY_GIB * 2 ** 30) skip(`two servers need ${NEEDED_MEMORY_GIB} GiB of memory`);
  const { bavail, bsize } = statfsSync(homedir());
  if (bavail * bsize < NEEDED_DISK_GIB * 2 ** 30) skip(`${NEEDED_DISK_GIB} GiB of disk are needed in ${homedir()}`);
  const works = (python: string) =>
    spawnSync(python, ['-c', 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))']).status === 0;
  const python = PYTHONS.find(works);
  if (python === undefined) skip('there is no Python 3.11 to 3.13; or name a server with MAESTRO_VLLM_URL');
  const installer = join(import.meta.dirname, 'install.py');
  const { status, stdout, error } = spawnSync(python, [installer, ...process.argv.slice(2)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    timeout: INSTALL_LIMIT_MS,
  });
  if (error)
    skip(`the packages could not be had within ${INSTALL_LIMIT_MS / 60_000} minutes; the next try begins anew`);
  if (status === CANNOT) skip('vLLM cannot be installed here (see above); or name a server with MAESTRO_VLLM_URL');
  if (status !== 0) process.exit(status ?? 1);
  return stdout;
}

/** A test that was broken off leaves its agent and engines: each stands in a file, as the leader of its group. */
function endAll(folder: string): void {
  const kill = (pid: number) => {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has gone.
    }
  };
  const run = join(folder, 'state', 'run');
  if (existsSync(join(folder, 'agent.pid'))) kill(Number(readFileSync(join(folder, 'agent.pid'), 'utf8')));
  for (const name of existsSync(run) ? readdirSync(run) : []) {
    const { pid } = JSON.parse(readFileSync(join(run, name), 'utf8')) as { pid: number };
    kill(-pid);
  }
  rmSync(folder, { recursive: true, force: true });
}

function main(): number {
  if (process.env['MAESTRO_VLLM_URL']) return vitest(['test/conformance', 'test/system/real-vllm.test.ts']);
  const installed = install();
  const folder = mkdtempSync(join(tmpdir(), 'maestro-real-vllm-'));
  sweep = () => endAll(folder);
  try {
    const env = { MAESTRO_REAL_VLLM: installed, MAESTRO_REAL_VLLM_FOLDER: folder };
    return vitest(['test/real-vllm'], env, Math.round(LIMIT_MS - performance.now()));
  } finally {
    sweep();
  }
}

process.exit(main());
