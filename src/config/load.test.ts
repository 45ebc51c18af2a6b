import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_GATEWAY_CONFIG } from '../gateway/config.js';
import { engineAddress } from '../model/engine-address.js';
import { MaestroError } from '../model/error.js';
import { GiB } from '../model/units.js';
import { effectiveConfig } from './effective.js';
import { engineApiKeys, gatewayKeys, keyVariables } from './keys.js';
import { leadsTo } from './listen.js';
import { checkConfig, loadConfig, parseConfig } from './load.js';
import { ConfigError, formatProblem } from './problem.js';
import { configJsonSchema, configSchema } from './schema.js';

/** `line:column path: message` of every problem. */
function problemsOf(text: string, environment: Record<string, string> = {}): string[] {
  return checkConfig(text, 'f.yaml', environment).problems.map(
    ({ line, column, path, message, severity }) =>
      `${line}:${column} ${severity === 'warning' ? 'warning ' : ''}${path}: ${message}`,
  );
}

/** A node of two H100s with these engines, one flow mapping each. */
function fleet(...engines: string[]): string {
  return [
    'fleet:',
    '  nodes:',
    '    - id: n',
    '      gpus: {type: h100-sxm, count: 2}',
    '      hostMemory: 512GiB',
    '      engines:',
    ...engines.map((engine) => `        - ${engine}`),
    '',
  ].join('\n');
}

