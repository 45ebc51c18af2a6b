import { join } from 'node:path';
import { engineApiKeys, keyVariables } from '../config/keys.js';
import { kvcachedName } from '../config/node-specs.js';
import type { EngineConfig, MaestroConfig } from '../config/schema.js';
import { isSleepCapable } from '../config/sizing.js';
import type { EngineLaunch } from '../engine/supervise/launch-command.js';
import { liveRunRecords } from '../engine/supervise/run-record.js';
import { StartLocks } from '../engine/supervise/start-locks.js';
import { EngineSupervisor } from '../engine/supervise/supervisor.js';
import { WeightFetch } from '../engine/supervise/weight-fetch.js';
import type { EngineTls } from '../engine/vllm/engine-tls.js';
import type { Clock } from '../model/clock.js';
import type { Logger } from '../observe/log.js';
import { tellOfMissingMemory } from './host-memory.js';

export interface StartedEnginesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Asks the node's agent for the memory of a process. */
  readonly mayStart: (nodeId: string, engineId: string, over: boolean) => boolean;
  readonly tls?: EngineTls | undefined;
}

/** The vLLM servers that this process starts and watches. */
export class StartedEngines {
  private readonly byEngine = new Map<string, EngineSupervisor>();
  private readonly locksOf = new Map<string, { readonly starts: StartLocks; readonly fetches: StartLocks }>();

  constructor(private readonly options: StartedEnginesOptions) {}

  get supervisors(): EngineSupervisor[] {
    return [...this.byEngine.values()];
  }

  /** Begins to keep an engine with a `launch` running; returns at once, for a start takes minutes. */
  begin(config: MaestroConfig, nodeId: string, engine: EngineConfig, apiKey: string | undefined): void {
    const { clock, logger, mayStart, tls } = this.options;
    const launch = launchOf(engine, apiKey);
    if (!launch) return;
    const { stateDir } = config.fleet;
    const { engineId, fetch: command, weights: folder } = launch;
    const environment = { ...process.env };
    for (const name of keyVariables(config)) delete environment[name];
    const { starts: locks, fetches: turns } = this.locks(nodeId);
    const logPath = join(stateDir, 'logs', `${engineId}.fetch.log`);
    const supervisor = new EngineSupervisor({
      ...{ launch, stateDir, clock, locks, logger, environment, tls },
      fetch: command && new WeightFetch({ engineId, command, folder, environment, logPath, turns, logger, clock }),
      mayStart: (over) => mayStart(nodeId, engineId, over),
    });
    this.byEngine.set(engineId, supervisor);
    supervisor.start();
  }

  /** Ends the engine for good, if it is one of these. */
  async end(engineId: string): Promise<void> {
    const supervisor = this.byEngine.get(engineId);
    await supervisor?.stop();
    this.byEngine.delete(engineId);
  }

  /** Is an engine of the model being started, with a fair chance that it will serve? */
  comesBack(model: string): boolean {
    return this.supervisors.some((supervisor) => supervisor.model === model && supervisor.comesBack);
  }

  /** Are the weights of the engine still to be brought onto the node? */
  isFetching(engineId: string): boolean {
    return this.byEngine.get(engineId)?.state === 'fetching';
  }

  /** Nobody has listened on the engine's port for so long. */
  refused(engineId: string, forMs: number): void {
    this.byEngine.get(engineId)?.refused(forMs);
  }

  /** Ends them, or leaves them to the next run, as the config says. */
  async endAll({ onExit }: MaestroConfig['fleet']): Promise<void> {
    await Promise.all(
      this.supervisors.map((supervisor) => (onExit === 'keep' ? supervisor.release() : supervisor.stop())),
    );
  }

  /** Ends those that the config does not keep, and waits for nothing. */
  endAtOnce({ onExit }: MaestroConfig['fleet']): void {
    if (onExit === 'stop') for (const supervisor of this.supervisors) supervisor.endAtOnce();
  }

  private locks(nodeId: string): { readonly starts: StartLocks; readonly fetches: StartLocks } {
    const locks = this.locksOf.get(nodeId) ?? { starts: new StartLocks(), fetches: new StartLocks() };
    this.locksOf.set(nodeId, locks);
    return locks;
  }
}

/** Begins to keep every engine with a `launch` running. */
export function startEngines(config: MaestroConfig, options: StartedEnginesOptions): StartedEngines {
  const { logger } = options;
  tellOfMissingMemory(config, logger);
  const engines = config.fleet.nodes.flatMap((node) => node.engines.map((engine) => ({ nodeId: node.id, engine })));
  for (const { engineId, pid } of liveRunRecords(join(config.fleet.stateDir, 'run'))) {
    if (engines.some(({ engine }) => engine.id === engineId && engine.launch)) continue;
    logger.warn(
      { engine: engineId, pid },
      'an engine that the fleet file no longer names still runs, and holds its GPU memory; end it with kill, or name it again',
    );
  }
  const started = new StartedEngines(options);
  const keys = engineApiKeys(config);
  for (const { nodeId, engine } of engines) started.begin(config, nodeId, engine, keys.get(engine.id));
  return started;
}

/** Does the config start engines? */
export function hasLaunches({ fleet: { nodes } }: MaestroConfig): boolean {
  return nodes.some(({ engines }) => engines.some(({ launch }) => launch !== undefined));
}

function launchOf(engine: EngineConfig, apiKey: string | undefined): EngineLaunch | undefined {
  if (!engine.launch || engine.url === undefined) return undefined;
  const { program, weights, fetch, args, env, toolCallParser, reasoningParser } = engine.launch;
  return {
    engineId: engine.id,
    program,
    weights,
    servedName: engine.servedName ?? engine.model,
    ...(engine.adapters ? { adapters: engine.adapters } : {}),
    url: engine.url,
    gpuIndices: engine.gpus,
    ...(engine.dataParallel > 1 ? { dataParallel: engine.dataParallel } : {}),
    sleep: isSleepCapable(engine),
    maxNumSeqs: engine.maxNumSeqs,
    kvDtype: engine.kvDtype,
    args,
    env,
    ...(engine.maxModelLen === undefined ? {} : { maxModelLen: engine.maxModelLen }),
    ...(engine.kvMemoryBytes === undefined ? {} : { kvMemoryBytes: engine.kvMemoryBytes }),
    ...(engine.kvcached ? { kvcachedName: kvcachedName(engine) } : {}),
    ...(fetch === undefined ? {} : { fetch }),
    ...(apiKey === undefined ? {} : { apiKey }),
    ...(toolCallParser === undefined ? {} : { toolCallParser }),
    ...(reasoningParser === undefined ? {} : { reasoningParser }),
  };
}
