import { MaestroError } from '../model/error.js';
import { type Catalogue, catalogueOf } from './catalogue.js';
import { formatPath } from './problem.js';
import { formatBytes } from './quantity.js';
import type { EngineConfig, MaestroConfig, NodeConfig } from './schema.js';
import { isSleepCapable, sizeEngine } from './sizing.js';

/** A config whose engines are all modelled, and what was taken for granted of those that are real. */
export interface ModelledFleet {
  readonly config: MaestroConfig;
  readonly assumed: readonly string[];
}

/**
 * The same fleet without its servers: every engine with a `url` becomes an emulated one of the same model, GPUs, number formats, limits and memory. What only the server could
 * tell is as vLLM has it by default. Throws where the file does not say what a model of the engine needs; the message names every field.
 */
export function modelledFleet(config: MaestroConfig): ModelledFleet {
  const catalogue = catalogueOf(config);
  const assumed: string[] = [];
  const problems: string[] = [];
  const nodes = config.fleet.nodes.map((node, nodeIndex): NodeConfig => {
    const engines = node.engines.map((engine, index): EngineConfig => {
      if (engine.url === undefined) return engine;
      const sizing = sizeEngine(engine, node, catalogue);
      if (!sizing) {
        const path = formatPath(['fleet', 'nodes', nodeIndex, 'engines', index]);
        problems.push(...missing(engine, catalogue).map((what) => `${path} (${engine.id}): ${what}`));
        return engine;
      }
      if (engine.kvMemoryBytes === undefined) {
        assumed.push(
          `${engine.id}: a KV pool of ${formatBytes(sizing.kvPoolBytes)} on each GPU (kvMemory is not given)`,
        );
      }
      const { url: _, launch: _launch, ...kept } = engine;
      return { ...kept, sleep: isSleepCapable(engine), workspaceBytes: sizing.workspaceBytes };
    });
    return { ...node, engines };
  });
  if (problems.length === 0) problems.push(...nodes.flatMap((node) => alwaysAwakeProblems(node, catalogue)));
  if (problems.length > 0) {
    throw new MaestroError(
      'invalid_request',
      ['the fleet file does not say enough of its servers to model them', ...problems].join('\n'),
    );
  }
  return { config: { ...config, fleet: { ...config.fleet, nodes } }, assumed };
}

function missing({ model, gpus }: EngineConfig, catalogue: Catalogue): string[] {
  const problems: string[] = [];
  if (gpus.length === 0) {
    problems.push('gpus is missing. List the types of the GPUs at the node and their indices here, such as gpus: [0].');
  }
  if (!catalogue.llm(model)) {
    problems.push(
      `the shape of model ${model} is not known. Describe it under models, or name the one of the catalogue that it is, with the present name as servedName.`,
    );
  }
  return problems;
}

/** Engines that cannot sleep and do not fit together: their servers run, so that the pools are smaller than the file lets one think. */
function alwaysAwakeProblems(node: NodeConfig, catalogue: Catalogue): string[] {
  return node.gpus.flatMap((type, gpuIndex): string[] => {
    const on = node.engines.filter(({ gpus }) => gpus.includes(gpuIndex));
    const awake = on.filter((engine) => !isSleepCapable(engine));
    const residueBytes = on.reduce((sum, engine) => sum + engine.residueBytes, 0);
    const neededBytes = awake.reduce((sum, engine) => {
      const { weightBytes, workspaceBytes, kvPoolBytes } = sizeEngine(engine, node, catalogue)!;
      return sum + weightBytes + workspaceBytes + kvPoolBytes;
    }, residueBytes);
    const { memoryBytes } = catalogue.gpu(type)!;
    if (awake.length < 2 || neededBytes <= memoryBytes) return [];
    const names = awake.map(({ id }) => id).join(', ');
    return [
      `node ${node.id}: ${names} run on GPU ${gpuIndex} at the same time and would need ${formatBytes(neededBytes)}, it has ${formatBytes(memoryBytes)}. Give each its kvMemory (what the log of vLLM says of its KV cache), or say sleep: true where they take turns.`,
    ];
  });
}