/** A config with one fault, and the beginning of what is said about it. */
const WRONG: readonly (readonly [text: string, expected: string])[] = [
  ['a: 1\na: 2', '2:1 : not valid YAML: Map keys must be unique'],
  ['- a', '1:1 : must be a mapping, not a list'],
  ['listen:', '1:1 listen: is empty'],
  ['listen: {port: "80"}', '1:16 listen.port: must be a number, not "80"'],
  ['listen: {port: 80.5}', '1:16 listen.port: must be a whole number, not 80.5'],
  ['classes: [{name: interactive, kind: batch, deadline: 0s}]', '1:54 classes[0].deadline: "0s" must be above 0'],
  ['classes: [{name: interactive, kind: batch, deadline: 1s, tpot: 0}]', '1:64 classes[0].tpot: 0 must be above 0'],
  ['gateway: {tls: {cert: package.json}}', '1:11 gateway.tls.key: is missing'],
  ['gateway: {timeouts: {total: 0}}', '1:29 gateway.timeouts.total: 0 must be above 0'],
  ['classes: [{name: a, deadline: 1s}]\ndefaultClass: a', '1:11 classes[0].kind: is missing'],
  [
    'classes: [{name: a, kind: batch, deadline: 1s}]',
    '1:1 classes: no class is called "interactive", which defaultClass stands at',
  ],
  ['aliases: {"a b": c}', '1:11 aliases.a b: the name must be 1 to 127 letters'],
  [
    'parameters: {m: {drop: [model]}}',
    '1:25 parameters.m.drop[0]: "model" must be left out: Maestro itself reads or sets it',
  ],
  [
    'parameters: {m: {caps: {max_output_tokens: 5}}}',
    'parameters.m.caps.max_output_tokens: the name must be written max_tokens',
  ],
  ['parameters: {"a b": {}}', '1:14 parameters.a b: the name must be that of a served model, or *'],
  ['parameters: {m: {caps: {n: many}}}', '1:28 parameters.m.caps.n: must be a number, not "many"'],
  ['parameters: {m: {drop: [user], fixed: {user: x}}}', '1:40 parameters.m.fixed.user: drop speaks of "user" already'],
  ['parameters: {m: {refuse: [user, user]}}', '1:33 parameters.m.refuse[1]: refuse speaks of "user" already'],
  [
    'parameters: {m: {defaults: {n: 5}, caps: {n: 4}}}',
    '1:32 parameters.m.defaults.n: the default of a capped field must be a number of at most 4',
  ],
  [
    `${fleet('{id: a, model: qwen3-8b, gpus: [0]}')}parameters: {qwen3-9b: {drop: [user]}}`,
    '8:14 parameters.qwen3-9b: unknown served model "qwen3-9b"',
  ],
  ['templates: {t: {class: batsh}}', '1:24 templates.t.class: unknown class "batsh"'],
  [
    'gateway: {keys: [{key: topsecret123, tenant: t}, {key: topsecret123, tenant: u}]}',
    '1:56 gateway.keys[1].key: an entry above has the same key; each needs its own',
  ],
  [
    'gateway: {keys: [{key: "********", tenant: t}]}',
    '1:24 gateway.keys[0].key: is what `config show` prints in place of a key, and anybody could guess it',
  ],
  [
    'gateway: {keys: [{key: two words, tenant: t}]}',
    '1:24 gateway.keys[0].key: no request can present such a key: at most 512 characters, none of them a space or beyond ASCII',
  ],
  [
    `gateway: {keys: [{key: ${'x'.repeat(513)}, tenant: t}]}`,
    '1:24 gateway.keys[0].key: no request can present such a key: at most 512 characters, none of them a space or beyond ASCII',
  ],
  [
    'gateway: {keys: [{tenant: t, keyEnv: K, keyFile: k}]}',
    '1:18 gateway.keys[0]: exactly one of keyEnv, keyFile and key is needed',
  ],
  ['gateway: {keys: [{tenant: t}]}', '1:18 gateway.keys[0]: exactly one of keyEnv, keyFile and key is needed'],
  ['fleet: {nodes: [{id: n, gpus: {type: h10, count: 1}}]}', '1:38 fleet.nodes[0].gpus.type: unknown GPU type "h10"'],
  [
    'fleet: {nodes: [{id: n, gpus: {type: h100-smx, count: 1}}]}',
    '1:38 fleet.nodes[0].gpus.type: unknown GPU type "h100-smx"',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0], dataParallel: 2}'),
    '7:61 fleet.nodes[0].engines[0].dataParallel: 1 GPU cannot be divided into 2 data-parallel ranks',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0, 1], dataParallel: 2, kvcached: {}}'),
    '7:67 fleet.nodes[0].engines[0].kvcached: the pool of an engine with data-parallel ranks cannot be lent',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0, 1], dataParallel: 0}'),
    '7:64 fleet.nodes[0].engines[0].dataParallel: 0 must be above 0',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0], launch: {weights: w}}'),
    '7:47 fleet.nodes[0].engines[0].launch: a started engine needs a url',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0], url: "http://127.0.0.1:8001", launch: {weights: org/w, fetch: [hf]}}'),
    '7:77 fleet.nodes[0].engines[0].launch: what is fetched needs a folder, and weights is "org/w"',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0], url: "http://10.0.0.1:8001", launch: {weights: w}}'),
    '7:52 fleet.nodes[0].engines[0].url: a started engine listens on loopback only',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0], url: "http://127.0.0.1", launch: {weights: w}}'),
    '7:52 fleet.nodes[0].engines[0].url: a started engine needs a port',
  ],
  [
    fleet(
      '{id: a, model: qwen3-8b, url: "http://127.0.0.1:8001"}',
      '{id: b, model: qwen3-8b, url: "HTTP://localhost:8001/"}',
    ),
    '8:41 fleet.nodes[0].engines[1].url: url "http://127.0.0.1:8001" is used twice',
  ],
  [
    fleet('{id: a, model: qwen3-8b, url: "unix:/run/a.sock"}', '{id: b, model: qwen3-8b, url: "unix:///run/a.sock"}'),
    '8:41 fleet.nodes[0].engines[1].url: url "unix:/run/a.sock" is used twice',
  ],
  [
    fleet('{id: a, model: qwen3-8b, url: "unix:a.sock"}'),
    '7:41 fleet.nodes[0].engines[0].url: "unix:a.sock" must be a URL such as http://127.0.0.1:8000 or unix:/run/vllm/a.sock',
  ],
  [
    fleet('{id: a, model: qwen3-8b, url: "http://a", apiKeyEnv: K, apiKeyFile: k}'),
    '7:79 fleet.nodes[0].engines[0].apiKeyFile: apiKeyEnv names the key already',
  ],
  [
    'gateway: {maxOpenBytes: 16MiB}',
    '1:25 gateway.maxOpenBytes: "16MiB" must be at least gateway.bodyLimit, or a body of that size would be turned away for ever as one too many',
  ],
  ['fleet: {nodes: [{id: n}, {id: n}]}', '1:31 fleet.nodes[1].id: node id "n" is used twice'],
  [
    'fleet: {nodes: [{id: n, engines: [{id: e, model: qwen3-8b, url: "http://a"}]}], timeScale: 2}',
    '1:92 fleet.timeScale: time can only be scaled where every engine is emulated, and e has a url',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0]}', '{id: a, model: qwen3-8b, gpus: [1]}'),
    '8:16 fleet.nodes[0].engines[1].id: engine id "a" is used twice',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [2]}'),
    '7:43 fleet.nodes[0].engines[0].gpus[0]: no GPU 2: node n has GPUs 0 to 1',
  ],
  [fleet('{id: a, model: qwen3-8b}'), '7:11 fleet.nodes[0].engines[0].gpus: an emulated engine needs a GPU'],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0], sleep: false, startAsleep: true}'),
    '7:74 fleet.nodes[0].engines[0].startAsleep: the engine cannot begin asleep, because sleep is false',
  ],
  [
    fleet('{id: a, model: llama-3.3-70b, gpus: [0]}'),
    '7:26 fleet.nodes[0].engines[0].model: a does not fit its GPU: needs 133 GiB (132 GiB weights + 0 B KV + 1 GiB residue of the engines on it), h100-sxm has 80 GiB',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0], kvMemory: 70GiB}'),
    '7:57 fleet.nodes[0].engines[0].kvMemory: a does not fit its GPU',
  ],
  [
    fleet(
      '{id: a, model: qwen3-8b, gpus: [0], kvMemory: 40GiB}',
      '{id: b, model: qwen3-8b, gpus: [0], kvMemory: 20GiB}',
    ),
    '8:11 fleet.nodes[0].engines[1]: the engines that begin awake do not fit GPU 0 of node n together',
  ],
  [
    fleet('{id: a, model: qwen3-32b, gpus: [0], kvMemory: 2GiB, maxModelLen: 32768}'),
    '7:77 fleet.nodes[0].engines[0].maxModelLen: one sequence of 32768 tokens does not fit the KV pool',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0]}').replace('512GiB', '16GiB\n      staging: {memory: 32GiB}'),
    'fleet.nodes[0].staging.memory: copies of weights may take 32 GiB of host RAM, the node has 16 GiB for all',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0]}').replace('512GiB', '16GiB\n      staging: {folder: ram, memory: 1GiB}'),
    'fleet.nodes[0].staging.folder: "ram" must be an absolute path, such as /dev/shm/maestro',
  ],
  [
    `${fleet('{id: a, model: qwen3-8b, gpus: [0]}')}aliases: {gpt: qwen-8b}`,
    '8:16 aliases.gpt: unknown served model "qwen-8b"',
  ],
  [
    fleet(
      '{id: a, model: qwen3-8b, gpus: [0], adapters: {b: /b}}',
      '{id: b, model: qwen3-4b, servedName: b, gpus: [1]}',
    ),
    '7:58 fleet.nodes[0].engines[0].adapters.b: "b" already stands for a served model',
  ],
  [
    fleet(
      '{id: a, model: qwen3-8b, gpus: [0], adapters: {plan: /p}}',
      '{id: b, model: qwen3-4b, gpus: [1], adapters: {plan: /p}}',
    ),
    '8:58 fleet.nodes[0].engines[1].adapters.plan: "plan" already stands for an adapter on qwen3-8b',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0], adapters: {plan: ""}}'),
    '7:64 fleet.nodes[0].engines[0].adapters.plan: the number of characters must be at least 1',
  ],
  [
    fleet('{id: a, model: qwen3-8b, gpus: [0]}', '{id: b, model: qwen3-4b, servedName: qwen3-8b, gpus: [1]}'),
    '8:48 fleet.nodes[0].engines[1].servedName: "qwen3-8b" already stands for model qwen3-8b',
  ],
];

