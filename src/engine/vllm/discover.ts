import type { EngineSpec } from '../../model/fleet.js';
import { fieldOf } from '../../model/json.js';
import type { LlmSpec } from '../../model/llm.js';
import { findLlm } from '../../model/llm-catalogue.js';
import { kvBytesPerToken } from '../../model/memory.js';
import { isAbsent, type Reply, type ServedModelEntry, type VllmClient } from './client.js';
import { type EngineMetrics, readEngineMetrics } from './metrics.js';

/** What a vLLM server tells about itself. What it does not tell stays undefined. */
export interface DiscoveredEngine {
  /** Names under which it serves its base model; the first is the one in its metrics. */
  readonly modelNames: readonly string[];
  /** LoRA adapters on that model, by the names under which they are served. */
  readonly adapters: readonly string[];
  /** Of how many of them the calls of one batch may be (`--max-loras`); undefined when it does not say. */
  readonly maxLoras: number | undefined;
  /** Path or Hugging Face id of the weights. */
  readonly root: string | undefined;
  readonly llm: LlmSpec | undefined;
  readonly version: string | undefined;
  readonly maxModelLen: number | undefined;
  readonly kvPoolTokens: number | undefined;
  readonly kvDtype: 'bf16' | 'fp8';
  /** Of all data-parallel ranks together. */
  readonly maxNumSeqs: number | undefined;
  readonly dataParallelRanks: number;
  /** GPUs of a rank. */
  readonly tensorParallelSize: number | undefined;
  readonly schedulingPolicy: 'fcfs' | 'priority' | undefined;
  /** Are the sleep endpoints there at all? */
  readonly devMode: boolean;
  /** Was it started with sleep mode? Undefined when it does not say. */
  readonly sleepMode: boolean | undefined;
  /** Can it read its weights again in place? Undefined when it does not say how it loads them. */
  readonly reloadsWeights: boolean | undefined;
  /** 0 awake; asleep at level 1; 2 when asleep otherwise, for the level-2 recipe is right for every sleep. */
  readonly level: 0 | 1 | 2;
  /** Is it `maestro emulate`, which has no weights? */
  readonly emulated: boolean;
  readonly metrics: EngineMetrics | undefined;
}

/** Values of `--load-format` whose loaders have `reload_weights`; the others answer it with 500 (vLLM 0.29 and 0.32: those with `get_all_weights`). */
const RELOADING_FORMATS: ReadonlySet<string> = new Set([
  ...['auto', 'hf', 'safetensors', 'pt', 'npcache', 'mistral', 'fastsafetensors', 'instanttensor'],
]);

/** Asks a server for everything it tells. Fails only when it does not answer, or names no model. */
export async function discoverEngine(client: VllmClient): Promise<Reply<DiscoveredEngine>> {
  const health = await client.health();
  if (!health.ok) return health;
  const [models, version, metricsText, sleeping, info] = await Promise.all([
    client.models(),
    client.version(),
    client.metrics(),
    client.isSleeping(),
    client.serverInfo(),
  ]);
  if (!models.ok) return models;
  const base = models.value.filter(({ parent }) => parent === undefined);
  if (base.length === 0) return { ok: false, failure: { kind: 'protocol', message: '/v1/models names no model' } };
  // Anything but a clear "no such endpoint" leaves open whether the engine sleeps, and a sleeping engine must not be served to.
  if (!sleeping.ok && !isAbsent(sleeping.failure)) return sleeping;
  const metrics = metricsText.ok ? readEngineMetrics(metricsText.value) : undefined;
  const config = info.ok ? info.value : undefined;
  const policy = fieldOf(fieldOf(config, 'scheduler_config'), 'policy');
  const ranks = metrics?.cacheConfig?.ranks ?? 1;
  const rankSeqs = count(fieldOf(fieldOf(config, 'scheduler_config'), 'max_num_seqs'));
  return {
    ok: true,
    value: {
      modelNames: base.map(({ id }) => id),
      adapters: adaptersOf(models.value),
      maxLoras: count(fieldOf(fieldOf(config, 'lora_config'), 'max_loras')),
      root: base[0]?.root,
      llm: recognise(base[0]!),
      version: version.ok ? version.value : undefined,
      maxModelLen: base[0]?.maxModelLen,
      kvPoolTokens: metrics?.cacheConfig?.kvPoolTokens,
      kvDtype: metrics?.cacheConfig?.dtype?.startsWith('fp8') ? 'fp8' : 'bf16',
      maxNumSeqs: rankSeqs && ranks * rankSeqs,
      dataParallelRanks: ranks,
      tensorParallelSize: count(fieldOf(fieldOf(config, 'parallel_config'), 'tensor_parallel_size')),
      schedulingPolicy: policy === 'fcfs' || policy === 'priority' ? policy : undefined,
      devMode: sleeping.ok,
      sleepMode: readSleepMode(config),
      reloadsWeights: readReloads(config),
      emulated: fieldOf(fieldOf(config, 'additional_config'), 'emulated') === true,
      level: sleeping.ok && sleeping.value ? (metrics?.sleepGauge === 'level-1' ? 1 : 2) : 0,
      metrics,
    },
  };
}

