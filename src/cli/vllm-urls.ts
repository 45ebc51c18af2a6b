import { isIP } from 'node:net';
import { InvalidArgumentError } from 'commander';
import type { FleetNode } from '../config/fleet-change.js';
import { readApiKey } from '../config/keys.js';
import { unknownEngineSpec } from '../engine/vllm/discover.js';
import { ENGINE_URL_HINT, engineAddress, parseEngineUrl, withoutPassword } from '../model/engine-address.js';
import type { NodeSpec } from '../model/fleet.js';
import { behindName } from './server-names.js';

/** The value of `--vllm`: base URLs, separated by commas; see {@link ServerNames} for those that begin with `dns+`. */
export function parseUrls(text: string): string[] {
  const ids = new Set<string>();
  return text.split(',').map((part) => {
    const url = part.trim();
    const named = behindName(url);
    if (named !== undefined && !isNamed(named))
      throw new InvalidArgumentError(`"${withoutPassword(url)}" should be dns+http://NAME:PORT, without TLS.`);
    if (named === undefined && !parseEngineUrl(url))
      throw new InvalidArgumentError(`"${withoutPassword(url)}" ${ENGINE_URL_HINT}.`);
    // Two engines of one name would be one, with the seats of two.
    const id = idOf(named ?? url);
    if (ids.has(id)) throw new InvalidArgumentError(`"${url}" is named twice. Name each server once.`);
    ids.add(id);
    return url;
  });
}

/** Certificates are made out for names, so that servers behind one of them are asked without TLS. */
function isNamed(url: string): boolean {
  const address = parseEngineUrl(url);
  return address !== undefined && !address.secure && address.socketPath === undefined && isIP(address.host) === 0;
}

/** What an engine is called of which only the URL is known: its host and port, or the path of its socket, with what cannot stand in a header written as in URLs. */
function idOf(url: string): string {
  const { socketPath, origin } = engineAddress(url);
  return socketPath === undefined ? new URL(origin).host : encodeURI(socketPath);
}

/** A socket is one of this host. */
function hostOf(url: string): string {
  const { socketPath, origin } = engineAddress(url);
  return socketPath === undefined ? new URL(origin).hostname : '127.0.0.1';
}

/** One node for each host; which servers share GPUs cannot be seen from outside. */
export function discoveredNodes(urls: readonly string[]): NodeSpec[] {
  const byHost = new Map<string, string[]>();
  for (const url of urls) {
    const hostname = hostOf(url);
    byHost.set(hostname, [...(byHost.get(hostname) ?? []), url]);
  }
  return [...byHost].map(([hostname, hostUrls]) => ({
    nodeId: hostname,
    clusterId: 'local',
    gpus: [],
    hostMemoryBytes: Number.POSITIVE_INFINITY,
    engines: hostUrls.map((url) => unknownEngineSpec(idOf(url), hostname, url.replace(/\/+$/, ''))),
  }));
}

/** The same as nodes of a fleet that may change. */
export function discoveredFleet(urls: readonly string[]): FleetNode[] {
  return discoveredNodes(urls).map(({ engines, ...node }) => ({
    spec: { ...node, engines: [] },
    telemetry: 'none',
    emulated: false,
    members: engines.map((spec) => ({ spec })),
  }));
}

/** The API key that all servers named by `--vllm` ask for; `variable` is what `--api-key-env` names. */
export function vllmApiKey(variable: string | undefined): string | undefined {
  return variable === undefined ? undefined : readApiKey(variable, 'the API key of the servers');
}

/** The same by engine id. */
export function vllmApiKeys(urls: readonly string[], apiKey: string | undefined): Map<string, string> {
  return new Map(apiKey === undefined ? [] : urls.map((url) => [idOf(url), apiKey]));
}