describe('a config that is right', () => {
  it('has every default when the file is empty', () => {
    const config = parseConfig('', 'f.yaml');
    for (const text of ['# nothing\n', '{}']) expect(parseConfig(text, 'f.yaml')).toEqual(config);
    expect(config.listen).toEqual({ host: '127.0.0.1', port: 8080 });
    expect(config.classes.map(({ name, deadlineMs }) => [name, deadlineMs])).toEqual([
      ['interactive', 60_000],
      ['batch', 1_800_000],
    ]);
  });

  it('turns sizes into bytes and durations into milliseconds, and puts the unit into the name', () => {
    const { gateway, scheduling } = parseConfig(
      'gateway: {bodyLimit: 2MiB, timeouts: {queue: 2m, total: 90000}}\nscheduling: {minResidency: 500ms, queue: {maxBytes: 1.5 GB}}',
      'f.yaml',
    );
    expect(gateway.bodyLimitBytes).toBe(2 * 1024 * 1024);
    expect(gateway.timeouts).toMatchObject({ queueMs: 120_000, totalMs: 90_000 });
    expect(scheduling.minResidencyMs).toBe(500);
    expect(scheduling.queue.maxBytes).toBe(1.5e9);
  });

  it('agrees with the defaults that the gateway has of its own', () => {
    const { timeouts, bodyLimitBytes, headerLimitBytes, maxOpenRequests, maxOpenBytes } = parseConfig(
      '',
      'f.yaml',
    ).gateway;
    expect(DEFAULT_GATEWAY_CONFIG).toMatchObject({ bodyLimitBytes, headerLimitBytes, maxOpenRequests, maxOpenBytes });
    expect(DEFAULT_GATEWAY_CONFIG.timeouts).toMatchObject(timeouts);
  });

  it.each(['deploy/demo-fleet.yaml', 'deploy/fleet.example.yaml'])('%s is one', (path) => {
    expect(checkConfig(readFileSync(path, 'utf8'), path).problems).toEqual([]);
    expect(loadConfig(path).fleet.nodes.length).toBeGreaterThan(0);
  });

  it('may use YAML anchors', () => {
    const { fleet: loaded } = parseConfig(
      fleet(
        '&e {id: a, model: llama-3.1-8b, gpus: &g [0], kvMemory: 4GiB}',
        '{id: b, model: qwen3-8b, gpus: *g, kvMemory: 4GiB}',
      ),
      'f.yaml',
    );
    expect(loaded.nodes[0]?.engines[1]?.gpus).toEqual([0]);
  });
});

