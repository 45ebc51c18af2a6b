import { join } from 'node:path';
import { engineApiKeys, keyVariables } from '../config/keys.js';
import { kvcachedName } from '../config/node-specs.js';
import type { MaestroConfig } from '../config/schema.js';
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

/** The vLLM servers that this process starts and watches. */
export interface StartedEngines {
  readonly supervisors: readonly EngineSupervisor[];
  /** Is an engine of the model being started, with a fair chance that it will serve? */
  comesBack(model: string): boolean;
  /** Are the weights of the engine still to be brought onto the node? */
  isFetching(engineId: string): boolean;
  /** Nobody has listened on the engine's port for so long. */
  refused(engineId: string, forMs: number): void;
  /** Ends them, or leaves them to the next run, as the config says. */
  end(): Promise<void>;
  /** Ends those that the config does not keep, and waits for nothing. */
  endAtOnce(): void;
}

/**
 * Begins to keep every engine with a `launch` running; returns at once, for a start takes minutes.
 *
 * @param mayStart Asks the node's agent for the memory of a process.
 */
export function startEngines(
  config: MaestroConfig,
  wallClock: Clock,
  logger: Logger,
  mayStart: (nodeId: string, engineId: string, over: boolean) => boolean,
  tls?: EngineTls,
): StartedEngines {
  const { nodes, stateDir, onExit } = config.fleet;
  tellOfMissingMemory(config, logger);
  const keys = engineApiKeys(config);
  const environment = { ...process.env };
  for (const name of keyVariables(config)) delete environment[name];
  const supervisors = nodes.flatMap((node) => {
    const locks = new StartLocks();
    const turns = new StartLocks();
    return launches(node, keys).map((launch) => {
      const { engineId, fetch: command, weights: folder } = launch;
      const logPath = join(stateDir, 'logs', `${engineId}.fetch.log`);
      return new EngineSupervisor({
        ...{ launch, stateDir, clock: wallClock, locks, logger, environment, tls },
        fetch:
          command &&
          new WeightFetch({ ...{ engineId, command, folder, environment, logPath, turns, logger }, clock: wallClock }),
        mayStart: (over) => mayStart(node.id, engineId, over),
      });
    });
  });
  for (const { engineId, pid } of liveRunRecords(join(stateDir, 'run'))) {
    if (supervisors.some((supervisor) => supervisor.engineId === engineId)) continue;
    logger.warn(
      { engine: engineId, pid },
      'an engine that the fleet file no longer names still runs, and holds its GPU memory; end it with kill, or name it again',
    );
  }
  for (const supervisor of supervisors) supervisor.start();
  const end = async () => {
    await Promise.all(supervisors.map((supervisor) => (onExit === 'keep' ? supervisor.release() : supervisor.stop())));
  };
  const refused = (engineId: string, forMs: number) =>
    supervisors.find((supervisor) => supervisor.engineId === engineId)?.refused(forMs);
  const comesBack = (model: string) =>
    supervisors.some((supervisor) => supervisor.model === model && supervisor.comesBack);
  const isFetching = (engineId: string) =>
    supervisors.some((supervisor) => supervisor.engineId === engineId && supervisor.state === 'fetching');
  const endAtOnce = () => {
    if (onExit === 'stop') for (const supervisor of supervisors) supervisor.endAtOnce();
  };
  return { supervisors, comesBack, isFetching, refused, end, endAtOnce };
}

/** Does the config start engines? */
export function hasLaunches({ fleet: { nodes } }: MaestroConfig): boolean {
  return nodes.some(({ engines }) => engines.some(({ launch }) => launch !== undefined));
}

function launches(node: MaestroConfig['fleet']['nodes'][number], keys: ReadonlyMap<string, string>): EngineLaunch[] {
  return node.engines.flatMap((engine): EngineLaunch[] => {
    if (!engine.launch || engine.url === undefined) return [];
    const apiKey = keys.get(engine.id);
    const { program, weights, fetch, args, env, toolCallParser, reasoningParser } = engine.launch;
    return [
      {
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
      },
    ];
  });
}
