import { parseMetrics, type Sample } from './prometheus.js';

/** What the scheduler reads of vLLM's metrics page. Undefined: absent, or not a sane number. Summed over data-parallel ranks. */
export interface EngineMetrics {
  readonly running: number | undefined;
  readonly waiting: number | undefined;
  readonly preemptionsTotal: number | undefined;
  /** Fullest rank, 0 to 1. */
  readonly kvUsage: number | undefined;
  /** Grows whenever the engine does anything: steps, prompt and generated tokens. */
  readonly progress: number | undefined;
  readonly generationTokensTotal: number | undefined;
  /** Of each data-parallel rank, in their order, where there are several. */
  readonly ranks: readonly RankMetrics[] | undefined;
  /** vLLM's sleep gauge. It lies after a partial wake or a second sleep: ask `/is_sleeping` before acting on it. */
  readonly sleepGauge: 'awake' | 'level-1' | 'level-2' | undefined;
  readonly processStartSeconds: number | undefined;
  readonly cacheConfig: CacheConfig | undefined;
}

export interface RankMetrics {
  readonly running: number;
  /** 0 to 1. */
  readonly kvUsage: number;
  readonly generatedTokens: number;
}

export interface CacheConfig {
  /** The pool in tokens as vLLM states it; for hybrid models it is not blocks × block size. */
  readonly kvPoolTokens: number | undefined;
  /** Number format of the cache, in vLLM's words: `auto`, `fp8_e4m3` and so on. */
  readonly dtype: string | undefined;
  /** Data-parallel ranks that the server sends requests to. */
  readonly ranks: number;
}

const RUNNING = 'vllm:num_requests_running';
const WAITING = 'vllm:num_requests_waiting';
const PREEMPTIONS = 'vllm:num_preemptions_total';
const KV_USAGE = 'vllm:kv_cache_usage_perc';
const GENERATION_TOKENS = 'vllm:generation_tokens_total';
const PROMPT_TOKENS = 'vllm:prompt_tokens_total';
const ITERATIONS = 'vllm:iteration_tokens_total_count';
const SLEEP_STATE = 'vllm:engine_sleep_state';
const CACHE_CONFIG = 'vllm:cache_config_info';
const PROCESS_START = 'process_start_time_seconds';

const WANTED: ReadonlySet<string> = new Set([
  RUNNING,
  WAITING,
  PREEMPTIONS,
  KV_USAGE,
  GENERATION_TOKENS,
  PROMPT_TOKENS,
  ITERATIONS,
  SLEEP_STATE,
  CACHE_CONFIG,
  PROCESS_START,
]);

/** Beyond this a reading is a sentinel or rubbish, not a count. */
const SANE_LIMIT = 1e15;

export function readEngineMetrics(text: string): EngineMetrics {
  const samples = parseMetrics(text, WANTED);
  const sum = (name: string) => total(samples.get(name), (all, value) => all + value);
  const kvUsage = total(samples.get(KV_USAGE), Math.max);
  const parts = [sum(GENERATION_TOKENS), sum(PROMPT_TOKENS), sum(ITERATIONS)].filter((part) => part !== undefined);
  return {
    running: sum(RUNNING),
    waiting: sum(WAITING),
    preemptionsTotal: sum(PREEMPTIONS),
    kvUsage: kvUsage === undefined ? undefined : Math.min(1, kvUsage),
    progress: parts.length > 0 ? parts.reduce((all, part) => all + part, 0) : undefined,
    generationTokensTotal: sum(GENERATION_TOKENS),
    ranks: readRanks(samples),
    sleepGauge: readSleepGauge(samples.get(SLEEP_STATE)),
    processStartSeconds: sum(PROCESS_START),
    cacheConfig: readCacheConfig(samples.get(CACHE_CONFIG)),
  };
}

/** A rank that has not run anything yet has no gauges (seen on 0.29.0 with several API servers). */
function readRanks(samples: ReadonlyMap<string, readonly Sample[]>): RankMetrics[] | undefined {
  const count = samples.get(CACHE_CONFIG)?.length ?? 0;
  if (count < 2) return undefined;
  const ranks: RankMetrics[] = [];
  for (let rank = 0; rank < count; rank++) {
    const of = (name: string) => samples.get(name)?.find(({ labels }) => labels['engine'] === String(rank))?.value ?? 0;
    const [running, kvUsage, generatedTokens] = [of(RUNNING), of(KV_USAGE), of(GENERATION_TOKENS)];
    if (!isSane(running) || !isSane(kvUsage) || !isSane(generatedTokens)) return undefined;
    ranks.push({ running, kvUsage: Math.min(1, kvUsage), generatedTokens });
  }
  return ranks;
}

function isSane(value: number): boolean {
  return value >= 0 && value <= SANE_LIMIT;
}

function total(samples: readonly Sample[] | undefined, combine: (a: number, b: number) => number): number | undefined {
  let result: number | undefined;
  for (const { value } of samples ?? []) {
    if (!isSane(value)) return undefined;
    result = result === undefined ? value : combine(result, value);
  }
  return result;
}

function readSleepGauge(samples: readonly Sample[] | undefined): EngineMetrics['sleepGauge'] {
  const state = samples?.find(({ value }) => value === 1)?.labels['sleep_state'];
  if (state === 'awake') return 'awake';
  if (state === 'weights_offloaded') return 'level-1';
  return state === 'discard_all' ? 'level-2' : undefined;
}

function readCacheConfig(samples: readonly Sample[] | undefined): CacheConfig | undefined {
  const labels = samples?.[0]?.labels;
  if (!labels || !samples) return undefined;
  const blockSize = positive(labels['block_size']);
  const numGpuBlocks = positive(labels['num_gpu_blocks']);
  // Each data-parallel rank has a series of its own. All of them state the tokens of one rank, and the blocks of all together (seen on 0.29.0).
  const ranks = samples.length;
  const rankTokens = positive(labels['kv_cache_size_tokens']);
  return {
    kvPoolTokens: rankTokens ? ranks * rankTokens : blockSize && numGpuBlocks && blockSize * numGpuBlocks,
    dtype: labels['cache_dtype'],
    ranks,
  };
}

/** Labels are text, and `None` where a value is unset. */
function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return value > 0 && value <= SANE_LIMIT ? value : undefined;
}
