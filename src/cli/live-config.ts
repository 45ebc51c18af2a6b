import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { parse } from 'yaml';
import { gatewayKeys } from '../config/keys.js';
import { type LoadedConfig, parseConfig } from '../config/load.js';
import type { MaestroConfig } from '../config/schema.js';
import { DEFAULT_GATEWAY_CONFIG, type GatewayConfig } from '../gateway/index.js';
import { MaestroError } from '../model/error.js';
import type { Logger } from '../observe/log.js';

/** Fields of the config file, with all below them, that take effect without a restart; of `fleet.nodes` what {@link LiveFleet} can change. */
export const LIVE_FIELDS: readonly string[] = [
  'aliases',
  'defaultClass',
  'templates',
  'parameters',
  'gateway.keys',
  'gateway.bodyLimit',
  'gateway.heartbeat',
  'gateway.heartbeatWhole',
  'gateway.timeouts.firstToken',
  'gateway.timeouts.betweenTokens',
  'gateway.timeouts.total',
  'gateway.timeouts.idleWrite',
  'observe.logLevel',
  'models',
  'gpus',
  'fleet.nodes',
];

/** The running config with the {@link LIVE_FIELDS} of another. A default class that does not run yet waits as well. */
export function withLiveFields(running: MaestroConfig, next: MaestroConfig): MaestroConfig {
  const { keys, bodyLimitBytes, heartbeatMs, heartbeatWholeMs, timeouts } = next.gateway;
  const { queueMs } = running.gateway.timeouts;
  return {
    ...running,
    aliases: next.aliases,
    templates: next.templates,
    parameters: next.parameters,
    defaultClass: running.classes.some(({ name }) => name === next.defaultClass)
      ? next.defaultClass
      : running.defaultClass,
    gateway: {
      ...running.gateway,
      ...{ keys, bodyLimitBytes, heartbeatMs, heartbeatWholeMs, timeouts: { ...timeouts, queueMs } },
    },
    observe: { ...running.observe, logLevel: next.observe.logLevel },
    models: next.models,
    gpus: next.gpus,
    fleet: { ...running.fleet, nodes: next.fleet.nodes },
  };
}

/** What the gateway needs of the config, its keys read. Throws when one is in no variable. */
export function gatewayConfig(config: MaestroConfig): GatewayConfig {
  const { gateway, defaultClass, templates, parameters } = config;
  return {
    ...DEFAULT_GATEWAY_CONFIG,
    ...gateway,
    keys: gatewayKeys(config),
    defaultClass,
    templates,
    parameters,
    readsText: config.prediction.readText,
    timeouts: { ...DEFAULT_GATEWAY_CONFIG.timeouts, ...gateway.timeouts },
  };
}

/** Names of the fields in which two config files differ, as the file has them: the live ones, and those above or beside them. */
export function changedFields(before: unknown, after: unknown, path = ''): string[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (LIVE_FIELDS.includes(path)) return [path];
  const [old, young] = [before ?? {}, after ?? {}];
  if (!isMapping(old) || !isMapping(young)) return [path];
  const names = new Set([...Object.keys(old), ...Object.keys(young)]);
  return [...names].flatMap((name) => changedFields(old[name], young[name], path === '' ? name : `${path}.${name}`));
}

/** Reads the config file again when it is told to, and puts the {@link LIVE_FIELDS} into effect; what is wrong with the file changes nothing. */
export class ConfigReload {
  reloads = 0;
  failures = 0;
  private readonly started: unknown;
  private last: unknown;

  private readonly file: string;

  /** @param apply Puts it into effect, or throws and changes nothing. Returns names of what waits for a restart although it is live elsewhere. */
  constructor(
    { file, text }: Pick<LoadedConfig, 'file' | 'text'>,
    private readonly apply: (config: MaestroConfig) => readonly string[],
    private readonly logger: Logger,
  ) {
    this.file = file;
    this.started = parse(text);
    this.last = this.started;
  }

  reload(): void {
    const { file, logger } = this;
    try {
      const text = readFileSync(file, 'utf8');
      const next = parseConfig(text, file);
      const document: unknown = parse(text);
      // So does a file look that is just being written, and a pipe that has been read. Taken for a config it would ask for no key.
      if (document === null) throw new MaestroError('invalid_request', 'the file is empty');
      const refused = this.apply(next);
      const isLive = (name: string) => LIVE_FIELDS.includes(name);
      const changed = changedFields(this.last, document).filter(isLive);
      const waiting = changedFields(this.started, document).filter((name) => !isLive(name));
      waiting.push(...refused);
      this.last = document;
      this.reloads += 1;
      logger.info({ file, changed }, 'the config was read again');
      if (waiting.length > 0) logger.warn({ file, waiting }, 'these changes of the config wait for a restart');
    } catch (error) {
      this.failures += 1;
      logger.error(
        { file, problem: (error as Error).message },
        'the config was not read again; the former one serves on',
      );
    }
  }
}

function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
