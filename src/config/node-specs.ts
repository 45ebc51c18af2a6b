import { seatsForTpot } from '../engine/seats.js';
import { stepCostOf } from '../engine/step-time.js';
import type { EngineSpec, NodeSpec } from '../model/fleet.js';
import type { GpuSpec } from '../model/gpu.js';
import type { LlmSpec } from '../model/llm.js';
import { type Catalogue, catalogueOf } from './catalogue.js';
import type { EngineConfig, MaestroConfig, NodeConfig } from './schema.js';
import { type EngineSizing, isSleepCapable, sizeEngine, stepShape } from './sizing.js';

/**
 * The fleet of a checked config, as the levels see it.
 *
 * @param urls Base URLs of the emulated engines by engine id, once they run; until then their `url` is empty.
 */
export function toNodeSpecs(config: MaestroConfig, urls: ReadonlyMap<string, string> = new Map()): NodeSpec[] {
  const catalogue = catalogueOf(config);
  const tpotMs = strictestTpotMs(config);
  return config.fleet.nodes.map((node) => ({
    nodeId: node.id,
    clusterId: node.cluster,
    gpus: gpusOf(node, catalogue),
    hostMemoryBytes: node.hostMemoryBytes ?? Number.POSITIVE_INFINITY,
    ...(node.staging ? { staging: node.staging } : {}),
    engines: node.engines.map((engine) => toEngineSpec(engine, node, catalogue, tpotMs, urls)),
  }));
}

/** One emulated engine, as the emulated fleet starts it. */
export interface EmulatedEngine {
  readonly engineId: string;
  /** Catalogue name, or the name of an own model; `llm` is what it stands for. */
  readonly model: string;
  readonly llm: LlmSpec;
  readonly servedName: string;
  /** Folders of its LoRA adapters, by their names. */
  readonly adapters?: Readonly<Record<string, string>>;
  readonly gpuIndices: readonly number[];
  readonly dataParallel?: number;
  readonly dtype: EngineConfig['dtype'];
  readonly kvDtype: EngineConfig['kvDtype'];
  readonly kvMemoryBytes: number;
  /** Of each rank. */
  readonly maxNumSeqs: number;
  readonly maxModelLen: number;
  readonly residueBytes: number;
  readonly sleep: boolean;
  readonly startAsleep: boolean;
  readonly kvcachedName?: string;
}

export interface EmulatedNode {
  readonly nodeId: string;
  readonly gpus: readonly GpuSpec[];
  readonly hostMemoryBytes: number;
  readonly engines: readonly EmulatedEngine[];
}

/** The emulated part of the fleet: nodes without an emulated engine are left out. */
export function toEmulatedNodes(config: MaestroConfig): EmulatedNode[] {
  const catalogue = catalogueOf(config);
  return config.fleet.nodes.flatMap((node): EmulatedNode[] => {
    const engines = node.engines.flatMap((engine): EmulatedEngine[] => {
      const sizing = engine.url === undefined ? sizeEngine(engine, node, catalogue) : undefined;
      if (!sizing) return [];
      return [
        {
          engineId: engine.id,
          model: sizing.llm.name,
          llm: sizing.llm,
          servedName: engine.servedName ?? engine.model,
          ...(engine.adapters ? { adapters: engine.adapters } : {}),
          gpuIndices: engine.gpus,
          ...(engine.dataParallel > 1 ? { dataParallel: engine.dataParallel } : {}),
          dtype: engine.dtype,
          kvDtype: engine.kvDtype,
          kvMemoryBytes: sizing.kvPoolBytes,
          maxNumSeqs: engine.maxNumSeqs,
          maxModelLen: sizing.maxModelLen,
          residueBytes: engine.residueBytes,
          sleep: isSleepCapable(engine),
          startAsleep: engine.startAsleep,
          ...(engine.kvcached ? { kvcachedName: kvcachedName(engine) } : {}),
        },
      ];
    });
    if (engines.length === 0) return [];
    return [
      {
        nodeId: node.id,
        gpus: gpusOf(node, catalogue),
        hostMemoryBytes: node.hostMemoryBytes ?? Number.POSITIVE_INFINITY,
        engines,
      },
    ];
  });
}

/** Only a folder can be copied; a name of Hugging Face may stand for any revision. */
function isFolder(weights: string | undefined): boolean {
  return weights?.startsWith('/') === true;
}

/** Of the segment that an engine with kvcached is told to use. */
export function kvcachedName(engine: EngineConfig): string {
  return engine.kvcached?.segment ?? `maestro-${engine.id}`;
}

