import { MaestroError } from '../model/error.js';
import type { MaestroConfig } from './schema.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** A gateway key with its secret read. Keep it out of logs. */
export interface GatewayKey extends Omit<MaestroConfig['gateway']['keys'][number], 'key' | 'keyEnv'> {
  readonly key: string;
}

/** The gateway keys, those of the environment read. Throws when a variable is not set: a key that nobody can use is a mistake. */
export function gatewayKeys(config: MaestroConfig, environment: Environment = process.env): GatewayKey[] {
  return config.gateway.keys.map(({ key, keyEnv, ...rest }) => ({
    ...rest,
    key: key?.reveal() ?? readVariable(keyEnv ?? '', `the key of tenant ${rest.tenant}`, environment),
  }));
}

/** API keys of the engines that ask for one, by engine id. Throws when a variable is not set. */
export function engineApiKeys(config: MaestroConfig, environment: Environment = process.env): Map<string, string> {
  const keys = new Map<string, string>();
  for (const { id, apiKeyEnv } of config.fleet.nodes.flatMap(({ engines }) => engines)) {
    if (apiKeyEnv !== undefined) keys.set(id, readVariable(apiKeyEnv, `the API key of engine ${id}`, environment));
  }
  return keys;
}

function readVariable(name: string, what: string, environment: Environment): string {
  const value = environment[name];
  if (value) return value;
  throw new MaestroError('invalid_request', `The environment variable ${name} is not set; it should hold ${what}.`);
}