describe('a config that is wrong', () => {
  it('is refused with place, field, fault, fix and the line itself', () => {
    const text = fleet('{id: a, model: lama-3.1-8b, gpus: [0]}');
    expect(() => parseConfig(text, 'fleet.yaml')).toThrow(ConfigError);
    expect(() => parseConfig(text, 'fleet.yaml')).toThrow(
      [
        'fleet.yaml:7:26: fleet.nodes[0].engines[0].model: unknown model "lama-3.1-8b". Did you mean "llama-3.1-8b"?',
        '  7 |         - {id: a, model: lama-3.1-8b, gpus: [0]}',
        '    |                          ^',
      ].join('\n'),
    );
  });

  it.each([
    ['listen: {port: "80"}', 'must be a number, not "80". Write it without quotes: 80.'],
    [fleet('{id: a, model: qwen3-8b, gpus: 0}'), 'gpus: must be a list, not 0. Write it as a list: [0].'],
    [fleet('{id: a, model: qwen3-8b, gpus: [{index: 0}]}'), 'must be a number, not a mapping. Write the number alone.'],
    ['fleet:\n  nodes:\n    id: n', 'fleet.nodes: must be a list, not a mapping. Begin each entry with "- ".'],
    [
      fleet('{id: a, model: qwen3-8b, gpus: [0]}').replace('{type: h100-sxm, count: 2}', '2'),
      'gpus: must be a list or a mapping, not 2. Its GPUs: a list of types (`[h100-sxm, h100-sxm]`) or `{type, count}`.',
    ],
    [
      fleet('{id: a, model: qwen3-8b, gpus: [0]}').replace('count: 2', 'count: "2"'),
      'gpus.count: must be a number, not "2". Write it without quotes: 2.',
    ],
    [
      fleet('{id: a, model: qwen3-8b, url: "http://127.0.0.1:1", launch: }'),
      'launch: is empty. Give it a value (a mapping)',
    ],
    ['scheduling: {policy: FIFO}', 'unknown value "FIFO". Known: fcfs, '],
    ['fleet:\n\tnodes: []', 'not valid YAML: Tabs are not allowed as indentation. Indent with spaces.'],
    ['fleet:\n  timeScale: 1\n   nodes: []', 'and a space follows each colon.'],
    ['fleet:\n  nodes:[]\n  timeScale: 1', 'and a space follows each colon.'],
    ['fleet:\n  nodes:[]', 'must be a mapping, not "nodes:[]". Put a space behind the colon.'],
  ])('is told once, with how to write it: %j', (text, expected) => {
    const { problems } = checkConfig(text, 'f.yaml', {});
    expect(problems).toHaveLength(1);
    expect(formatProblem(problems[0]!)).toContain(expected);
  });

  it('tells all that is wrong at once, in the order of the file', () => {
    expect(
      problemsOf(
        [
          'listen: {prt: 80, host: 0.0.0.0}',
          'scheduling: {policy: maestra, queue: {maxCount: 0, max_bytes: 1GB}}',
          'classes: [{name: a, kind: batch, deadline: 5 fortnights}]',
          'defaultClass: b',
        ].join('\n'),
      ),
    ).toEqual([
      '1:10 listen.prt: unknown field "prt"',
      '1:25 listen.host: "0.0.0.0" lets other machines in, and no key is asked of them',
      '2:22 scheduling.policy: unknown value "maestra"',
      '2:49 scheduling.queue.maxCount: 0 must be above 0',
      '2:52 scheduling.queue.max_bytes: unknown field "max_bytes"',
      '3:44 classes[0].deadline: "5 fortnights" is not a duration',
      '4:15 defaultClass: unknown class "b"',
    ]);
  });

  it.each(WRONG.map(([text, expected]) => ({ text, expected })))('$expected', ({ text, expected }) => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(expected);
  });

  it('only warns of an unknown model behind a URL, because its limits can be learned', () => {
    const text = fleet('{id: a, model: my-tune, url: "http://127.0.0.1:8000"}');
    expect(problemsOf(text)).toEqual(['7:26 warning fleet.nodes[0].engines[0].model: unknown model "my-tune"']);
    expect(parseConfig(text, 'f.yaml').fleet.nodes[0]?.engines).toHaveLength(1);
  });

  it('names the file that cannot be read', () => {
    expect(() => loadConfig('no/such/file.yaml')).toThrow(/Cannot read the config file no\/such\/file\.yaml/);
  });
});

