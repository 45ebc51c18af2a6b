import { parseEngineUrl } from '../model/engine-address.js';
import { objectOf } from '../model/json.js';
import { leadsTo } from './listen.js';
import { nearest } from './nearest.js';
import type { ConfigPath, Finding } from './problem.js';
import type { Written } from './written.js';

/** A plain number of milliseconds below this, where seconds or minutes are usual, was most likely meant in seconds. */
const SHORT_MS = 1000;

/** Fields of requests that rules are mostly about: OpenAI's and vLLM's. Others may be named as well. */
const USUAL_PARAMETERS: readonly string[] = [
  ...[
    'max_tokens',
    'min_tokens',
    'temperature',
    'top_p',
    'top_k',
    'min_p',
    'n',
    'best_of',
    'seed',
    'stop',
    'ignore_eos',
  ],
  ...['presence_penalty', 'frequency_penalty', 'repetition_penalty', 'logit_bias', 'logprobs', 'top_logprobs'],
  ...['prompt_logprobs', 'tools', 'tool_choice', 'parallel_tool_calls', 'response_format', 'reasoning_effort', 'user'],
  ...['metadata', 'service_tier', 'cache_salt', 'prompt_cache_key', 'chat_template', 'chat_template_kwargs'],
];

/** What a config may say, and was most likely not meant: warnings. Works on the file as written. */
export function checkDoubts(written: unknown, exists: (path: string) => boolean): Finding[] {
  const root = objectOf(written);
  return [
    ...shortTimes(root),
    ...unusualParameters(root),
    ...ownAddresses(root),
    ...forgottenUrls(root),
    ...unlikeLimits(root),
    ...missingFiles(root, exists),
  ];
}

function shortTimes(root: Written): Finding[] {
  const fields: [ConfigPath, unknown][] = [
    ...Object.entries(objectOf(objectOf(root['gateway'])['timeouts'])).map(([name, value]): [ConfigPath, unknown] => [
      ['gateway', 'timeouts', name],
      value,
    ]),
    ...listOf(root['classes']).map(({ deadline }, index): [ConfigPath, unknown] => [
      ['classes', index, 'deadline'],
      deadline,
    ]),
    ...Object.entries(objectOf(root['templates'])).map(([name, template]): [ConfigPath, unknown] => [
      ['templates', name, 'deadline'],
      objectOf(template)['deadline'],
    ]),
  ];
  return fields.flatMap(([path, value]) =>
    typeof value === 'number' && value > 0 && value < SHORT_MS
      ? [doubt(path, `${value} is ${value} milliseconds`, `Write ${value}s if seconds are meant, ${value}ms if not.`)]
      : [],
  );
}

function unusualParameters(root: Written): Finding[] {
  return Object.entries(objectOf(root['parameters'])).flatMap(([model, rules]) =>
    Object.entries(objectOf(rules)).flatMap(([kind, ruled]) => {
      const names: [string | number, unknown][] = Array.isArray(ruled)
        ? [...(ruled as readonly unknown[]).entries()]
        : Object.keys(objectOf(ruled)).map((name) => [name, name]);
      return names.flatMap(([step, name]): Finding[] => {
        if (typeof name !== 'string' || USUAL_PARAMETERS.includes(name)) return [];
        const usual = nearest(name, USUAL_PARAMETERS);
        if (usual === undefined) return [];
        const finding = doubt(['parameters', model, kind, step], `unusual field "${name}"`, `Did you mean "${usual}"?`);
        return [{ ...finding, at: typeof step === 'number' ? 'value' : 'key' }];
      });
    }),
  );
}

/** Requests to such an engine would come back, each as a new one. */
function ownAddresses(root: Written): Finding[] {
  const { host = '127.0.0.1', port = 8080 } = objectOf(root['listen']);
  if (typeof host !== 'string' || typeof port !== 'number') return [];
  return listOf(objectOf(root['fleet'])['nodes']).flatMap(({ engines }, node) =>
    listOf(engines).flatMap(({ url }, engine) => {
      const address = typeof url === 'string' ? parseEngineUrl(url) : undefined;
      if (!address || !leadsTo(address, host, port)) return [];
      const path = ['fleet', 'nodes', node, 'engines', engine, 'url'];
      return [
        doubt(path, `Maestro itself listens there (${host}:${port})`, 'Correct it, or choose another listen.port.'),
      ];
    }),
  );
}

/** Part of the clients would get made-up answers. */
function forgottenUrls(root: Written): Finding[] {
  const engines = listOf(objectOf(root['fleet'])['nodes']).flatMap((node, at) =>
    listOf(node['engines']).map((engine, index) => ({ engine, path: ['fleet', 'nodes', at, 'engines', index] })),
  );
  if (engines.every(({ engine }) => engine['url'] === undefined)) return [];
  return engines.flatMap(({ engine, path }) =>
    engine['url'] === undefined && engine['launch'] === undefined
      ? [doubt(path, 'has no url and is emulated, beside engines that have one', 'Say where its server listens.')]
      : [],
  );
}

/** Limits are those of a tenant, each key is held to what it says itself, and what is used by a key without one counts for none. */
function unlikeLimits(root: Written): Finding[] {
  const firsts = new Map<unknown, Written>();
  return listOf(objectOf(root['gateway'])['keys']).flatMap((key, index) => {
    const { tenant } = key;
    const first = firsts.get(tenant) ?? key;
    firsts.set(tenant, first);
    return ['maxOpenRequests', 'requestsPerMinute', 'tokensPerMinute'].flatMap((limit): Finding[] => {
      if (key[limit] === first[limit]) return [];
      const path = ['gateway', 'keys', index, key[limit] === undefined ? 'tenant' : limit];
      const message = `another key of ${String(tenant)} has ${first[limit] === undefined ? 'no' : String(first[limit])} ${limit}`;
      return [doubt(path, message, 'Give all keys of a tenant the same limits, or them tenants of their own.')];
    });
  });
}

/** Paths that `maestro up` reads, as seen from the folder in which the check runs. */
function missingFiles(root: Written, exists: (path: string) => boolean): Finding[] {
  const tls = objectOf(objectOf(root['fleet'])['tls']);
  const doorTls = objectOf(objectOf(root['gateway'])['tls']);
  const { model, embedder } = objectOf(root['prediction']);
  const paths: [ConfigPath, unknown][] = [
    [['prediction', 'model'], model === 'default' || model === 'none' ? undefined : model],
    [['prediction', 'embedder'], embedder],
    ...['ca', 'cert', 'key'].map((name): [ConfigPath, unknown] => [['fleet', 'tls', name], tls[name]]),
    ...['cert', 'key', 'clientCa'].map((name): [ConfigPath, unknown] => [['gateway', 'tls', name], doorTls[name]]),
  ];
  return paths.flatMap(([path, value]) =>
    typeof value === 'string' && value !== '' && !exists(value)
      ? [doubt(path, `there is no ${path.at(-1) === 'key' ? 'such file' : `"${value}"`} here`)]
      : [],
  );
}

function doubt(path: ConfigPath, message: string, fix?: string): Finding {
  return { path, at: 'value', severity: 'warning', message, fix };
}

function listOf(value: unknown): Written[] {
  return Array.isArray(value) ? value.map(objectOf) : [];
}
