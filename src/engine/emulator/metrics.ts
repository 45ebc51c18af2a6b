import type { EngineStats } from '../batch-engine.js';
import type { VllmVersion } from './dialect.js';
import { Counter, type Family, Gauge, Histogram, renderFamily } from './exposition.js';
import type { EmulatorModel } from './options.js';

const TTFT_S = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
];
const ITL_S = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const REQUEST_S = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
const STEP_TOKENS = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];
const PARAMS_N = [1, 2, 5, 10, 20];

const SLEEP_STATES = ['awake', 'weights_offloaded', 'discard_all'] as const;
const FINISH_REASONS = ['stop', 'length', 'abort', 'error', 'repetition'] as const;
export type FinishReason = (typeof FINISH_REASONS)[number];

/** What is known of a request when it has ended. Times in emulated milliseconds. */
export interface FinishedRequest {
  readonly reason: FinishReason;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly outputTokens: number;
  readonly maxTokens: number;
  readonly arrivalMs: number;
  readonly queueMs: number;
  readonly firstTokenMs: number;
  readonly endMs: number;
  readonly preemptions?: number;
  /** The data-parallel rank that computed it. Default 0. */
  readonly rank?: number | undefined;
}

/**
 * The `vllm:*` series of one server, with vLLM's names, labels and buckets. Every data-parallel rank has each of them, told apart by the label `engine`.
 * Gauges and totals change only when the engine reports, as in vLLM: requests that queue up while it sleeps do not show. Times are emulated seconds.
 */
export class VllmMetrics {
  private readonly ranks: readonly RankMetrics[];
  private readonly start: Gauge;

  constructor(model: EmulatorModel, createdSeconds: number, version: VllmVersion = '0.29.0') {
    // The one metric of Python's own that says which process this is.
    this.start = new Gauge('process_start_time_seconds', 'Start time of the process since unix epoch in seconds.', {});
    this.start.set(createdSeconds);
    this.ranks = Array.from(
      { length: model.dataParallel },
      (_, rank) => new RankMetrics(model, rank, createdSeconds, version),
    );
  }

  /** What each rank reports after a step. */
  report(stats: readonly EngineStats[]): void {
    for (const [rank, each] of stats.entries()) this.rank(rank).report(each);
  }

  /** What the last report said; the ORCA header shows it. */
  lastReport(): { readonly waiting: number; readonly kvUsage: number } {
    const reports = this.ranks.map((rank) => rank.lastReport());
    return {
      waiting: reports.reduce((sum, { waiting }) => sum + waiting, 0),
      kvUsage: Math.max(...reports.map(({ kvUsage }) => kvUsage)),
    };
  }

  /** 0: awake; 1 and 2: that sleep level; undefined: paused by a level outside these. */
  setSleepState(level: 0 | 1 | 2 | undefined): void {
    for (const rank of this.ranks) rank.setSleepState(level);
  }

  firstToken(waitedMs: number, rank = 0): void {
    this.rank(rank).firstToken(waitedMs);
  }

  finished(request: FinishedRequest): void {
    this.rank(request.rank ?? 0).finished(request);
  }

  /** A request was turned away because the queue is full. */
  refused(): void {
    this.rank(0).refused();
  }

  accepted(n: number): void {
    this.rank(0).accepted(n);
  }

  render(): string {
    const lines: string[] = [];
    renderFamily([this.start], lines);
    for (const index of this.rank(0).families.keys()) {
      renderFamily(
        this.ranks.map(({ families }) => families[index]!),
        lines,
      );
    }
    return `${lines.join('\n')}\n`;
  }

  private rank(rank: number): RankMetrics {
    return this.ranks[rank]!;
  }
}

/** The series of one rank. */
class RankMetrics {
  private readonly registry: Registry;
  private readonly of: ReturnType<typeof declareFamilies>;
  /** Series that 0.32 has and 0.29 has not. */
  private readonly newer: ReturnType<typeof declareNewerFamilies> | undefined;
  private last: EngineStats | undefined;

  constructor(
    private readonly model: EmulatorModel,
    private readonly rank: number,
    createdSeconds: number,
    version: VllmVersion,
  ) {
    this.registry = new Registry({ engine: String(rank), model_name: model.servedModelNames[0]! }, createdSeconds);
    this.of = declareFamilies(this.registry, tokenBounds(model.maxModelLen));
    for (const source of ['external_prefix_cache', 'mm_cache']) {
      this.registry.counter(`${source}_queries`, 'Queries of a cache that this server does not have.').add(0);
      this.registry.counter(`${source}_hits`, 'Hits of a cache that this server does not have.').add(0);
    }
    for (const resource of ['flops', 'read_bytes', 'write_bytes']) {
      this.registry.counter(`estimated_${resource}_per_gpu`, 'Estimated work of a GPU; not estimated here.').add(0);
    }
    if (version !== '0.29.0') this.newer = declareNewerFamilies(this.registry);
    for (const reason of FINISH_REASONS) this.of.success.add(0, { finished_reason: reason });
    this.setSleepState(0);
    this.describeCache();
  }

