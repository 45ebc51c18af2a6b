import { join } from 'node:path';
import type { Clock } from '../../model/clock.js';
import type { EngineSpec } from '../../model/fleet.js';
import type { EngineEvent } from '../../node/actions.js';
import { type KvLimit, kvLimitOf } from '../kvcached/kv-limit.js';
import { canaryFile } from './canary-file.js';
import { VllmClient } from './client.js';
import type { DiscoveredEngine } from './discover.js';
import { type EngineTls, trustFix } from './engine-tls.js';
import type { EngineMetrics } from './metrics.js';
import {
  type Barrier,
  DEFAULT_MONITOR_CONFIG,
  EngineMonitor,
  type MonitorConfig,
  type MonitorDownReason,
} from './monitor.js';
import { DEFAULT_MOVE_LIMITS, EngineMoves, type MoveLimits } from './moves.js';

export type NodeLogger = Record<'info' | 'warn', (fields: object, message: string) => void>;

/** How engines are reached, watched and moved; the same for all of a node. */
export interface LiveEngineOptions {
  /** Real time, for probes and limits of real sockets. */
  readonly wallClock: Clock;
  readonly monitor?: Partial<MonitorConfig>;
  readonly moveLimits?: Partial<MoveLimits>;
  /** Hears of an engine on whose port nobody has listened for so long. */
  readonly onRefused?: (engineId: string, forMs: number) => void;
  /** vLLM's API key of an engine, where it has one. */
  readonly apiKey?: (engineId: string) => string | undefined;
  /** For engines at `https://` URLs. */
  readonly tls?: EngineTls | undefined;
  /** Folder for what is to outlive this process. Absent: nothing does. */
  readonly stateDir?: string;
  readonly logger: NodeLogger;
}

/** One engine as its node's agent holds it: the connections to it, and what watches and moves it. */
export interface LiveEngine {
  /** As it was asked for, without what the engine says itself. */
  readonly spec: EngineSpec;
  readonly client: VllmClient;
  readonly moves: EngineMoves;
  readonly monitor: EngineMonitor;
  readonly kvLimit: KvLimit | undefined;
  /** Counts processes: what an earlier one answers late is dropped. */
  incarnation: number;
  moving: boolean;
}

/** What the agent hears of the engine, and is asked about it. */
interface LiveEngineEvents {
  readonly up: (found: DiscoveredEngine) => void;
  readonly down: (reason: MonitorDownReason, detail: string) => void;
  readonly metrics: (metrics: EngineMetrics) => void;
  readonly outstanding: () => number;
  readonly event: (event: EngineEvent) => void;
}

const SEVERAL_SERVERS =
  'several servers answer at this URL in turn, as behind a load balancer: what one of them tells is taken for all. Name each by a URL of its own';

/** Opens nothing yet: the monitor begins when it is started. */
export function openLiveEngine(spec: EngineSpec, options: LiveEngineOptions, events: LiveEngineEvents): LiveEngine {
  const { engineId, url } = spec;
  const { wallClock, apiKey, tls, monitor, moveLimits, logger, onRefused, stateDir } = options;
  const client = new VllmClient({ url, apiKey: apiKey && (() => apiKey(engineId)), tls, clock: wallClock });
  const { up, down, metrics, outstanding, event } = events;
  const canary =
    stateDir === undefined
      ? undefined
      : canaryFile(join(stateDir, 'canary', `${engineId}.json`), (err) =>
          logger.warn({ engineId, err }, 'what the engine answers cannot be kept over a restart of this agent'),
        );
  return {
    spec,
    client,
    moves: new EngineMoves(client, { ...DEFAULT_MOVE_LIMITS, ...moveLimits }, canary),
    monitor: new EngineMonitor(
      client,
      wallClock,
      { ...DEFAULT_MONITOR_CONFIG, ...monitor },
      {
        ...{ up, down, metrics, outstanding },
        adapters: (adapters) => {
          logger.info({ engineId, adapters }, 'adapters of the engine have changed');
          event({ kind: 'adapters', engineId, adapters });
        },
        barred: (by, message) => logger.warn({ engineId, message }, barredBy(by, message, apiKey?.(engineId))),
        absent: (message) =>
          logger.info({ engineId, message }, 'engine does not answer yet; it is asked until it does'),
        several: () => logger.warn({ engineId, url }, SEVERAL_SERVERS),
        refused: (forMs) => onRefused?.(engineId, forMs),
      },
    ),
    kvLimit: kvLimitOf(spec, client, wallClock, {
      onLimited: (bytes) => event({ kind: 'kv-limited', engineId, bytes }),
      onFailed: (message) => {
        logger.warn({ engineId, message }, 'the KV limit cannot be moved; the pool counts as fixed');
        event({ kind: 'kv-limit-failed', engineId });
      },
    }),
    incarnation: 0,
    moving: false,
  };
}

/** Ends the watch over the engine and all connections to it; calls that are under way break. */
export async function closeLiveEngine({ client, monitor, kvLimit }: LiveEngine): Promise<void> {
  monitor.stop();
  kvLimit?.stop();
  await client.close();
}

function barredBy(by: Barrier, message: string, apiKey: string | undefined): string {
  if (by === 'tls') return `engine and Maestro do not trust each other. ${trustFix(message)}`;
  if (apiKey !== undefined)
    return 'engine refuses the API key that it is sent: correct apiKeyEnv, apiKeyFile or --api-key-env';
  return 'engine asks for an API key: name it with apiKeyEnv, apiKeyFile or --api-key-env';
}
