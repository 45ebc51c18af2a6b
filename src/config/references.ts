import { isAbsolute } from 'node:path';
import { canBePresented, LEAST_KEY_LENGTH, MAX_KEY_LENGTH } from '../model/api-key.js';
import { isLoopback, parseEngineUrl } from '../model/engine-address.js';
import { GPU_NAMES } from '../model/gpu-catalogue.js';
import { objectOf } from '../model/json.js';
import { findLlm, LLM_NAMES } from '../model/llm-catalogue.js';
import { unknownName } from './issues.js';
import { isOpenToOthers } from './listen.js';
import { checkParameters } from './parameters.js';
import type { ConfigPath, Finding } from './problem.js';
import { MASK } from './secret.js';
import { checkServedNames, servedNames } from './served-names.js';
import type { Entry, Written } from './written.js';

interface Name {
  readonly path: ConfigPath;
  readonly name: string;
}

/**
 * Checks how the parts of a config refer to each other: names that must exist, names that must be unique, fields that exclude or
 * need each other. Works on the file as written, so that these problems are told together with those that the schema finds;
 * what has the wrong shape is passed over here.
 */
export function checkReferences(
  written: unknown,
  environment: Readonly<Record<string, string | undefined>>,
): Finding[] {
  const root = objectOf(written);
  const nodes = entries(objectOf(root['fleet']), ['fleet'], 'nodes');
  const engines = nodes.flatMap((node) =>
    entries(node.fields, node.path, 'engines').map((engine) => ({ node, engine })),
  );
  const allEngines = engines.map(({ engine }) => engine);
  const ownModels = names(entries(root, [], 'models'), 'name');
  const ownGpus = names(entries(root, [], 'gpus'), 'name');
  return [
    ...duplicates('node id', names(nodes, 'id')),
    ...duplicates('engine id', names(allEngines, 'id')),
    ...duplicates('url', allEngines.flatMap(sameServer)),
    ...duplicates('model', ownModels),
    ...duplicates('GPU type', ownGpus),
    ...duplicates('class', names(entries(root, [], 'classes'), 'name')),
    ...nodes.flatMap((node) => checkNode(node, ownGpus)),
    ...engines.flatMap(({ node, engine }) => checkEngine(engine, node, ownModels)),
    ...checkServedNames(root, allEngines),
    ...checkParameters(objectOf(root['parameters']), servedNames(allEngines)),
    ...checkClassNames(root),
    ...checkTimeScale(root, allEngines),
    ...checkKeys(root, environment),
    ...checkListen(root),
  ];
}

function checkNode(node: Entry, ownGpus: readonly Name[]): Finding[] {
  const known = [...ownGpus.map(({ name }) => name), ...GPU_NAMES];
  const findings = (gpuTypes(node) ?? [])
    .filter(({ name }) => !known.includes(name))
    .map((type): Finding => ({ ...unknownName('GPU type', type.name, known), path: type.path, at: 'value' }));
  const sleeper = entries(node.fields, node.path, 'engines').find(({ fields }) => canSleep(fields));
  if (sleeper && node.fields['hostMemory'] === undefined) {
    findings.push({
      path: node.path,
      at: 'value',
      severity: 'error',
      message: `hostMemory is missing, but ${sleeper.fields['id'] === undefined ? 'one of its engines' : `engine ${String(sleeper.fields['id'])}`} can sleep and keeps its weights in host RAM then`,
      fix: 'Say how much host RAM the sleeping weights may take, for example hostMemory: 512GiB.',
    });
  }
  return findings;
}

function checkEngine({ fields, path }: Entry, node: Entry, ownModels: readonly Name[]): Finding[] {
  const findings: Finding[] = [];
  const report = (field: string, message: string, fix?: string, severity: Finding['severity'] = 'error') =>
    findings.push({ path: [...path, field], at: 'value', severity, message, fix });
  const emulated = fields['url'] === undefined;
  const model = fields['model'];
  const known = [...ownModels.map(({ name }) => name), ...LLM_NAMES];
  if (typeof model === 'string' && !known.includes(model) && !findLlm(model)) {
    const unknown = unknownName('model', model, known);
    if (emulated) findings.push({ ...unknown, path: [...path, 'model'], at: 'value' });
    else
      report(
        'model',
        unknown.message,
        `${unknown.fix ?? ''} Its batch size and memory will be learned.`.trim(),
        'warning',
      );
  }
  const indices = Array.isArray(fields['gpus']) ? (fields['gpus'] as readonly unknown[]) : [];
  const gpuCount = gpuTypes(node)?.length ?? Number.POSITIVE_INFINITY;
  for (const [position, index] of indices.entries()) {
    const at = [...path, 'gpus', position];
    if (typeof index === 'number' && index >= gpuCount) {
      const range = gpuCount === 0 ? 'lists no GPUs' : `has GPUs 0 to ${gpuCount - 1}`;
      findings.push({
        path: at,
        at: 'value',
        severity: 'error',
        message: `no GPU ${index}: node ${String(node.fields['id'])} ${range}`,
      });
    }
    if (indices.indexOf(index) !== position)
      findings.push({ path: at, at: 'value', severity: 'error', message: `GPU ${String(index)} is named twice` });
  }
  if (emulated && indices.length === 0 && (fields['gpus'] === undefined || Array.isArray(fields['gpus'])))
    report('gpus', 'an emulated engine needs a GPU', 'Name one by its index, for example gpus: [0].');
  checkRanks(fields, indices.length, report);
  if (fields['apiKeyEnv'] !== undefined && fields['apiKeyFile'] !== undefined) {
    report('apiKeyFile', 'apiKeyEnv names the key already', 'Keep one of the two.');
  }
  if (fields['launch'] !== undefined) checkLaunch(fields, report);
  if (fields['startAsleep'] === true && !emulated) {
    report(
      'startAsleep',
      'only an emulated engine can be told how to begin',
      'Leave it out: the state of a running server is asked for.',
    );
  } else if (fields['startAsleep'] === true && fields['sleep'] === false) {
    report('startAsleep', 'the engine cannot begin asleep, because sleep is false');
  }
  return findings;
}