function toEngineSpec(
  engine: EngineConfig,
  node: NodeConfig,
  catalogue: Catalogue,
  tpotMs: number | undefined,
  urls: ReadonlyMap<string, string>,
): EngineSpec {
  const shared = {
    engineId: engine.id,
    nodeId: node.id,
    model: engine.servedName ?? engine.model,
    ...(engine.adapters ? { adapters: Object.keys(engine.adapters) } : {}),
    url: engine.url ?? urls.get(engine.id) ?? '',
    gpuIndices: engine.gpus,
    ...(engine.dataParallel > 1 ? { dataParallel: engine.dataParallel } : {}),
    ...(engine.dataParallel > 1 && engine.chooseRank ? { chosenRanks: engine.dataParallel } : {}),
    residueBytes: engine.residueBytes,
    maxNumSeqs: engine.dataParallel * engine.maxNumSeqs,
    ...(tpotMs === undefined ? {} : { tpotMs }),
    sleepCapable: isSleepCapable(engine),
    ...(engine.measured ? { measuredCosts: engine.measured } : {}),
    ...(engine.pinned ? { pinned: true } : {}),
    ...(node.staging && isFolder(engine.launch?.weights) ? { weightsFolder: engine.launch!.weights } : {}),
    ...(engine.kvcached ? { kvLeastBytes: engine.kvcached.leastBytes, kvSegment: kvcachedName(engine) } : {}),
  };
  const sizing = sizeEngine(engine, node, catalogue);
  if (!sizing) {
    return Object.assign(shared, {
      weightBytes: 0,
      kvPoolBytes: 0,
      kvBytesPerToken: 1,
      kvPoolTokens: Number.POSITIVE_INFINITY,
      maxModelLen: engine.maxModelLen ?? Number.POSITIVE_INFINITY,
      seats: Number.POSITIVE_INFINITY,
    });
  }
  // The pool and limits of a running server are its own to tell, unless the file states them.
  const stated = engine.url === undefined || engine.kvMemoryBytes !== undefined;
  // Assigned, not spread: fields behind a spread give every object a hidden class of its own, and whoever reads those of a large fleet looks each field up anew.
  return Object.assign(shared, {
    llm: sizing.llm,
    gpu: sizing.gpu,
    weightDtype: engine.dtype,
    kvDtype: engine.kvDtype,
    weightBytes: sizing.weightBytes,
    workspaceBytes: sizing.workspaceBytes,
    kvPoolBytes: sizing.kvPoolBytes,
    kvBytesPerToken: sizing.kvBytesPerToken / engine.dataParallel,
    kvPoolTokens: stated ? engine.dataParallel * sizing.kvPoolTokens : Number.POSITIVE_INFINITY,
    maxModelLen: engine.url === undefined ? sizing.maxModelLen : (engine.maxModelLen ?? sizing.llm.maxContextTokens),
    seats: seatsOf(sizing, engine, tpotMs),
  });
}

/**
 * What a step of a busy engine carries on average, for the size of its batch: agent prompts of some thousand tokens, and the
 * prefill that keeps a batch of about a hundred sequences filled at five prompt tokens for each output token (the ratio of the
 * Azure conversation trace). Ranks of a mixture make one step together and share that prefill; those of a dense model have steps of their own.
 */
const MEAN_CONTEXT_TOKENS = 4096;
const MEAN_PREFILL_TOKENS = 512;

function seatsOf(sizing: EngineSizing, engine: EngineConfig, tpotMs: number | undefined): number {
  const { dataParallel, maxNumSeqs } = engine;
  if (tpotMs === undefined) return dataParallel * maxNumSeqs;
  const cost = stepCostOf(stepShape(sizing, engine));
  const prefillTokens = MEAN_PREFILL_TOKENS / (sizing.llm.moe ? dataParallel : 1);
  return dataParallel * seatsForTpot(cost, MEAN_CONTEXT_TOKENS, tpotMs, maxNumSeqs, prefillTokens);
}

/** Any class may be sent to any engine, so the strictest target sizes the batches. */
function strictestTpotMs(config: MaestroConfig): number | undefined {
  const targets = config.classes.flatMap(({ tpotMs }) => (tpotMs === undefined ? [] : [tpotMs]));
  return targets.length === 0 ? undefined : Math.min(...targets);
}

function gpusOf(node: NodeConfig, catalogue: Catalogue): GpuSpec[] {
  return node.gpus.flatMap((name) => catalogue.gpu(name) ?? []);
}
