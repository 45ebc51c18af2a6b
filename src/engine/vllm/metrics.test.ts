import { describe, expect, it } from 'vitest';
import { readEngineMetrics } from './metrics.js';

const labels = (engine: number) => `engine="${engine}",model_name="m"`;

describe('readEngineMetrics', () => {
  it('sums over data-parallel ranks, and takes the fullest KV pool', () => {
    const metrics = readEngineMetrics(`
vllm:num_requests_running{${labels(0)}} 3.0
vllm:num_requests_running{${labels(1)}} 4.0
vllm:num_requests_waiting{${labels(0)}} 1.0
vllm:num_requests_waiting{${labels(1)}} 0.0
vllm:kv_cache_usage_perc{${labels(0)}} 0.25
vllm:kv_cache_usage_perc{${labels(1)}} 0.75
vllm:num_preemptions_total{${labels(0)}} 2.0
vllm:generation_tokens_total{${labels(0)}} 100.0
vllm:prompt_tokens_total{${labels(0)}} 50.0
vllm:iteration_tokens_total_count{${labels(0)}} 7.0
vllm:cache_config_info{engine="0",block_size="16",num_gpu_blocks="20",kv_cache_size_tokens="150"} 1.0
vllm:cache_config_info{engine="1",block_size="16",num_gpu_blocks="20",kv_cache_size_tokens="150"} 1.0
vllm:engine_sleep_state{${labels(0)},sleep_state="awake"} 0.0
vllm:engine_sleep_state{${labels(0)},sleep_state="weights_offloaded"} 1.0
process_start_time_seconds 1.7e+09
`);
    expect(metrics).toEqual({
      running: 7,
      waiting: 1,
      preemptionsTotal: 2,
      kvUsage: 0.75,
      progress: 157,
      generationTokensTotal: 100,
      ranks: [
        { running: 3, kvUsage: 0.25, generatedTokens: 100 },
        { running: 4, kvUsage: 0.75, generatedTokens: 0 },
      ],
      sleepGauge: 'level-1',
      processStartSeconds: 1.7e9,
      cacheConfig: { kvPoolTokens: 300, ranks: 2 },
    });
  });

  it('tells of each rank, also where one has run nothing and so has no gauges, in the order of the ranks', () => {
    const config = 'block_size="16",num_gpu_blocks="20",kv_cache_size_tokens="150"';
    const page = `
vllm:num_requests_running{engine="1",model_name="m"} 2.0
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.5
vllm:generation_tokens_total{engine="1",model_name="m"} 30.0
vllm:generation_tokens_total{engine="0",model_name="m"} 0.0
vllm:cache_config_info{engine="1",${config}} 1.0
`;
    expect(readEngineMetrics(page).ranks).toBeUndefined();
    expect(readEngineMetrics(`${page}vllm:cache_config_info{engine="0",${config}} 1.0\n`).ranks).toEqual([
      { running: 0, kvUsage: 0, generatedTokens: 0 },
      { running: 2, kvUsage: 0.5, generatedTokens: 30 },
    ]);
  });

  it('reads what it needs out of a page of a megabyte, and nothing else of it', () => {
    const series = (index: number) =>
      `vllm:e2e_request_latency_seconds_bucket{${labels(0)},le="${index}"} not-a-number\n`;
    const rest = Array.from({ length: 12_000 }, (_, index) => series(index)).join('');
    expect(rest.length).toBeGreaterThan(1e6);
    const wanted = `vllm:num_requests_running{${labels(0)}} 3.0\nvllm:num_requests_waiting{${labels(0)}} 1.0\n`;
    expect(readEngineMetrics(rest + wanted + rest)).toEqual(readEngineMetrics(wanted));
  });

  it('takes blocks × block size where the pool is not stated, and nothing where it is None', () => {
    const of = (...configs: string[]) =>
      readEngineMetrics(configs.map((config) => `vllm:cache_config_info{${config}} 1.0`).join('\n')).cacheConfig
        ?.kvPoolTokens;
    expect(of('block_size="16",num_gpu_blocks="10"')).toBe(160);
    // As data-parallel ranks write it: each has the blocks of both.
    const ranks = ['0', '1'].map((engine) => `engine="${engine}",block_size="16",num_gpu_blocks="20"`);
    expect(of(...ranks)).toBe(320);
    expect(of('block_size="16",num_gpu_blocks="None",kv_cache_size_tokens="None"')).toBeUndefined();
  });

  it.each(['NaN', '-1', '9.2e18', '+Inf'])('takes %s for no reading', (value) => {
    const metrics = readEngineMetrics(`vllm:num_requests_running ${value}\nvllm:kv_cache_usage_perc ${value}`);
    expect([metrics.running, metrics.kvUsage]).toEqual([undefined, undefined]);
  });

  it('leaves what the page lacks undefined', () => {
    expect(readEngineMetrics('')).toEqual({
      running: undefined,
      waiting: undefined,
      preemptionsTotal: undefined,
      kvUsage: undefined,
      progress: undefined,
      generationTokensTotal: undefined,
      sleepGauge: undefined,
      processStartSeconds: undefined,
      cacheConfig: undefined,
    });
  });
});
