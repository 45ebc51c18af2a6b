import { describe, expect, it } from 'vitest';
import type { EngineStats } from '../batch-engine.js';
import { formatLabels, Histogram, prometheusNumber, renderFamily } from './exposition.js';
import { VllmMetrics } from './metrics.js';
import { resolveModel } from './options.js';

describe('prometheusNumber', () => {
  it.each([
    [0, '0.0'],
    [3, '3.0'],
    [0.4125, '0.4125'],
    [16384, '16384.0'],
    [1073741824, '1.073741824e+09'],
    [1795244878.6356356, '1.7952448786356356e+09'],
    [Number.POSITIVE_INFINITY, '+Inf'],
  ])('%d is %s, as Python prints it', (value, text) => expect(prometheusNumber(value)).toBe(text));
});

it('sorts and escapes labels', () => {
  expect(formatLabels({ b: 'x"y\\z\n', a: '1' })).toBe('{a="1",b="x\\"y\\\\z\\n"}');
});

it('accumulates histogram buckets', () => {
  const histogram = new Histogram('h', 'Help.', { engine: '0' }, 1, [1, 2]);
  histogram.observe(0.5, 3);
  histogram.observe(2);
  histogram.observe(9);
  const lines: string[] = [];
  renderFamily([histogram], lines);
  expect(lines).toEqual([
    '# HELP h Help.',
    '# TYPE h histogram',
    'h_bucket{engine="0",le="1.0"} 3.0',
    'h_bucket{engine="0",le="2.0"} 4.0',
    'h_bucket{engine="0",le="+Inf"} 5.0',
    'h_count{engine="0"} 5.0',
    'h_sum{engine="0"} 12.5',
    '# HELP h_created Help.',
    '# TYPE h_created gauge',
    'h_created{engine="0"} 1.0',
  ]);
});

describe('VllmMetrics', () => {
  const model = resolveModel({ model: 'llama-3.1-8b', gpu: 'h100-sxm', servedModelNames: ['tiny'] });
  const stats: EngineStats = {
    running: 2,
    waiting: 1,
    usedBlocks: 10,
    totalBlocks: 40,
    kvUsage: 0.25,
    preemptions: 1,
    promptTokens: 100,
    cachedPromptTokens: 40,
    generatedTokens: 30,
    finished: 1,
    aborted: 0,
    prefixQueriesTokens: 100,
    prefixHitsTokens: 40,
    steps: 9,
  };

  it('has the families of vLLM 0.29.0 with their types', () => {
    const text = new VllmMetrics(model, 0).render();
    const families = new Map([...text.matchAll(/^# TYPE (vllm:\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));
    expect(Object.fromEntries([...families].filter(([name]) => !name!.endsWith('_created')))).toEqual({
      ...kinds('gauge', [
        'num_requests_running',
        'num_requests_waiting',
        'num_requests_waiting_by_reason',
        'engine_sleep_state',
        'kv_cache_usage_perc',
        'cache_config_info',
      ]),
      ...kinds('counter', [
        'estimated_flops_per_gpu_total',
        'estimated_read_bytes_per_gpu_total',
        'estimated_write_bytes_per_gpu_total',
        'prefix_cache_queries_total',
        'prefix_cache_hits_total',
        'external_prefix_cache_queries_total',
        'external_prefix_cache_hits_total',
        'mm_cache_queries_total',
        'mm_cache_hits_total',
        'num_preemptions_total',
        'prompt_tokens_total',
        'prompt_tokens_by_source_total',
        'prompt_tokens_cached_total',
        'generation_tokens_total',
        'request_success_total',
      ]),
      ...kinds('histogram', [
        'request_prompt_tokens',
        'request_generation_tokens',
        'iteration_tokens_total',
        'request_max_num_generation_tokens',
        'request_params_n',
        'request_params_max_tokens',
        'time_to_first_token_seconds',
        'inter_token_latency_seconds',
        'request_time_per_output_token_seconds',
        'e2e_request_latency_seconds',
        'request_queue_time_seconds',
        'request_inference_time_seconds',
        'request_prefill_time_seconds',
        'request_decode_time_seconds',
        'request_prefill_kv_computed_tokens',
      ]),
    });
  });

  it('shows what the engine reports, with vLLM labels', () => {
    const metrics = new VllmMetrics(model, 0);
    metrics.report([stats]);
    metrics.setSleepState(2);
    metrics.finished({
      reason: 'length',
      promptTokens: 100,
      cachedTokens: 40,
      outputTokens: 11,
      maxTokens: 11,
      arrivalMs: 1000,
      queueMs: 100,
      firstTokenMs: 1300,
      endMs: 1500,
    });
    const lines = metrics.render().split('\n');
    const base = 'engine="0",model_name="tiny"';
    for (const line of [
      `vllm:num_requests_running{${base}} 2.0`,
      `vllm:num_requests_waiting_by_reason{${base},reason="capacity"} 1.0`,
      `vllm:kv_cache_usage_perc{${base}} 0.25`,
      `vllm:engine_sleep_state{${base},sleep_state="awake"} 0.0`,
      `vllm:engine_sleep_state{${base},sleep_state="discard_all"} 1.0`,
      `vllm:prompt_tokens_by_source_total{${base},source="local_compute"} 60.0`,
      `vllm:request_success_total{engine="0",finished_reason="length",model_name="tiny"} 1.0`,
      `vllm:e2e_request_latency_seconds_sum{${base}} 0.5`,
      `vllm:request_prefill_time_seconds_sum{${base}} 0.2`,
      `vllm:inter_token_latency_seconds_count{${base}} 10.0`,
      `vllm:inter_token_latency_seconds_bucket{engine="0",le="0.025",model_name="tiny"} 10.0`,
    ]) {
      expect(lines).toContain(line);
    }
    expect(metrics.render()).toMatch(
      /^vllm:cache_config_info\{block_size="16",.*kv_cache_size_tokens="\d+".*\} 1\.0$/m,
    );
  });
});

function kinds(type: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [`vllm:${name}`, type]));
}