/** vLLM takes tensor-parallel degree × ranks GPUs. */
function checkRanks(
  fields: Written,
  gpuCount: number,
  report: (field: string, message: string, fix?: string) => void,
): void {
  const ranks = fields['dataParallel'] ?? 1;
  if (typeof ranks !== 'number' || !Number.isInteger(ranks) || ranks <= 1) return;
  if (gpuCount % ranks !== 0) {
    const fix = `Name ${ranks} GPUs for a tensor-parallel degree of 1, ${2 * ranks} for one of 2, or another number of ranks.`;
    report(
      'dataParallel',
      `${gpuCount} ${gpuCount === 1 ? 'GPU' : 'GPUs'} cannot be divided into ${ranks} data-parallel ranks`,
      fix,
    );
  }
  if (fields['kvcached'] !== undefined) {
    report(
      'kvcached',
      'the pool of an engine with data-parallel ranks cannot be lent',
      'Leave out kvcached, or dataParallel.',
    );
  }
}

/** A started engine needs an address of its own, that nobody outside this host can reach. */
function checkLaunch(fields: Written, report: (field: string, message: string, fix?: string) => void): void {
  const { fetch, weights } = objectOf(fields['launch']);
  if (fetch !== undefined && typeof weights === 'string' && !isAbsolute(weights)) {
    const fix = 'Name the folder into which it is fetched, for example weights: /models/qwen3-8b.';
    report('launch', `what is fetched needs a folder, and weights is "${weights}"`, fix);
  }
  const url = fields['url'];
  const address = typeof url === 'string' ? parseEngineUrl(url) : undefined;
  if (typeof url !== 'string' || !address) {
    report(
      'launch',
      'a started engine needs a url',
      'Say where it shall listen, for example url: http://127.0.0.1:8001.',
    );
    return;
  }
  if (address.socketPath !== undefined) return;
  const { hostname, port } = new URL(url);
  if (port === '') report('url', 'a started engine needs a port', `Write ${url.replace(/\/+$/, '')}:8001.`);
  if (!isLoopback(hostname)) {
    report(
      'url',
      'a started engine listens on loopback only: its control endpoints have no password',
      'Use 127.0.0.1; run Maestro on the host of its GPUs.',
    );
  }
}

/** The server that an engine's `url` leads to, however it is written. */
function sameServer({ fields, path }: Entry): Name[] {
  const { url } = fields;
  const address = typeof url === 'string' ? parseEngineUrl(url) : undefined;
  if (!address) return [];
  if (address.socketPath !== undefined) return [{ path: [...path, 'url'], name: `unix:${address.socketPath}` }];
  const { protocol, host } = new URL(address.origin);
  return [{ path: [...path, 'url'], name: `${protocol}//${host.replace(/^localhost(?=:|$)/, '127.0.0.1')}` }];
}

function checkClassNames(root: Written): Finding[] {
  const declared = names(entries(root, [], 'classes'), 'name').map(({ name }) => name);
  const known = (root['classes'] ?? undefined) === undefined ? ['interactive', 'batch'] : declared;
  const keys = entries(objectOf(root['gateway']), ['gateway'], 'keys');
  const uses: Name[] = [
    ...names([{ path: [], fields: root }], 'defaultClass'),
    ...names(entries(root, [], 'templates'), 'class'),
    ...names(keys, 'maxClass'),
    ...names(keys, 'defaultClass'),
  ];
  const findings = uses
    .filter(({ name }) => !known.includes(name))
    .map((use): Finding => ({ ...unknownName('class', use.name, known), path: use.path, at: 'value' }));
  if (root['defaultClass'] === undefined && known.length > 0 && !known.includes('interactive')) {
    findings.push({
      path: ['classes'],
      at: 'key',
      severity: 'error',
      message: 'no class is called "interactive", which defaultClass stands at',
      fix: `Set defaultClass to one of: ${known.join(', ')}.`,
    });
  }
  return findings;
}

