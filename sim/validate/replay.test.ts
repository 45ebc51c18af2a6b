import { describe, expect, it } from 'vitest';
import { parseRun, replayRun } from './replay.js';

const META = {
  model: 'meta-llama/Llama-3.1-8B',
  engine_kwargs: { tensor_parallel_size: 1, max_num_seqs: 2, max_num_batched_tokens: 2048, max_model_len: 4096 },
  kv_cache: { num_gpu_blocks: 1001, block_size: 16 },
  hardware: { device_name: 'NVIDIA GeForce RTX 4090' },
};

interface Line {
  readonly at: number;
  readonly first: number;
  readonly last: number;
  readonly outputs?: number;
}

function requests(lines: readonly Line[]): string {
  return lines
    .map(({ at, first, last, outputs = 11 }, index) =>
      JSON.stringify({
        ...{ request_id: `r${index}`, input_toks: 500, output_toks: outputs, arrival_time: 1.7e9 + at },
        ...{
          queued_ts: 100 + at,
          scheduled_ts: 100 + at,
          first_token_ts: 100 + at + first,
          last_token_ts: 100 + at + last,
        },
      }),
    )
    .join('\n');
}

describe('replay of a recorded run', () => {
  it('reads model, GPU, seats, pool and lengths', () => {
    const run = parseRun('any', JSON.stringify(META), requests([{ at: 0, first: 0.1, last: 1.1 }]));
    expect(run.gpu.name).toBe('rtx-4090');
    expect(run.config).toMatchObject({ maxNumSeqs: 2, maxNumBatchedTokens: 2048, numGpuBlocks: 1000, tp: 1 });
    expect(run.notes).toEqual([]);
    expect(run.requests).toEqual([expect.objectContaining({ arrivalMs: 0, promptTokens: 500, outputTokens: 11 })]);
    const { ttftMs, tpotMs, e2eMs } = run.requests[0]!.measured;
    expect([ttftMs, tpotMs, e2eMs].map(Math.round)).toEqual([100, 100, 1100]);
  });

  it('finds no error against what the simulator itself recorded, and the true one against a slower machine', () => {
    const arrivals = [0, 0.01, 0.02, 0.03, 5].map((at) => ({ at, first: 1, last: 2 }));
    const first = replayRun(parseRun('any', JSON.stringify(META), requests(arrivals)));
    const recorded = (slower: number) =>
      first.requests.map(({ arrivalMs, simulated }) => ({
        at: arrivalMs / 1000,
        first: (slower * simulated.ttftMs) / 1000,
        last: (slower * simulated.e2eMs) / 1000,
      }));
    const same = replayRun(parseRun('any', JSON.stringify(META), requests(recorded(1))));
    for (const metric of Object.values(same.metrics)) expect(metric.perRequest.p90).toBeLessThan(1e-6);
    const slow = replayRun(parseRun('any', JSON.stringify(META), requests(recorded(1.25))));
    for (const metric of Object.values(slow.metrics)) expect(metric.perRequest.bias).toBeCloseTo(-0.2, 6);
    // Two seats: the third and fourth wait for them, the last comes when all is quiet.
    const ttfts = first.requests.map(({ simulated }) => simulated.ttftMs);
    expect(ttfts[2]!).toBeGreaterThan(3 * ttfts[4]!);
  });

  it('takes the GPU from the name of the folder, and says what it had to assume', () => {
    const { hardware: _, kv_cache: __, ...bare } = META;
    const meta = JSON.stringify({ ...bare, engine_kwargs: { ...META.engine_kwargs, data_parallel_size: 2 } });
    const run = parseRun('rtxpro6000-llama-dp2', meta, requests([{ at: 0, first: 0.1, last: 1 }]));
    expect(run.gpu.name).toBe('rtx-pro-6000');
    expect(run.config).toMatchObject({ tp: 2, dataParallel: 2, maxNumSeqs: 2 });
    expect(run.notes).toHaveLength(1);
  });

  it('deals requests to data-parallel ranks, each with seats of its own', () => {
    const two = { ...META, engine_kwargs: { ...META.engine_kwargs, data_parallel_size: 2 } };
    const arrivals = (count: number) => requests(Array.from({ length: count }, () => ({ at: 0, first: 1, last: 2 })));
    const ttfts = (meta: object, count: number) =>
      replayRun(parseRun('any', JSON.stringify(meta), arrivals(count))).requests.map(({ simulated }) =>
        Math.round(simulated.ttftMs),
      );
    const [first, second, late] = ttfts(META, 3);
    expect(late).toBeGreaterThan(2 * first!);
    expect(ttfts(two, 6).sort((a, b) => a - b)).toEqual(
      [first, first, second, second, late, late].sort((a, b) => a! - b!),
    );
  });

  it.each([
    ['{', '{}', undefined, 'meta.json: '],
    [
      JSON.stringify({ ...META, model: 'nobody/knows' }),
      requests([{ at: 0, first: 1, last: 2 }]),
      undefined,
      'unknown model',
    ],
    [JSON.stringify(META), '', undefined, 'holds no request'],
    [JSON.stringify(META), '{"request_id":"a"}', undefined, 'requests.jsonl holds no request; line 1: input_toks'],
    [JSON.stringify(META), requests([{ at: 0, first: 1, last: 2 }]), 'abacus', 'unknown GPU abacus'],
  ])('refuses %j with %j', (meta, lines, gpu, message) => {
    expect(() => parseRun('any', meta, lines, gpu)).toThrow(message);
  });

  it('leaves out what no engine can have served, and says so', () => {
    const [line] = requests([{ at: 0, first: 0.1, last: 1.1 }]).split('\n');
    const { scheduled_ts: _, ...lacking } = JSON.parse(line!);
    const odd = (change: object) => JSON.stringify({ ...JSON.parse(line!), request_id: 'odd', ...change });
    const text = [
      line,
      line,
      odd({ input_toks: 5000 }),
      odd({ first_token_ts: 99 }),
      odd({ output_toks: 0 }),
      JSON.stringify({ ...lacking, request_id: 'odd' }),
      '',
      '{"half',
    ].join('\n');
    const { requests: kept, skipped, notes } = replayRun(parseRun('any', JSON.stringify(META), text));
    expect(kept.map(({ id }) => id)).toEqual(['r0']);
    expect(skipped.map((each) => `${each.line} ${each.skipped.split(':')[0]}`)).toEqual([
      '2 request_id',
      '3 input_toks and output_toks',
      '4 queued_ts, first_token_ts, last_token_ts',
      '5 output_toks',
      '6 scheduled_ts',
      '8 not JSON',
    ]);
    expect(notes).toEqual(['6 lines of requests.jsonl are left out, and so is their load']);
    const broken = odd({ output_toks: 0 });
    expect(() => parseRun('any', JSON.stringify(META), broken)).toThrow('holds no request; line 1: output_toks: ');
  });
});
