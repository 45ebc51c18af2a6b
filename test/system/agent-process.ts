import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import type { FleetSnapshot } from '../../src/bus/contract.js';
import { WallClock } from '../../src/bus/wall-clock.js';
import { endGroup } from '../../src/engine/supervise/engine-process.js';
import { groupMembers, processEntry } from '../../src/engine/supervise/process-table.js';
import { MAESTRO, ROOT } from './built.js';
import { freePort } from './free-port.js';

export const ENGINES = ['a', 'b'] as const;
export type EngineId = (typeof ENGINES)[number];

/** A fleet file, as JSON, which is YAML as well. */
interface AgentConfig {
  readonly fleet: object;
  readonly [field: string]: unknown;
}

/** `maestro up` with a fleet file of two engines, `a` and `b`, that it starts itself: a process of its own, so that it can be killed, and what it has started. */
export class AgentProcess {
  address = '';
  private agent: ChildProcess | undefined;
  private gone: Promise<unknown> = Promise.resolve();
  private port = 0;
  private ports: Record<EngineId, number> = { a: 0, b: 0 };
  private readonly groups = new Set<number>();

  /**
   * @param config The fleet file, for the folder of this agent and the addresses of the engines.
   * @param folder Where it keeps its files; removed with it.
   * @param sockets Engines that listen on a Unix socket in that folder, and not on a port.
   */
  constructor(
    private readonly config: (folder: string, urls: Readonly<Record<EngineId, string>>) => AgentConfig,
    readonly folder = mkdtempSync(join(tmpdir(), 'maestro-agent-')),
    private readonly sockets: readonly EngineId[] = [],
  ) {}

  async start(onExit: 'keep' | 'stop' = 'keep'): Promise<void> {
    if (this.port === 0) {
      this.port = await freePort();
      this.ports = { a: await freePort(), b: await freePort() };
      this.address = `http://127.0.0.1:${this.port}`;
    }
    const file = join(this.folder, 'fleet.json');
    const { fleet, ...rest } = this.config(this.folder, { a: this.url('a'), b: this.url('b') });
    const stateDir = join(this.folder, 'state');
    writeFileSync(file, JSON.stringify({ ...rest, fleet: { ...fleet, stateDir, onExit } }));
    const log = openSync(join(this.folder, 'agent.log'), 'a');
    const agent = spawn(process.execPath, [MAESTRO, 'up', '--fleet', file, '--port', String(this.port)], {
      cwd: ROOT,
      stdio: ['ignore', log, log],
    });
    this.agent = agent;
    writeFileSync(join(this.folder, 'agent.pid'), String(agent.pid));
    this.gone = once(agent, 'exit');
    await until('the agent answers', 60_000, async () => {
      if (agent.exitCode !== null) throw new Error(`the agent ended:\n${this.log().slice(-3_000)}`);
      return (await this.get('/livez')).status === 200;
    });
  }

  async endAgent(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.agent?.kill(signal);
    await this.gone;
  }

  log(): string {
    return readFileSync(join(this.folder, 'agent.log'), 'utf8');
  }

  url(engine: EngineId): string {
    return this.sockets.includes(engine)
      ? `unix:${join(this.folder, `${engine}.sock`)}`
      : `http://127.0.0.1:${this.ports[engine]}`;
  }

  /** The API server of an engine, by the agent's own record; undefined while none is started. */
  pid(engine: EngineId): number | undefined {
    try {
      const { pid } = JSON.parse(readFileSync(join(this.folder, 'state/run', `${engine}.json`), 'utf8'));
      this.groups.add(pid);
      return pid;
    } catch {
      return undefined;
    }
  }

  /** A process below the API server, by the title that vLLM gives it. */
  childOf(engine: EngineId, title: 'EngineCore' | 'Worker'): number | undefined {
    return groupMembers(this.pid(engine) ?? -1).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`VLLM::${title}`),
    );
  }

  async fleet(): Promise<FleetSnapshot> {
    return JSON.parse((await this.get('/v1/maestro/fleet')).text);
  }

  async state(engine: EngineId): Promise<string> {
    return (await this.fleet()).engines.find(({ engineId }) => engineId === engine)!.state;
  }

  /** Both engines answer, awake or asleep. */
  async allUp(limitMs = 600_000): Promise<void> {
    const isUp = async () =>
      (await this.fleet()).engines.every(({ state }) => state === 'running' || state === 'sleeping');
    try {
      await until('both engines answer', limitMs, isUp);
    } catch (error) {
      throw new Error(`the agent's last words:\n${this.log().slice(-3_000)}`, { cause: error });
    }
  }

  async get(path: string): Promise<{ status: number; text: string }> {
    try {
      const answer = await request(this.address + path);
      return { status: answer.statusCode, text: await answer.body.text() };
    } catch {
      return { status: 0, text: '' };
    }
  }

  /** Sums of a page of metrics, by the value of one label. */
  async counts(url: string, metric: string, label: string): Promise<Record<string, number>> {
    const text = await (await request(`${url}/metrics`)).body.text();
    const sums: Record<string, number> = {};
    for (const line of text.split('\n')) {
      if (!line.startsWith(`${metric}{`)) continue;
      const value = new RegExp(`${label}="([^"]*)"`).exec(line)?.[1] ?? '';
      sums[value] = (sums[value] ?? 0) + Number(line.slice(line.lastIndexOf(' ')));
    }
    return sums;
  }

  /** Ends whatever is left, however far a test has come. */
  async dispose(): Promise<void> {
    this.agent?.kill('SIGKILL');
    await this.gone;
    for (const engine of ENGINES) this.pid(engine);
    const clock = new WallClock();
    await Promise.all([...this.groups].map((group) => endGroup(group, 2_000, clock)));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export function alive(pid: number): boolean {
  const entry = processEntry(pid);
  return entry !== undefined && entry.state !== 'Z';
}

/** Waits until it holds; a limit says that something is broken, never that something is slow. */
export async function until(what: string, limitMs: number, holds: () => Promise<boolean> | boolean): Promise<void> {
  const endMs = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error(`${what}: not within ${limitMs / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