  get families(): readonly Family[] {
    return this.registry.families;
  }

  report(stats: EngineStats): void {
    this.of.running.set(stats.running);
    this.of.waiting.set(stats.waiting);
    this.of.waitingByReason.set(stats.waiting, { reason: 'capacity' });
    this.of.waitingByReason.set(0, { reason: 'deferred' });
    this.of.kvUsage.set(stats.kvUsage);
    this.of.prefixQueries.set(stats.prefixQueriesTokens);
    this.of.prefixHits.set(stats.prefixHitsTokens);
    this.of.preemptions.set(stats.preemptions);
    this.of.promptTokens.set(stats.promptTokens);
    this.of.promptTokensBySource.set(stats.promptTokens - stats.cachedPromptTokens, { source: 'local_compute' });
    this.of.promptTokensBySource.set(stats.cachedPromptTokens, { source: 'local_cache_hit' });
    this.of.promptTokensBySource.set(0, { source: 'external_kv_transfer' });
    this.of.promptTokensCached.set(stats.cachedPromptTokens);
    this.newer?.cachedBySource.set(stats.cachedPromptTokens, { source: 'local_cache_hit' });
    this.of.generationTokens.set(stats.generatedTokens);
    const steps = stats.steps - (this.last?.steps ?? 0);
    if (steps > 0) {
      const processed = (of: EngineStats) => of.generatedTokens + of.promptTokens - of.cachedPromptTokens;
      this.of.stepTokens.observe((processed(stats) - (this.last ? processed(this.last) : 0)) / steps, steps);
    }
    this.last = { ...stats };
  }

  lastReport(): { readonly waiting: number; readonly kvUsage: number } {
    return { waiting: this.last?.waiting ?? 0, kvUsage: this.last?.kvUsage ?? 0 };
  }

  setSleepState(level: 0 | 1 | 2 | undefined): void {
    for (const [index, state] of SLEEP_STATES.entries())
      this.of.sleepState.set(index === level ? 1 : 0, { sleep_state: state });
  }

  firstToken(waitedMs: number): void {
    this.of.ttft.observe(waitedMs / 1000);
  }

  finished(request: FinishedRequest): void {
    this.of.success.add(1, { finished_reason: request.reason });
    this.of.requestPromptTokens.observe(request.promptTokens);
    this.of.requestGenerationTokens.observe(request.outputTokens);
    this.of.requestMaxGeneration.observe(request.outputTokens);
    this.of.paramsMaxTokens.observe(request.maxTokens);
    this.of.prefillComputed.observe(request.promptTokens - request.cachedTokens);
    const started = request.arrivalMs + request.queueMs;
    const decodeMs = request.endMs - request.firstTokenMs;
    this.newer?.requestPreemptions.observe(request.preemptions ?? 0);
    this.of.e2e.observe((request.endMs - request.arrivalMs) / 1000);
    this.of.queueTime.observe(request.queueMs / 1000);
    this.of.inferenceTime.observe((request.endMs - started) / 1000);
    this.of.prefillTime.observe((request.firstTokenMs - started) / 1000);
    this.of.decodeTime.observe(decodeMs / 1000);
    const gaps = request.outputTokens - 1;
    this.of.tpot.observe(gaps > 0 ? decodeMs / gaps / 1000 : 0);
    if (gaps > 0) this.of.itl.observe(decodeMs / gaps / 1000, gaps);
  }

  refused(): void {
    this.newer?.rejections.add(1, { reason: 'max_num_queued_reqs' });
  }

  accepted(n: number): void {
    this.of.paramsN.observe(n);
  }

  private describeCache(): void {
    const { model } = this;
    const labels = {
      block_size: String(model.blockSize),
      cache_dtype: model.kvDtype === 'fp8' ? 'fp8' : 'auto',
      enable_prefix_caching: 'True',
      engine: String(this.rank),
      gpu_memory_utilization: String(model.gpuMemoryUtilization),
      kv_cache_max_concurrency: String(model.kvPoolTokens / model.maxModelLen),
      kv_cache_memory_bytes: String(model.kvPoolBytes),
      kv_cache_size_tokens: String(model.kvPoolTokens),
      kv_offloading_backend: 'native',
      kv_offloading_size: 'None',
      num_cpu_blocks: 'None',
      // Of all ranks; the tokens are those of one.
      num_gpu_blocks: String(model.dataParallel * model.numGpuBlocks),
      num_gpu_blocks_override: 'None',
      prefix_caching_hash_algo: 'sha256',
      sliding_window: 'None',
      user_specified_block_size: 'False',
    };
    const info = new Gauge('vllm:cache_config_info', 'Information of the LLMEngine CacheConfig', labels);
    info.set(1);
    this.registry.families.push(info);
  }
}

class Registry {
  readonly families: Family[] = [];

  constructor(
    private readonly base: Readonly<Record<string, string>>,
    private readonly createdSeconds: number,
  ) {}

  gauge(name: string, help: string): Gauge {
    return this.keep(new Gauge(`vllm:${name}`, help, this.base));
  }