function checkTimeScale(root: Written, engines: readonly Entry[]): Finding[] {
  const timeScale = objectOf(root['fleet'])['timeScale'];
  const real = engines.find(({ fields }) => fields['url'] !== undefined);
  if (timeScale === undefined || timeScale === 1 || !real) return [];
  return [
    {
      path: ['fleet', 'timeScale'],
      at: 'value',
      severity: 'error',
      message: `time can only be scaled where every engine is emulated, and ${String(real.fields['id'])} has a url`,
    },
  ];
}

function checkKeys(root: Written, environment: Readonly<Record<string, string | undefined>>): Finding[] {
  const seen = new Set<unknown>();
  return entries(objectOf(root['gateway']), ['gateway'], 'keys').flatMap(({ fields, path }): Finding[] => {
    const variable = fields['keyEnv'];
    const given = ['key', 'keyEnv', 'keyFile'].filter((name) => fields[name] !== undefined);
    if (given.length !== 1) {
      return [{ path, at: 'value', severity: 'error', message: 'exactly one of keyEnv, keyFile and key is needed' }];
    }
    const at = (field: string, severity: Finding['severity'], message: string): Finding[] => [
      { path: [...path, field], at: 'value', severity, message },
    ];
    const key = typeof variable === 'string' ? environment[variable] : fields['key'];
    if (!key)
      return typeof variable === 'string'
        ? at('keyEnv', 'warning', `the environment variable ${variable} is not set here`)
        : [];
    const own = variable === undefined ? 'key' : 'keyEnv';
    if (key === MASK)
      return at(own, 'error', 'is what `config show` prints in place of a key, and anybody could guess it');
    if (typeof key === 'string' && !canBePresented(key)) {
      const message = `no request can present such a key: at most ${MAX_KEY_LENGTH} characters, none of them a space or beyond ASCII`;
      return at(own, 'error', message);
    }
    // Where the key stands in the file, its schema has looked at that.
    if (typeof variable === 'string' && typeof key === 'string' && key.length < LEAST_KEY_LENGTH) {
      return at(
        own,
        'error',
        `the key in the environment variable ${variable} has fewer than ${LEAST_KEY_LENGTH} characters`,
      );
    }
    // Whose request would it be?
    if (seen.has(key)) return at(own, 'error', 'an entry above has the same key; each needs its own');
    seen.add(key);
    return [];
  });
}

function checkListen(root: Written): Finding[] {
  const host = objectOf(root['listen'])['host'];
  const gateway = objectOf(root['gateway']);
  const keys = entries(gateway, ['gateway'], 'keys');
  const asks = keys.length > 0 || objectOf(gateway['tls'])['clientCa'] !== undefined;
  if (typeof host !== 'string' || !isOpenToOthers(host, asks, gateway['insecure'] === true)) return [];
  return [
    {
      path: ['listen', 'host'],
      at: 'value',
      severity: 'error',
      message: `"${host}" lets other machines in, and no key is asked of them`,
      fix: 'Add gateway.keys or gateway.tls.clientCa, listen on 127.0.0.1, or set gateway.insecure: true.',
    },
  ];
}

function canSleep(engine: Written): boolean {
  const started = engine['url'] === undefined || engine['launch'] !== undefined;
  return engine['sleep'] === undefined ? started : engine['sleep'] === true;
}

/** The GPU types of a node as written, one entry a GPU. */
/** The GPUs of a node; undefined where what is written says nothing of them, which the schema tells. */
function gpuTypes({ fields, path }: Entry): Name[] | undefined {
  const gpus = fields['gpus'];
  if (gpus === undefined) return [];
  if (Array.isArray(gpus)) {
    return gpus.flatMap((type: unknown, index) =>
      typeof type === 'string' ? [{ name: type, path: [...path, 'gpus', index] }] : [],
    );
  }
  const { type, count } = objectOf(gpus);
  if (typeof type !== 'string' || typeof count !== 'number' || !(count > 0 && count <= 64)) return undefined;
  return Array.from({ length: count }, () => ({ name: type, path: [...path, 'gpus', 'type'] })).slice(0, count);
}

function duplicates(what: string, all: readonly Name[]): Finding[] {
  const seen = new Set<string>();
  return all.flatMap(({ name, path }): Finding[] => {
    if (!seen.has(name)) {
      seen.add(name);
      return [];
    }
    return [
      { path, at: 'value', severity: 'error', message: `${what} "${name}" is used twice`, fix: 'Each needs its own.' },
    ];
  });
}

function names(list: readonly Entry[], field: string): Name[] {
  return list.flatMap(({ fields, path }) => {
    const name = fields[field];
    return typeof name === 'string' ? [{ name, path: [...path, field] }] : [];
  });
}

function entries(parent: Written, path: ConfigPath, field: string): Entry[] {
  const value = parent[field];
  const items: [string | number, unknown][] = Array.isArray(value)
    ? [...(value as readonly unknown[]).entries()]
    : Object.entries(objectOf(value));
  return items.map(([step, item]) => ({ path: [...path, field, step], fields: objectOf(item) }));
}
