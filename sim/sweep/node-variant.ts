import type { EngineSpec, NodeSpec } from '../../src/model/fleet.js';
import type { NodeVariant } from '../types.js';

/** Share of a GPU that an engine alone on it takes: vLLM's default. */
const WHOLE_GPU = 0.92;

/** The nodes with what is switched off in how they lend memory; the rest of a variant is a setting of the node managers. */
export function nodesOf(
  given: readonly NodeSpec[],
  { elasticKv, coLocation, staging }: NodeVariant = {},
): readonly NodeSpec[] {
  const nodes = staging === false ? given.map(withoutStaging) : given;
  if (coLocation === false) return nodes.map(oneAtATime);
  return elasticKv === false ? nodes.map((node) => ({ ...node, engines: node.engines.map(withFixedPool) })) : nodes;
}

function withoutStaging({ staging, hostMemoryBytes, ...node }: NodeSpec): NodeSpec {
  return { ...node, hostMemoryBytes: hostMemoryBytes - (staging?.memoryBytes ?? 0) };
}

function withFixedPool({ kvLeastBytes: _, ...engine }: EngineSpec): EngineSpec {
  return engine;
}

/** Every engine that shares a GPU takes the whole of it while it is awake, as vLLM does by default: the others have to sleep. */
function oneAtATime(node: NodeSpec): NodeSpec {
  const on = (gpu: number) => node.engines.filter(({ gpuIndices }) => gpuIndices.includes(gpu));
  return {
    ...node,
    engines: node.engines.map((given) => {
      const { gpuIndices, weightBytes, kvPoolBytes, kvPoolTokens } = given;
      if (gpuIndices.every((gpu) => on(gpu).length === 1)) return given;
      const free = gpuIndices.map((gpu) => {
        const residues = on(gpu).reduce((sum, { residueBytes }) => sum + residueBytes, 0);
        return WHOLE_GPU * node.gpus[gpu]!.memoryBytes - residues - weightBytes;
      });
      const whole = Math.max(kvPoolBytes, Math.floor(Math.min(...free)));
      return {
        ...withFixedPool(given),
        kvPoolBytes: whole,
        kvPoolTokens: Math.floor((kvPoolTokens * whole) / kvPoolBytes),
      };
    }),
  };
}
