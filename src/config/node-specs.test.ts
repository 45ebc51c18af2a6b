import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { GiB } from '../model/units.js';
import { loadConfig, parseConfig } from './load.js';
import { toEmulatedNodes, toNodeSpecs } from './node-specs.js';

describe('the demo fleet', () => {
  const config = loadConfig('deploy/demo-fleet.yaml');
  const nodes = toNodeSpecs(config);

  it('has five models whose weights and pools do not fit its GPUs at once', () => {
    const engines = nodes.flatMap((node) => node.engines);
    const models = new Map(engines.map((engine) => [engine.model, engine]));
    expect([...models.keys()].sort()).toEqual([
      'llama-3.1-8b',
      'llama-3.3-70b',
      'qwen3-14b',
      'qwen3-30b-a3b',
      'qwen3-32b',
    ]);
    for (const node of nodes) {
      const wanted = node.engines.reduce(
        (sum, { weightBytes, kvPoolBytes, gpuIndices }) => sum + (weightBytes + kvPoolBytes) * gpuIndices.length,
        0,
      );
      expect(wanted, node.nodeId).toBeGreaterThan(node.gpus.reduce((sum, gpu) => sum + gpu.memoryBytes, 0));
    }
  });

  it('tells the emulated fleet what it tells the levels', () => {
    const emulated = toEmulatedNodes(config).flatMap((node) => node.engines);
    const specs = nodes.flatMap((node) => node.engines);
    expect(emulated.map(({ engineId, kvMemoryBytes, maxModelLen }) => [engineId, kvMemoryBytes, maxModelLen])).toEqual(
      specs.map(({ engineId, kvPoolBytes, maxModelLen }) => [engineId, kvPoolBytes, maxModelLen]),
    );
    expect(emulated.filter(({ startAsleep }) => startAsleep).map(({ model }) => model)).toEqual([
      'qwen3-30b-a3b',
      'qwen3-30b-a3b',
    ]);
  });

  it('sizes the batch of every engine by the TPOT target', () => {
    const seats = nodes.flatMap((node) => node.engines.map((engine) => engine.seats));
    for (const count of seats) {
      expect(count).toBeGreaterThan(0);
      expect(count).toBeLessThanOrEqual(256);
    }
    const relaxed = toNodeSpecs({ ...config, classes: config.classes.map((item) => ({ ...item, tpotMs: 20 })) });
    expect(relaxed.flatMap((node) => node.engines.map((engine) => engine.seats)).reduce((a, b) => a + b)).toBeLessThan(
      seats.reduce((a, b) => a + b),
    );
  });

  it('takes the addresses of the emulated engines once they run', () => {
    const [node] = toNodeSpecs(config, new Map([['a-llama-8b', 'http://127.0.0.1:4001']]));
    expect(node?.engines.map(({ url }) => url).slice(0, 2)).toEqual(['http://127.0.0.1:4001', '']);
  });
});

