import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { WallClock } from '../../bus/wall-clock.js';
import type { GpuSpec } from '../../model/gpu.js';
import type { Dtype, LlmSpec } from '../../model/llm.js';
import { findLlm } from '../../model/llm-catalogue.js';
import { type KvDtype, weightBytesPerGpu } from '../../model/memory.js';
import type { DeviceSnapshot } from '../device.js';
import { kvcachedEnvironment } from '../kvcached/segment.js';
import { loraFlags } from '../lora-flags.js';
import { DeviceHost } from './device-host.js';
import { type DeviceServer, serveDevice } from './device-server.js';
import { DEFAULT_RESIDUE_BYTES } from './options.js';

/** One emulated engine of a fleet. Bytes are per GPU. */
export interface FleetEngine {
  readonly engineId: string;
  /** Catalogue name; with `llm`, any name. */
  readonly model: string;
  readonly llm?: LlmSpec;
  readonly servedName?: string;
  /** Folders of its LoRA adapters, by their names. */
  readonly adapters?: Readonly<Record<string, string>>;
  readonly gpuIndices: readonly number[];
  /** Data-parallel ranks that they are divided into. Default 1. */
  readonly dataParallel?: number;
  readonly dtype: Dtype;
  readonly kvDtype?: KvDtype;
  readonly kvMemoryBytes: number;
  /** Of each rank. */
  readonly maxNumSeqs: number;
  readonly maxModelLen: number;
  readonly residueBytes?: number;
  /** With sleep mode; default true. */
  readonly sleep?: boolean;
  readonly startAsleep: boolean;
  /** With kvcached, under this name in shared memory. */
  readonly kvcachedName?: string;
}

export interface FleetNode {
  readonly nodeId: string;
  readonly gpus: readonly GpuSpec[];
  readonly hostMemoryBytes: number;
  readonly engines: readonly FleetEngine[];
}

export interface FleetConfig {
  readonly nodes: readonly FleetNode[];
  readonly timeScale: number;
  /** The `maestro` entry file. Default: the one of this installation. */
  readonly binPath?: string;
  readonly logger?: { info(data: object, message: string): void; warn(data: object, message: string): void };
}

export interface FleetMember {
  readonly engineId: string;
  readonly nodeId: string;
  readonly url: string;
  readonly pid: number;
}

export interface EmulatedFleet {
  /** As of now: a restarted engine has another process, at the same address. */
  readonly engines: readonly FleetMember[];
  /** GPU telemetry of a node. */
  device(nodeId: string): DeviceSnapshot;
  kill(engineId: string, signal?: NodeJS.Signals): Promise<void>;
  /** Starts an engine that has died, at its old address. */
  restart(engineId: string): Promise<FleetMember>;
  /** Ends every process; resolves when all are gone. */
  stop(): Promise<void>;
}

/** How long an engine may take to listen: process start and module loading on a busy machine. */
const READY_TIMEOUT_MS = 60_000;
/** A process that has not followed SIGTERM by then is killed. */
const TERM_TIMEOUT_MS = 2_000;
/** What is kept of a process's standard error, to explain why it did not start. */
const STDERR_TAIL = 4_000;

/**
 * Starts an emulated fleet: one device for each node, in this process, and one process for each engine. Every engine runs with the
 * flags that Maestro recommends for vLLM, save forced usage. When this process dies, in whatever way, its engines end by themselves.
 */
export async function startEmulatedFleet(config: FleetConfig): Promise<EmulatedFleet> {
  const folder = await mkdtemp(join(tmpdir(), 'maestro-fleet-'));
  const clock = new WallClock(config.timeScale);
  const members = new Map<string, Member>();
  const devices = new Map<string, { host: DeviceHost; server: DeviceServer }>();
  const stop = async () => {
    await Promise.all([...members.values()].map((member) => member.end()));
    for (const { server } of devices.values()) await server.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    for (const [index, node] of config.nodes.entries()) {
      const hostMemoryBytes = Math.min(node.hostMemoryBytes, Number.MAX_SAFE_INTEGER);
      const host = new DeviceHost({ gpus: node.gpus, hostMemoryBytes }, clock);
      const server = await serveDevice(host, join(folder, `node-${index}.sock`));
      devices.set(node.nodeId, { host, server });
      for (const engine of node.engines) {
        members.set(engine.engineId, new Member(engine, node, server.socketPath, config));
      }
    }
    await Promise.all([...members.values()].map((member) => member.start()));
  } catch (error) {
    await stop();
    throw error;
  }
  const memberOf = (engineId: string) => {
    const member = members.get(engineId);
    if (!member) throw new Error(`no emulated engine "${engineId}"`);
    return member;
  };
  return {
    get engines() {
      return [...members.values()].map((member) => member.describe());
    },
    device: (nodeId) => {
      const device = devices.get(nodeId);
      if (!device) throw new Error(`no emulated node "${nodeId}"`);
      return device.host.snapshot();
    },
    kill: (engineId, signal = 'SIGKILL') => memberOf(engineId).kill(signal),
    restart: async (engineId) => {
      const member = memberOf(engineId);
      await member.start();
      return member.describe();
    },
    stop,
  };
}

/** One engine process of the fleet, and the ones that follow it at its address. */
class Member {
  private child: ChildProcess | undefined;
  private gone: Promise<void> = Promise.resolve();
  private url = '';
  private stopping = false;

  constructor(
    private readonly engine: FleetEngine,
    private readonly node: FleetNode,
    private readonly deviceSocket: string,
    private readonly config: FleetConfig,
  ) {}

