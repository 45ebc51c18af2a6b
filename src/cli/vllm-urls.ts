import { InvalidArgumentError } from 'commander';
import { readApiKey } from '../config/keys.js';
import { unknownEngineSpec } from '../engine/vllm/discover.js';
import { ENGINE_URL_HINT, engineAddress, parseEngineUrl, withoutPassword } from '../model/engine-address.js';
import type { NodeSpec } from '../model/fleet.js';

/** The value of `--vllm`: base URLs, separated by commas. */
export function parseUrls(text: string): string[] {
  const named = new Set<string>();
  return text.split(',').map((part) => {
    const url = part.trim();
    if (!parseEngineUrl(url)) throw new InvalidArgumentError(`"${withoutPassword(url)}" ${ENGINE_URL_HINT}.`);
    // Two engines of one name would be one, with the seats of two.
    if (named.has(idOf(url))) throw new InvalidArgumentError(`"${url}" is named twice. Name each server once.`);
    named.add(idOf(url));
    return url;
  });
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

/** The API key that all servers named by `--vllm` ask for, by engine id; `variable` is what `--api-key-env` names. */
export function vllmApiKeys(urls: readonly string[], variable: string | undefined): Map<string, string> {
  if (variable === undefined) return new Map();
  const key = readApiKey(variable, 'the API key of the servers');
  return new Map(urls.map((url) => [idOf(url), key]));
}