describe('secrets', () => {
  const text = 'gateway: {keys: [{key: topsecret123, tenant: t}, {keyEnv: KEY_OF_U, tenant: u}]}';

  it('are read where they are used and shown nowhere', () => {
    const config = parseConfig(text, 'f.yaml', {});
    expect(gatewayKeys(config, { KEY_OF_U: 'fromtheenvironment' }).map(({ key }) => key)).toEqual([
      'topsecret123',
      'fromtheenvironment',
    ]);
    expect(() => gatewayKeys(config, {})).toThrow(MaestroError);
    const shown = [
      JSON.stringify(config),
      String(config.gateway.keys[0]?.key),
      JSON.stringify(effectiveConfig({ gateway: config.gateway })),
    ];
    for (const output of shown) expect(output).not.toContain('topsecret');
  });

  it.each([
    'gateway: {keys: [{tenant: "a b", key: 998877665544}]}',
    'gateway:\n  keys:\n    - key: short\n      tenant: t',
    'fleet: {nodes: [{id: n, engines: [{id: e, model: m, url: "http://h:1", apiKey: short}]}]}',
    'gateway:\n  api_key: short',
    'fleet: {nodes: [{id: n, engines: [{id: e, model: m, url: "http://u:short@h:1"}]}]}',
    'gateway: {keys: short}',
    'gateway:\n  keys:\n    - short',
    'gateway: {keys: [99887766]}',
  ])('do not appear in the error about them: %s', (wrong) => {
    try {
      parseConfig(wrong, 'f.yaml', {});
      expect.unreachable();
    } catch (error) {
      expect((error as Error).message).not.toMatch(/9988|short/);
      expect((error as Error).message).toMatch(/\*{8}|what is written/);
    }
  });

  it('warn at the check and stop the start when the variable is missing', () => {
    expect(problemsOf(text)).toEqual([
      '1:59 warning gateway.keys[1].keyEnv: the environment variable KEY_OF_U is not set here',
    ]);
    const engines = parseConfig(fleet('{id: a, model: m, url: "http://a", apiKeyEnv: ENGINE_KEY}'), 'f.yaml', {});
    expect(engineApiKeys(engines, { ENGINE_KEY: 'k' })).toEqual(new Map([['a', 'k']]));
    expect(() => engineApiKeys(engines, {})).toThrow(/ENGINE_KEY/);
  });

  it('are as long in the environment as in the file, and what is not is told without them', () => {
    expect(problemsOf(text, { KEY_OF_U: 'secret7' })).toEqual([
      '1:59 gateway.keys[1].keyEnv: the key in the environment variable KEY_OF_U has fewer than 8 characters',
    ]);
    expect(problemsOf(text, { KEY_OF_U: 'secret-8' })).toEqual([]);
    const engines = parseConfig(fleet('{id: a, model: m, url: "http://a", apiKeyEnv: ENGINE_KEY}'), 'f.yaml', {});
    for (const value of ['with a line end\n', 'clé']) {
      expect(() => engineApiKeys(engines, { ENGINE_KEY: value })).toThrow(
        'The environment variable ENGINE_KEY should hold the API key of engine a, one line without spaces or characters beyond ASCII.',
      );
    }
  });

  it('reads engine API keys from files, and never tells what stands there', () => {
    const folder = mkdtempSync(join(tmpdir(), 'maestro-keys-'));
    const file = join(folder, 'key');
    const engines = parseConfig(fleet(`{id: a, model: m, url: "http://a", apiKeyFile: ${file}}`), 'f.yaml', {});
    expect(() => engineApiKeys(engines, {})).toThrow(
      `Cannot read the file ${file}, which should hold the API key of engine a: ENOENT.`,
    );
    writeFileSync(file, 'k-1\n');
    expect(engineApiKeys(engines, {})).toEqual(new Map([['a', 'k-1']]));
    writeFileSync(file, 'two words\n');
    expect(() => engineApiKeys(engines, {})).toThrow(
      /^The file .* should hold the API key of engine a, one line without spaces\.$/,
    );
    rmSync(folder, { recursive: true });
  });

  it('reads gateway keys from files, anew each time, and holds them to the rules of the others', () => {
    const folder = mkdtempSync(join(tmpdir(), 'maestro-keys-'));
    const file = join(folder, 'key');
    const keys = (more = '') =>
      gatewayKeys(parseConfig(`gateway: {keys: [${more}{keyFile: ${file}, tenant: t}]}`, 'f.yaml', {}), {});
    expect(() => keys()).toThrow(`Cannot read the file ${file}, which should hold the key of tenant t: ENOENT.`);
    writeFileSync(file, 'the-first-key\n');
    expect(keys()).toEqual([{ key: 'the-first-key', tenant: 't' }]);
    writeFileSync(file, 'the-second-key\n');
    expect(keys()).toEqual([{ key: 'the-second-key', tenant: 't' }]);
    expect(() => keys('{key: the-second-key, tenant: u}, ')).toThrow(/has the key of tenant t already/);
    for (const value of ['short-7', 'x'.repeat(513), 'two words of it', '']) {
      writeFileSync(file, value);
      expect(() => keys()).toThrow(/should hold the key of tenant t/);
    }
    rmSync(folder, { recursive: true });
  });

  it('knows which variables hold keys', () => {
    const text = `${fleet('{id: a, model: m, url: "http://a", apiKeyEnv: ENGINE_KEY}')}gateway: {keys: [{keyEnv: CLIENT_KEY, tenant: t}, {key: written-out, tenant: u}]}`;
    expect(keyVariables(parseConfig(text, 'f.yaml', {}))).toEqual(['CLIENT_KEY', 'ENGINE_KEY']);
  });
});