  describe(): FleetMember {
    return { engineId: this.engine.engineId, nodeId: this.node.nodeId, url: this.url, pid: this.child?.pid ?? 0 };
  }

  async start(): Promise<void> {
    if (this.child) throw new Error(`${this.engine.engineId} runs already`);
    const child = spawn(process.execPath, [...entryArguments(this.config.binPath), ...this.flags()], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: {
        ...process.env,
        VLLM_SERVER_DEV_MODE: '1',
        NODE_OPTIONS: '',
        // A key of the user's own servers; nobody would send it to these.
        VLLM_API_KEY: undefined,
        ...kvcachedEnvironment(this.engine.kvcachedName),
      },
    });
    this.child = child;
    let errors = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      errors = (errors + chunk).slice(-STDERR_TAIL);
    });
    this.gone = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.child = undefined;
        if (!this.stopping)
          this.config.logger?.warn({ engineId: this.engine.engineId, code, signal }, 'emulated engine ended');
        resolve();
      });
      child.once('error', () => resolve());
    });
    await new Promise<void>((resolve, reject) => {
      const fail = (why: string) =>
        reject(new Error(`emulated engine ${this.engine.engineId} ${why}${errors ? `:\n${errors.trim()}` : ''}`));
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        fail(`does not listen after ${READY_TIMEOUT_MS / 1000} s`);
      }, READY_TIMEOUT_MS);
      child.once('error', (error) => fail(`cannot be started (${error.message})`));
      // With the streams closed too, all of its last words are in.
      child.once('close', (code) => {
        clearTimeout(timer);
        fail(`ended with code ${code} before it listened`);
      });
      child.on('message', (message: { kind?: string; url?: string }) => {
        if (message.kind !== 'listening' || message.url === undefined) return;
        clearTimeout(timer);
        this.url = message.url;
        this.config.logger?.info(
          { engineId: this.engine.engineId, url: this.url, pid: child.pid },
          'emulated engine listens',
        );
        resolve();
      });
    });
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    this.child?.kill(signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await this.gone;
  }

  async end(): Promise<void> {
    this.stopping = true;
    const child = this.child;
    if (!child) return;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), TERM_TIMEOUT_MS);
    await this.gone;
    clearTimeout(timer);
  }

  private flags(): string[] {
    const { engine, node } = this;
    const gpu = node.gpus[engine.gpuIndices[0] ?? -1];
    if (!gpu) throw new Error(`${engine.engineId} names no GPU of node ${node.nodeId}`);
    const residueBytes = Math.round(engine.residueBytes ?? DEFAULT_RESIDUE_BYTES);
    const port = this.url === '' ? '0' : new URL(this.url).port;
    const sleeps = engine.sleep ?? true;
    return [
      'emulate',
      ...['--model', engine.model, '--gpu', gpu.name, '--gpu-spec', JSON.stringify(gpu)],
      ...(engine.llm ? ['--llm-spec', JSON.stringify(engine.llm)] : []),
      ...(engine.servedName ? ['--served-model-name', engine.servedName] : []),
      ...loraFlags(engine.adapters),
      ...['--port', port, '--time-scale', String(this.config.timeScale)],
      ...['--device', this.deviceSocket, '--gpus', engine.gpuIndices.join(',')],
      ...(engine.dataParallel === undefined ? [] : ['--data-parallel-size', String(engine.dataParallel)]),
      ...['--dtype', engine.dtype, '--kv-cache-dtype', engine.kvDtype ?? 'bf16'],
      ...['--kv-cache-memory-bytes', String(Math.floor(engine.kvMemoryBytes))],
      ...['--max-num-seqs', String(engine.maxNumSeqs), '--max-model-len', String(engine.maxModelLen)],
      ...['--residue-bytes', String(residueBytes)],
      ...['--gpu-memory-utilization', String(startupShare(engine, gpu, residueBytes))],
      ...(sleeps ? ['--enable-sleep-mode'] : []),
      ...(engine.startAsleep ? ['--start-asleep'] : []),
      ...['--scheduling-policy', 'priority', '--enable-prompt-tokens-details', '--enable-per-request-metrics'],
      ...['--enable-request-id-headers', '--enable-server-load-tracking', '--dev-mode'],
      ...['--enable-auto-tool-choice', '--tool-call-parser', 'hermes'],
    ];
  }
}

/** The share of its GPUs that the start-up guard must find free: what the engine will take, no more, since others share them. */
function startupShare(engine: FleetEngine, gpu: GpuSpec, residueBytes: number): number {
  const llm = engine.llm ?? findLlm(engine.model);
  if (!llm) throw new Error(`no model "${engine.model}" in the catalogue`);
  const weightBytes = weightBytesPerGpu(llm, engine.dtype, engine.gpuIndices.length, engine.dataParallel);
  const awakeBytes = engine.startAsleep ? 0 : weightBytes + engine.kvMemoryBytes;
  return Math.floor(((residueBytes + awakeBytes) / gpu.memoryBytes) * 1e4) / 1e4;
}

/** Arguments of Node that run the command line: the built one, or the source through tsx. */
function entryArguments(binPath: string | undefined): string[] {
  const source = import.meta.url.endsWith('.ts');
  const entry = binPath ?? fileURLToPath(new URL(`../../cli/main.${source ? 'ts' : 'js'}`, import.meta.url));
  if (!entry.endsWith('.ts')) return [entry];
  return ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href, entry];
}
