import { readFileSync } from 'node:fs';
import { canBePresented, LEAST_KEY_LENGTH, MAX_KEY_LENGTH } from '../model/api-key.js';
import { MaestroError, unreadableFile } from '../model/error.js';
import type { MaestroConfig } from './schema.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** What can stand in a header. */
const SENDABLE = /^[\x21-\x7e]+$/;

/** A gateway key with its secret read. Keep it out of logs. */
export interface GatewayKey extends Omit<MaestroConfig['gateway']['keys'][number], 'key' | 'keyEnv' | 'keyFile'> {
  readonly key: string;
}

/**
 * The gateway keys, those of the environment and of files read. Throws when a variable is not set or a file holds none, since a key that nobody can use is a mistake, and when two are
 * the same: whose request would it be?
 */
export function gatewayKeys(config: MaestroConfig, environment: Environment = process.env): GatewayKey[] {
  const seen = new Set<string>();
  return config.gateway.keys.map(({ key: written, keyEnv, keyFile, ...rest }) => {
    const what = `the key of tenant ${rest.tenant}`;
    const key =
      keyFile === undefined
        ? (written?.reveal() ?? readVariable(keyEnv ?? '', what, environment))
        : readGatewayKeyFile(keyFile, what);
    if (seen.has(key)) {
      throw new MaestroError('invalid_request', `An entry of gateway.keys has ${what} already; each needs its own.`);
    }
    seen.add(key);
    return { ...rest, key };
  });
}

function readGatewayKeyFile(path: string, what: string): string {
  const key = readKeyFile(path, what);
  if (key.length >= LEAST_KEY_LENGTH && canBePresented(key)) return key;
  const range = `${LEAST_KEY_LENGTH} to ${MAX_KEY_LENGTH} characters`;
  throw new MaestroError('invalid_request', `The file ${path} should hold ${what}, ${range} in one line.`);
}

/** API keys of the engines that ask for one, by engine id. Throws when a variable is not set, or a file holds no key. */
export function engineApiKeys(config: MaestroConfig, environment: Environment = process.env): Map<string, string> {
  const keys = new Map<string, string>();
  for (const { id, apiKeyEnv, apiKeyFile } of config.fleet.nodes.flatMap(({ engines }) => engines)) {
    const what = `the API key of engine ${id}`;
    if (apiKeyEnv !== undefined) keys.set(id, readApiKey(apiKeyEnv, what, environment));
    else if (apiKeyFile !== undefined) keys.set(id, readKeyFile(apiKeyFile, what));
  }
  return keys;
}

/** Names of the variables that hold keys: no business of the processes that are started here. */
export function keyVariables(config: MaestroConfig): string[] {
  const engines = config.fleet.nodes.flatMap((node) => node.engines);
  return [...config.gateway.keys.map(({ keyEnv }) => keyEnv), ...engines.map(({ apiKeyEnv }) => apiKeyEnv)].filter(
    (name) => name !== undefined,
  );
}

function readKeyFile(path: string, what: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8').trim();
  } catch (cause) {
    throw unreadableFile(path, what, cause);
  }
  if (SENDABLE.test(text)) return text;
  throw new MaestroError('invalid_request', `The file ${path} should hold ${what}, one line without spaces.`);
}

/**
 * The key of an engine in an environment variable.
 *
 * @param what Whose key it is, for the error.
 */
export function readApiKey(name: string, what: string, environment: Environment = process.env): string {
  const value = readVariable(name, what, environment);
  if (SENDABLE.test(value)) return value;
  throw new MaestroError(
    'invalid_request',
    `The environment variable ${name} should hold ${what}, one line without spaces or characters beyond ASCII.`,
  );
}

function readVariable(name: string, what: string, environment: Environment): string {
  const value = environment[name];
  if (value) return value;
  throw new MaestroError('invalid_request', `The environment variable ${name} is not set; it should hold ${what}.`);
}