  counter(name: string, help: string): Counter {
    return this.keep(new Counter(`vllm:${name}`, help, this.base, this.createdSeconds));
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.keep(new Histogram(`vllm:${name}`, help, this.base, this.createdSeconds, bounds));
  }

  private keep<F extends Family>(family: F): F {
    this.families.push(family);
    return family;
  }
}

function declareFamilies(registry: Registry, tokens: readonly number[]) {
  return {
    running: registry.gauge('num_requests_running', 'Number of requests in model execution batches.'),
    waiting: registry.gauge('num_requests_waiting', 'Number of requests waiting to be processed.'),
    waitingByReason: registry.gauge(
      'num_requests_waiting_by_reason',
      "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' = deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals vllm:num_requests_waiting.",
    ),
    sleepState: registry.gauge(
      'engine_sleep_state',
      'Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 means sleep level 1; discard_all = 1 means sleep level 2.',
    ),
    kvUsage: registry.gauge('kv_cache_usage_perc', 'KV-cache usage. 1 means 100 percent usage.'),
    prefixQueries: registry.counter(
      'prefix_cache_queries',
      'Prefix cache queries, in terms of number of queried tokens.',
    ),
    prefixHits: registry.counter('prefix_cache_hits', 'Prefix cache hits, in terms of number of cached tokens.'),
    preemptions: registry.counter('num_preemptions', 'Cumulative number of preemption from the engine.'),
    promptTokens: registry.counter('prompt_tokens', 'Number of prefill tokens processed.'),
    promptTokensBySource: registry.counter('prompt_tokens_by_source', 'Number of prompt tokens by source.'),
    promptTokensCached: registry.counter('prompt_tokens_cached', 'Number of cached prompt tokens (local + external).'),
    generationTokens: registry.counter('generation_tokens', 'Number of generation tokens processed.'),
    success: registry.counter('request_success', 'Count of successfully processed requests.'),
    stepTokens: registry.histogram(
      'iteration_tokens_total',
      'Histogram of number of tokens per engine_step.',
      STEP_TOKENS,
    ),
    paramsN: registry.histogram('request_params_n', 'Histogram of the n request parameter.', PARAMS_N),
    ttft: registry.histogram('time_to_first_token_seconds', 'Histogram of time to first token in seconds.', TTFT_S),
    itl: registry.histogram('inter_token_latency_seconds', 'Histogram of inter-token latency in seconds.', ITL_S),
    tpot: registry.histogram(
      'request_time_per_output_token_seconds',
      'Histogram of time_per_output_token_seconds per request.',
      ITL_S,
    ),
    e2e: registry.histogram('e2e_request_latency_seconds', 'Histogram of e2e request latency in seconds.', REQUEST_S),
    queueTime: registry.histogram(
      'request_queue_time_seconds',
      'Histogram of time spent in WAITING phase for request.',
      REQUEST_S,
    ),
    inferenceTime: registry.histogram(
      'request_inference_time_seconds',
      'Histogram of time spent in RUNNING phase for request.',
      REQUEST_S,
    ),
    prefillTime: registry.histogram(
      'request_prefill_time_seconds',
      'Histogram of time spent in PREFILL phase for request.',
      REQUEST_S,
    ),
    decodeTime: registry.histogram(
      'request_decode_time_seconds',
      'Histogram of time spent in DECODE phase for request.',
      REQUEST_S,
    ),
    requestPromptTokens: registry.histogram('request_prompt_tokens', 'Number of prefill tokens processed.', tokens),
    requestGenerationTokens: registry.histogram(
      'request_generation_tokens',
      'Number of generation tokens processed.',
      tokens,
    ),
    requestMaxGeneration: registry.histogram(
      'request_max_num_generation_tokens',
      'Histogram of maximum number of requested generation tokens.',
      tokens,
    ),
    paramsMaxTokens: registry.histogram(
      'request_params_max_tokens',
      'Histogram of the max_tokens request parameter.',
      tokens,
    ),
    prefillComputed: registry.histogram(
      'request_prefill_kv_computed_tokens',
      'Histogram of new KV tokens computed during prefill (excluding cached tokens).',
      tokens,
    ),
  };
}

function declareNewerFamilies(registry: Registry) {
  const families = {
    rejections: registry.counter('admission_rejections', 'Requests rejected at admission, by reason.'),
    cachedBySource: registry.counter('prompt_tokens_cached_by_source', 'Number of cached prompt tokens by source.'),
    requestPreemptions: registry.histogram('request_num_preemptions', 'Preemptions of a request.', PARAMS_N),
  };
  for (const reason of ['max_num_queued_reqs', 'max_num_queued_tokens']) families.rejections.add(0, { reason });
  return families;
}

/** 1, 2, 5, 10, 20, 50, … up to the context length. */
function tokenBounds(maxModelLen: number): number[] {
  const bounds: number[] = [];
  for (let decade = 1; decade <= maxModelLen; decade *= 10) {
    for (const step of [1, 2, 5]) if (step * decade <= maxModelLen) bounds.push(step * decade);
  }
  return bounds;
}
