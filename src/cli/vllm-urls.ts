import { InvalidArgumentError } from 'commander';
import { unknownEngineSpec } from '../engine/vllm/discover.js';
import { MaestroError } from '../model/error.js';
import type { NodeSpec } from '../model/fleet.js';

/** The value of `--vllm`: base URLs, separated by commas. */
export function parseUrls(text: string): string[] {
  return text.split(',').map((part) => {
    const url = part.trim();
    if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw new InvalidArgumentError(`"${url}" is not a URL such as http://127.0.0.1:8000.`);
    }
    return url;
  });
}

/** One node for each host; which servers share GPUs cannot be seen from outside. */
export function discoveredNodes(urls: readonly string[]): NodeSpec[] {
  const byHost = new Map<string, string[]>();
  for (const url of urls) {
    const { hostname } = new URL(url);
    byHost.set(hostname, [...(byHost.get(hostname) ?? []), url]);
  }
  return [...byHost].map(([hostname, hostUrls]) => ({
    nodeId: hostname,
    clusterId: 'local',
    gpus: [],
    hostMemoryBytes: Number.POSITIVE_INFINITY,
    engines: hostUrls.map((url) => unknownEngineSpec(new URL(url).host, hostname, url.replace(/\/+$/, ''))),
  }));
}

/** The API key that all servers named by `--vllm` ask for, by engine id; `variable` is what `--api-key-env` names. */
export function vllmApiKeys(urls: readonly string[], variable: string | undefined): Map<string, string> {
  if (variable === undefined) return new Map();
  const key = process.env[variable];
  if (key) return new Map(urls.map((url) => [new URL(url).host, key]));
  throw new MaestroError(
    'invalid_request',
    `The environment variable ${variable} is not set; it should hold the API key.`,
  );
}