describe('what was most likely not meant', () => {
  const KEYS_GIVEN = { A: 'the-key-of-client-a', B: 'the-key-of-client-b', C: 'the-key-of-client-c' };
  it.each([
    ['gateway: {timeouts: {total: 30}}', '1:29 warning gateway.timeouts.total: 30 is 30 milliseconds'],
    ['gateway: {timeouts: {total: 30s}}', undefined],
    ['gateway: {timeouts: {total: 30000}}', undefined],
    [
      'classes: [{name: interactive, kind: batch, deadline: 60}]',
      '1:54 warning classes[0].deadline: 60 is 60 milliseconds',
    ],
    ['templates: {t: {deadline: 5}}', '1:27 warning templates.t.deadline: 5 is 5 milliseconds'],
    [
      'parameters: {"*": {caps: {max_token: 5}}}',
      '1:27 warning parameters.*.caps.max_token: unusual field "max_token"',
    ],
    ['parameters: {"*": {drop: [user, temprature]}}', '1:33 warning parameters.*.drop[1]: unusual field "temprature"'],
    ['parameters: {"*": {fixed: {my_own_switch: true}}}', undefined],
    [
      'fleet: {nodes: [{id: n, engines: [{id: a, model: qwen3-8b, url: "http://localhost:8080"}]}]}',
      '1:65 warning fleet.nodes[0].engines[0].url: Maestro itself listens there (127.0.0.1:8080)',
    ],
    [
      'listen: {port: 9000}\nfleet: {nodes: [{id: n, engines: [{id: a, model: qwen3-8b, url: "http://localhost:8080"}]}]}',
      undefined,
    ],
    [
      'fleet: {nodes: [{id: n, gpus: [h100-sxm], hostMemory: 64GiB, engines: [{id: a, model: qwen3-8b, gpus: [0]}, {id: b, model: qwen3-8b, url: "http://b"}]}]}',
      '1:72 warning fleet.nodes[0].engines[0]: has no url and is emulated, beside engines that have one',
    ],
    [
      'gateway: {keys: [{keyEnv: A, tenant: t, requestsPerMinute: 9}, {keyEnv: B, tenant: t}]}',
      '1:84 warning gateway.keys[1].tenant: another key of t has 9 requestsPerMinute',
    ],
    [
      'gateway: {keys: [{keyEnv: A, tenant: t}, {keyEnv: B, tenant: t, tokensPerMinute: 9}]}',
      '1:82 warning gateway.keys[1].tokensPerMinute: another key of t has no tokensPerMinute',
    ],
    [
      'gateway: {keys: [{keyEnv: A, tenant: t, maxOpenRequests: 9}, {keyEnv: B, tenant: t, maxOpenRequests: 9}, {keyEnv: C, tenant: u}]}',
      undefined,
    ],
    ['prediction: {model: defualt}', '1:21 warning prediction.model: there is no "defualt" here'],
    ['prediction: {model: none}', undefined],
    ['prediction: {model: here.onnx}', undefined],
    ['fleet: {tls: {ca: /away/ca.pem}}', '1:19 warning fleet.tls.ca: there is no "/away/ca.pem" here'],
    ['gateway: {tls: {cert: here.onnx, key: /away/a.key}}', '1:39 warning gateway.tls.key: there is no such file here'],
  ])('%s', (text, expected) => {
    const { config, problems } = checkConfig(text, 'f.yaml', KEYS_GIVEN, (path) => path === 'here.onnx');
    expect(config).toBeDefined();
    const told = problems.map(
      ({ line, column, path, message, severity }) => `${line}:${column} ${severity} ${path}: ${message}`,
    );
    expect(told).toEqual(expected === undefined ? [] : [expected]);
  });

  it.each([
    ['one that is pinned', 'startAsleep: true, pinned: true', 'startAsleep: true', 'b'],
    ['one that cannot sleep', 'sleep: false', 'startAsleep: true', 'b'],
    ['a server that cannot sleep', 'url: "http://a"', 'startAsleep: true', 'b'],
    ['one that sleeps', 'startAsleep: true', 'startAsleep: true', undefined],
    ['one that gives KV memory back', 'sleep: false, kvcached: {least: 10GiB}', 'startAsleep: true', undefined],
    ['one to a server that runs', 'startAsleep: true, pinned: true', 'url: "http://b"', 'a'],
  ])('names an engine that has no room beside others that stay awake: %s', (_name, a, b, never) => {
    const engine = (id: string, rest: string) => `{id: ${id}, model: qwen3-8b, gpus: [0], kvMemory: 30GiB, ${rest}}`;
    const { config, problems } = checkConfig(fleet(engine('a', a), engine('b', b)), 'f.yaml', {});
    expect(config).toBeDefined();
    const told = problems.map(({ severity, message }) => `${severity} ${message.split(':')[0]}`);
    expect(told.filter((each) => each.includes('awake'))).toEqual(
      never === undefined ? [] : [`warning ${never} may never be awake`],
    );
  });

  it('knows servers that would be Maestro itself', () => {
    const leads = (url: string, host: string) => leadsTo(engineAddress(url), host, 8080);
    expect(leads('http://127.0.0.1:8080', '0.0.0.0')).toBe(true);
    expect(leads('http://[::1]:8080', 'localhost')).toBe(true);
    expect(leads('http://10.0.0.5:8080', '10.0.0.5')).toBe(true);
    expect(leads('http://10.0.0.6:8080', '10.0.0.5')).toBe(false);
    expect(leads('http://127.0.0.1:8080', '10.0.0.5')).toBe(false);
    expect(leads('http://127.0.0.1:8081', '0.0.0.0')).toBe(false);
    expect(leads('unix:/run/8080', '0.0.0.0')).toBe(false);
  });
});

