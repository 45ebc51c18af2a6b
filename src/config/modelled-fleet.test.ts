import { describe, expect, it } from 'vitest';
import { runSimulation } from '../../sim/simulation.js';
import { ONE_SEAT, poissonWorkflows, testScenario } from '../../test/sim-scenario.js';
import { loadConfig, parseConfig } from './load.js';
import { modelledFleet } from './modelled-fleet.js';
import { toNodeSpecs } from './node-specs.js';

/** A fleet of one node with two H100s and these engines. */
const fleet = (engines: readonly string[], rest = '') =>
  parseConfig(
    `fleet: { nodes: [{ id: n, gpus: { type: h100-sxm, count: 2 }, hostMemory: 512GiB, engines: [${engines.join(', ')}] }] }\n${rest}`,
    'fleet.yaml',
  );
const real = (id: string, fields: string) => `{ id: ${id}, url: "http://10.0.0.5:80${id.length}1", ${fields} }`;
const engineOf = (config: ReturnType<typeof fleet>) => toNodeSpecs(modelledFleet(config).config)[0]!.engines[0]!;

describe('modelledFleet', () => {
  it('gives a running server what the file says of it, and what vLLM takes by default', () => {
    const stated = engineOf(
      fleet([
        real(
          'a',
          'model: meta-llama/Llama-3.1-8B-Instruct, servedName: small, gpus: [0, 1], kvMemory: 20GiB, dtype: fp8, kvDtype: fp8, maxNumSeqs: 64, maxModelLen: 8192, residue: 2GiB',
        ),
      ]),
    );
    expect(stated).toMatchObject({
      ...{ url: '', model: 'small', gpuIndices: [0, 1], weightDtype: 'fp8', kvDtype: 'fp8' },
      ...{ kvPoolBytes: 20 * 2 ** 30, maxModelLen: 8192, maxNumSeqs: 64, residueBytes: 2 * 2 ** 30 },
      ...{ sleepCapable: false },
    });
    expect(stated.llm!.name).toBe('llama-3.1-8b');
    const { config, assumed } = modelledFleet(fleet([real('a', 'model: qwen3-32b, gpus: [0]')]));
    const [engine] = toNodeSpecs(config)[0]!.engines;
    expect(engine!.kvPoolTokens).toBeGreaterThan(10_000);
    expect(engine!.kvPoolTokens).toBeLessThan(100_000);
    expect(engine!.workspaceBytes).toBeGreaterThan(2 ** 28);
    expect(assumed).toEqual([
      expect.stringMatching(/^a: a KV pool of [\d.]+ GiB on each GPU \(kvMemory is not given\)$/),
    ]);
  });

  it('lets engines sleep that sleep live', () => {
    const launch = 'launch: { weights: /models/q }';
    const url = (port: number) => `url: "http://127.0.0.1:${port}"`;
    const { engines } = toNodeSpecs(
      modelledFleet(
        fleet([
          `{ id: asked, model: qwen3-14b, gpus: [0], sleep: true, ${url(8001)} }`,
          `{ id: started, model: qwen3-14b, gpus: [0], ${launch}, ${url(8002)} }`,
          `{ id: awake, model: qwen3-14b, gpus: [1], ${url(8003)} }`,
        ]),
      ).config,
    )[0]!;
    expect(engines.map(({ sleepCapable }) => sleepCapable)).toEqual([true, true, false]);
  });

  it('leaves a fleet without servers as it is', () => {
    const config = loadConfig('deploy/demo-fleet.yaml');
    expect(modelledFleet(config)).toEqual({ config, assumed: [] });
  });

  it('names every field that a model of an engine needs', () => {
    const config = parseConfig(
      `fleet: { nodes: [{ id: n, engines: [{ id: a, model: qwen3-14b, url: "http://10.0.0.5:8001" }, { id: b, model: our-own, url: "http://10.0.0.5:8002" }] }] }`,
      'fleet.yaml',
    );
    expect(() => modelledFleet(config)).toThrow(
      [
        'the fleet file does not say enough of its servers to model them',
        'fleet.nodes[0].engines[0] (a): gpus is missing. List the types of the GPUs at the node and their indices here, such as gpus: [0].',
        'fleet.nodes[0].engines[1] (b): gpus is missing. List the types of the GPUs at the node and their indices here, such as gpus: [0].',
        'fleet.nodes[0].engines[1] (b): the shape of model our-own is not known. Describe it under models, or name the one of the catalogue that it is, with the present name as servedName.',
      ].join('\n'),
    );
  });

  it('asks for the pools of servers that are always awake on one GPU', () => {
    const both = (fields: string) => [
      real('a', `model: llama-3.1-8b, gpus: [0]${fields}`),
      real('bb', `model: qwen3-14b, gpus: [0]${fields}`),
    ];
    expect(() => modelledFleet(fleet(both('')))).toThrow(
      /node n: a, bb run on GPU 0 at the same time and would need .* Give each its kvMemory/,
    );
    expect(() => modelledFleet(fleet(both(', kvMemory: 8GiB')))).not.toThrow();
    expect(() => modelledFleet(fleet(both(', sleep: true')))).not.toThrow();
  });

  it('makes of the fleet file that ships one that can be played', () => {
    const { config } = modelledFleet(loadConfig('deploy/fleet.example.yaml'));
    const models = config.fleet.nodes.flatMap(({ engines }) => engines.map(({ model }) => model));
    const flood = poissonWorkflows(60, 2, 400, 3).map((workflow, index) => ({
      ...workflow,
      rows: workflow.rows.map((row) => ({ ...row, model: models[index % models.length]! })),
    }));
    const { counters, stages } = runSimulation(testScenario(ONE_SEAT, flood, { nodes: toNodeSpecs(config) }));
    expect(counters.outcomes).toEqual({ completed: 60 });
    expect(new Set(stages.map(({ engine }) => engine)).size).toBe(3);
  });
});