describe('toNodeSpecs', () => {
  const specOf = (engine: string, gpus = '[h100-sxm]') =>
    toNodeSpecs(
      parseConfig(
        `fleet: {nodes: [{id: n, gpus: ${gpus}, hostMemory: 1TiB, engines: [{id: e, ${engine}}]}]}`,
        'f.yaml',
        {},
      ),
    )[0]!.engines[0]!;

  it('knows the bytes of a known model on a known GPU', () => {
    const spec = specOf('model: llama-3.1-8b, gpus: [0], kvMemory: 16GiB');
    expect(spec).toMatchObject({
      kvBytesPerToken: 131_072,
      kvPoolTokens: 131_072,
      kvPoolBytes: 16 * GiB,
      sleepCapable: true,
    });
    expect(spec.llm?.name).toBe('llama-3.1-8b');
    expect(spec.gpu?.name).toBe('h100-sxm');
  });

  it('leaves vLLM a tenth of the GPU when no KV memory is given, and allows the longest sequence that fits', () => {
    const spec = specOf('model: qwen3-32b, gpus: [0]');
    expect(spec.weightBytes + spec.kvPoolBytes).toBeLessThan(0.92 * 80 * GiB);
    expect(spec.kvPoolBytes).toBeGreaterThan(4 * GiB);
    expect(spec.maxModelLen).toBeLessThanOrEqual(spec.kvPoolTokens);
    expect(spec.maxModelLen).toBeGreaterThan(spec.kvPoolTokens - 32);
  });

  it('reckons the workspace of a real engine, never so that it fits its GPU no more, and none of an emulated one', () => {
    const workspace = (engine: string) =>
      (specOf(`model: llama-3.1-8b, gpus: [0], ${engine}`).workspaceBytes ?? 0) / GiB;
    expect(workspace('kvMemory: 40GiB')).toBe(0);
    // Measured on an H200: 2.5 to 2.9 GiB beside weights and KV, 1.15 of them also asleep.
    expect(workspace('kvMemory: 40GiB, url: "http://h:1"')).toBeGreaterThan(1);
    expect(workspace('kvMemory: 40GiB, url: "http://h:1"')).toBeLessThan(2);
    expect(workspace('kvMemory: 64GiB, url: "http://h:1"')).toBeLessThan(0.1);
    expect(workspace('kvMemory: 40GiB, url: "http://h:1", workspace: 3GiB')).toBe(3);
    expect(() => workspace('kvMemory: 64GiB, url: "http://h:1", workspace: 3GiB')).toThrow(/3 GiB workspace/);
  });

  it('leaves open what a running server has to tell', () => {
    expect(specOf('model: qwen3-8b, gpus: [0], url: "http://h:1"')).toMatchObject({
      url: 'http://h:1',
      kvPoolTokens: Number.POSITIVE_INFINITY,
      maxModelLen: 40_960,
      sleepCapable: false,
    });
    expect(specOf('model: my-tune, url: "http://h:1"', '[]')).toMatchObject({
      weightBytes: 0,
      kvBytesPerToken: 1,
      kvPoolTokens: Number.POSITIVE_INFINITY,
      seats: Number.POSITIVE_INFINITY,
      gpuIndices: [],
    });
  });

  it('has checkpoints copied into RAM only where the node sets memory aside and they are named by their folder', () => {
    const weightsOf = (weights: string, staging: string) =>
      toNodeSpecs(
        parseConfig(
          `fleet: {nodes: [{id: n, gpus: [h100-sxm], hostMemory: 1TiB, ${staging} engines: [{id: e, model: qwen3-8b, gpus: [0], url: "http://127.0.0.1:1", launch: {weights: ${weights}}}]}]}`,
          'f.yaml',
          {},
        ),
      )[0]!;
    const staged = weightsOf('/models/q', 'staging: {memory: 64GiB},');
    expect(staged.staging).toEqual({ folder: '/dev/shm/maestro', memoryBytes: 64 * GiB });
    expect(staged.engines[0]!.weightsFolder).toBe('/models/q');
    expect(weightsOf('Qwen/Qwen3-8B', 'staging: {memory: 64GiB},').engines[0]!.weightsFolder).toBeUndefined();
    expect(weightsOf('/models/q', '').engines[0]!.weightsFolder).toBeUndefined();
  });

  it('serves under the name that is given', () => {
    expect(specOf('model: qwen3-8b, servedName: fast, gpus: [0]').model).toBe('fast');
  });

  it('gives the engines of a large fleet one hidden class', () => {
    const node = (id: number) => {
      const engines = [0, 1, 2, 3, 4, 5, 6, 7].map(
        (gpu) => `{id: e${id}-${gpu}, model: qwen3-8b, gpus: [${gpu}], sleep: false}`,
      );
      return `{id: n${id}, gpus: {type: h100-sxm, count: 8}, engines: [${engines.join(', ')}]}`;
    };
    const config = parseConfig(`fleet: {nodes: [${[0, 1, 2, 3, 4].map(node).join(', ')}]}`, 'f.yaml', {});
    const [first, ...others] = toNodeSpecs(config).flatMap(({ engines }) => engines);
    setFlagsFromString('--allow-natives-syntax');
    const areAlike = runInThisContext('(a, b) => %HaveSameMap(a, b)') as (a: unknown, b: unknown) => boolean;
    // V8 gives objects with fields behind a spread a class each, once it has seen a dozen of them.
    const strangers = others.filter((spec) => !areAlike(first, spec));
    setFlagsFromString('--no-allow-natives-syntax');
    expect(strangers).toEqual([]);
  });
});

describe('data-parallel ranks', () => {
  const engineOf = (model: string, more: string, count = 4) =>
    toNodeSpecs(
      parseConfig(
        `fleet: {nodes: [{id: n, gpus: {type: h100-sxm, count: ${count}}, engines: [{id: e, model: ${model}, sleep: false, ${more}}]}]}`,
        'f.yaml',
      ),
    )[0]!.engines[0]!;

  it('of a dense model are as many engines as there are ranks', () => {
    const one = engineOf('llama-3.1-8b', 'gpus: [0, 1], maxNumSeqs: 64', 2);
    const two = engineOf('llama-3.1-8b', 'gpus: [0, 1, 2, 3], dataParallel: 2, maxNumSeqs: 64');
    expect(two).toMatchObject({ dataParallel: 2, weightBytes: one.weightBytes, kvPoolBytes: one.kvPoolBytes });
    expect(two).toMatchObject({ maxModelLen: one.maxModelLen, maxNumSeqs: 128, seats: 2 * one.seats });
    expect(two.kvPoolTokens).toBe(2 * one.kvPoolTokens);
    expect(two.kvPoolBytes / two.kvBytesPerToken).toBeCloseTo(2 * (one.kvPoolBytes / one.kvBytesPerToken), 6);
  });

  it('of a mixture share its experts, and each has the rest and a pool', () => {
    const group = engineOf('qwen3-30b-a3b', 'gpus: [0, 1]', 2);
    const ranks = engineOf('qwen3-30b-a3b', 'gpus: [0, 1], dataParallel: 2', 2);
    // 1.5 billion parameters are not in routed experts.
    expect((ranks.weightBytes - group.weightBytes) / 1e9).toBeCloseTo(1.5, 0);
    expect(ranks.kvPoolBytes).toBeLessThan(group.kvPoolBytes);
    // Four KV heads can be split in two, so that both keep about as many tokens.
    expect(ranks.kvPoolTokens / group.kvPoolTokens).toBeCloseTo(ranks.kvPoolBytes / group.kvPoolBytes, 3);
  });

  it('hold a sequence each: its length is bounded by the pool of one', () => {
    const limits = 'gpus: [0, 1], kvMemory: 2GiB';
    const group = engineOf('llama-3.1-8b', limits, 2);
    const ranks = engineOf('llama-3.1-8b', `${limits}, dataParallel: 2`, 2);
    expect(ranks.kvPoolTokens).toBe(group.kvPoolTokens);
    expect(group.maxModelLen).toBe(group.kvPoolTokens);
    expect(ranks.maxModelLen).toBe(ranks.kvPoolTokens / 2);
  });
});