describe('the effective config', () => {
  it.each([
    '',
    fleet('{id: a, model: qwen3-8b, gpus: [0]}'),
    'templates: {t: {class: batch}}\nmodels: []',
    'parameters: {"*": {fixed: {a: {b: [{c: 1}]}}}}',
  ])('means the same as the file it came from', (text) => {
    const { written, config } = checkConfig(text, 'f.yaml', {});
    expect(configSchema.parse(effectiveConfig(written))).toEqual(config);
  });

  it('shows defaults as people write them', () => {
    expect(effectiveConfig({})).toMatchObject({
      gateway: { timeouts: { queue: '30m' } },
      scheduling: { policy: 'maestro' },
    });
  });
});

describe('own models and GPUs', () => {
  it('can be used by name and hide those of the catalogue', () => {
    const text = [
      'gpus: [{name: big, memory: 200GiB, memoryBandwidth: 8TB/s, bf16Flops: 2PFLOPS, peerBandwidth: 900GB/s, hostBandwidth: 50GB/s}]',
      'models: [{name: tiny, layers: 2, hiddenSize: 64, attentionHeads: 4, kvHeads: 2, headDim: 16, ffnSize: 128, vocabSize: 1000, parametersB: 0.001, activeParametersB: 0.001, maxContextTokens: 2048}]',
      'fleet: {nodes: [{id: n, gpus: [big], hostMemory: 1GiB, engines: [{id: a, model: tiny, gpus: [0]}]}]}',
    ].join('\n');
    const config = parseConfig(text, 'f.yaml');
    expect(config.gpus[0]).toMatchObject({ memoryBytes: 200 * GiB, memoryBandwidth: 8e12, bf16Flops: 2e15 });
  });
});

describe('the JSON Schema', () => {
  it('refuses unknown fields and states every default', () => {
    const schema = configJsonSchema() as {
      additionalProperties: boolean;
      properties: Record<string, { default?: unknown }>;
    };
    expect(schema.additionalProperties).toBe(false);
    for (const [name, field] of Object.entries(schema.properties)) expect(field, name).toHaveProperty('default');
  });
});