/**
 * An engine of which only the URL is known, until it answers: no model, no limits, no account of its memory. KV is counted in tokens, seats are learned.
 */
export function unknownEngineSpec(engineId: string, nodeId: string, url: string): EngineSpec {
  return {
    engineId,
    nodeId,
    model: '',
    url,
    gpuIndices: [],
    weightBytes: 0,
    kvPoolBytes: 0,
    kvBytesPerToken: 1,
    kvPoolTokens: Number.POSITIVE_INFINITY,
    residueBytes: 0,
    maxNumSeqs: Number.POSITIVE_INFINITY,
    maxModelLen: Number.POSITIVE_INFINITY,
    seats: Number.POSITIVE_INFINITY,
    sleepCapable: false,
  };
}

/** What discovery changes in a specification: facts of the server win over the configuration, except that it cannot make an engine sleep. */
export function discoveredLimits(found: DiscoveredEngine, spec: EngineSpec): Partial<EngineSpec> {
  const { kvPoolTokens, maxNumSeqs, maxModelLen, llm, reloadsWeights } = found;
  // An engine of which only the URL is known sleeps where it says that it can; a configured one only where that was asked for.
  const wanted = spec.model === '' ? found.sleepMode === true : spec.sleepCapable && found.sleepMode !== false;
  const model = upstreamModel(found, spec) ?? spec.model;
  return {
    model,
    adapters: found.adapters,
    otherNames: found.modelNames.filter((name) => name !== model),
    ...(kvPoolTokens === undefined ? {} : { kvPoolTokens }),
    ...(maxNumSeqs === undefined ? {} : { maxNumSeqs }),
    ...(maxModelLen === undefined ? {} : { maxModelLen }),
    ...(spec.llm || llm === undefined ? {} : { llm, kvBytesPerToken: kvBytesOf(llm, found, spec) }),
    sleepCapable: wanted && found.devMode,
    ...(reloadsWeights === undefined ? {} : { reloadsWeights }),
    ...(found.emulated ? { emulated: true } : {}),
    ...chosenRanks(found, spec),
  };
}

/** A rank that a server has not is answered with 400, so it chooses itself where it has other ranks than the configuration says. */
function chosenRanks({ dataParallelRanks }: DiscoveredEngine, { model, chosenRanks }: EngineSpec): Partial<EngineSpec> {
  if (model === '') return { chosenRanks: dataParallelRanks };
  if (chosenRanks === undefined) return {};
  return { chosenRanks: chosenRanks === dataParallelRanks ? chosenRanks : 1 };
}

/** KV bytes a token and GPU; those of all GPUs of its rank together where it is not known which the engine has. */
function kvBytesOf(
  llm: LlmSpec,
  { kvDtype, tensorParallelSize = 1, dataParallelRanks }: DiscoveredEngine,
  spec: EngineSpec,
): number {
  const gpus = spec.gpuIndices.length;
  // A token lies on the GPUs of one rank: on average on this share of all.
  if (gpus > 0) return kvBytesPerToken(llm, kvDtype, Math.max(1, gpus / dataParallelRanks)) / dataParallelRanks;
  return kvBytesPerToken(llm, kvDtype, tensorParallelSize) * tensorParallelSize;
}

/** The adapters among the models of a server. */
export function adaptersOf(models: readonly ServedModelEntry[]): readonly string[] {
  return models.filter(({ parent }) => parent !== undefined).map(({ id }) => id);
}

/** The name to ask the server for: the configured one where it serves that, else its first. */
function upstreamModel({ modelNames }: DiscoveredEngine, spec: EngineSpec): string | undefined {
  return modelNames.includes(spec.model) ? spec.model : modelNames[0];
}

function recognise({ root, id }: ServedModelEntry): LlmSpec | undefined {
  return (root === undefined ? undefined : findLlm(root)) ?? findLlm(id);
}

function readSleepMode(config: unknown): boolean | undefined {
  const enabled = fieldOf(fieldOf(config, 'model_config'), 'enable_sleep_mode');
  return typeof enabled === 'boolean' ? enabled : undefined;
}

function readReloads(config: unknown): boolean | undefined {
  const format = fieldOf(fieldOf(config, 'load_config'), 'load_format');
  return typeof format === 'string' ? RELOADING_FORMATS.has(format) : undefined;
}

function count(value: unknown): number | undefined {
  return typeof value === 'number' && value > 0 ? value : undefined;
}
