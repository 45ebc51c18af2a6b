import { describe, expect, it } from 'vitest';
import { fieldsOf, importFiles, sourceFile } from './import-fixture.js';

const request = (event_id: number, endS: number, latencyS: number, out_len = 54) => ({
  event_id,
  out_len,
  out_len_expected: 1024,
  in_len: 476,
  first_chunk_time: 0.04,
  total_chunk_time: latencyS,
  record_time: endS,
  GPU_utilization: 0,
});
const wrap = (name: string, text: string) => ({ _file: `example/logs/${name}`, text });
const detail = (scale: number, ...requests: ReturnType<typeof request>[]) =>
  wrap(
    `detail_log/detail_log_scale${scale}_prompt500.json`,
    JSON.stringify(Object.fromEntries(requests.map((r) => [r.event_id, r]))),
  );

describe('vllm-burstgpt-replay', () => {
  it('takes the requests among the logs; a request arrived when it ended less the time it took', async () => {
    const trace = await importFiles('vllm-burstgpt-replay', [
      sourceFile(
        'logs.jsonl',
        detail(200, request(0, 500, 2)),
        detail(100, request(1, 110, 1), request(0, 112, 12, 9000)),
        wrap('gpu_log/gpu_log_scale100_prompt500.json', '{"0":{"monitor_id":0,"record_time":100}}'),
        wrap('vllm_log/vllm_log_scale100_prompt500.csv', 'timestamp,prompt_throughput\n1,2'),
      ),
    ]);
    expect(fieldsOf(trace, 'request_id', 'timestamp', 'recorded_latency_ms', 'output_length', 'finish_reason')).toEqual(
      [
        ['burstgpt/100/0', 0, 12_000, 1024, 'length'],
        ['burstgpt/100/1', 9000, 1000, 10, undefined],
        ['burstgpt/200/0', 398_000, 2000, 10, undefined],
      ],
    );
    expect(trace.rows[2]).toMatchObject({
      template: 'burstgpt-scale-200',
      task: 'burstgpt-0',
      input_length: 476,
      max_tokens: 1024,
      recorded_ttft_ms: 40,
    });
  });

  it('reads upstream files, limits requests and names bad fields', async () => {
    const upstream = (text: string) => sourceFile('detail_log_scale300_prompt500.json', ...text.split('\n'));
    const text = detail(300, request(0, 10, 1), request(1, 12, 1)).text;
    const { rows } = await importFiles('vllm-burstgpt-replay', [upstream(text)], { limitWorkflows: 1 });
    expect(rows.map(({ request_id }) => request_id)).toEqual(['burstgpt/300/0']);
    const bad = JSON.stringify({ 0: { ...request(0, 1, 1), in_len: -1 } }, null, 1);
    await expect(importFiles('vllm-burstgpt-replay', [upstream(bad)])).rejects.toThrow(
      /scale300.*line 1: request 1 of .*: in_len/,
    );
  });
});
