import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findGpu, GPU_CATALOGUE } from '../model/gpu-catalogue.js';
import { findLlm, LLM_CATALOGUE } from '../model/llm-catalogue.js';
import { seatsForMix, seatsForTpot } from './seats.js';
import { type HostWork, type StepBatch, StepCost } from './step-time.js';

/**
 * Sums of vLLM kernels in bf16, milliseconds, derived from AIConfigurator's tables (Apache-2.0): decode at a context of 1024 with
 * batches of 1, 8, 32, 64, 128 and 256; batch 32 at 8192; prefill of 512, 2048 and 8192 tokens.
 */
type Row = readonly [gpu: string, llm: string, tp: number, ms: readonly number[]];
const KERNEL_SUMS: readonly Row[] = [
  ['a100-sxm-80gb', 'llama-3.1-8b', 1, [11, 11.6, 14.5, 16.8, 23.7, 41.5, 36.7, 33.1, 121.7, 554.6]],
  ['a100-sxm-80gb', 'qwen3-8b', 1, [11.2, 11.8, 15.4, 17.8, 25.2, 45, 40.3, 33.8, 123.5, 569.5]],
  ['a100-sxm-80gb', 'qwen3-14b', 1, [20.2, 20.5, 24.6, 28.1, 37, 66.2, 53.3, 62, 216, 953]],
  ['a100-sxm-80gb', 'qwen3-32b', 2, [25.3, 24.9, 29.3, 34, 43.5, 74, 47, 85.6, 289.6, 1286]],
  ['a100-sxm-80gb', 'llama-3.1-70b', 4, [27.2, 30.2, 33.7, 37.8, 48.3, 83.5, 46.8, 114.4, 376, 1517]],
  ['h100-sxm', 'llama-3.1-8b', 1, [5.95, 6.53, 8.21, 10.3, 12.7, 19.1, 17.6, 11.5, 43, 198.5]],
  ['h100-sxm', 'qwen3-8b', 1, [6.09, 6.74, 8.54, 10.8, 13.3, 20.8, 19.1, 11.5, 43.5, 202.2]],
  ['h100-sxm', 'qwen3-14b', 1, [10.5, 11.4, 14, 15.8, 19.8, 29.8, 25.4, 20.9, 78.8, 362.3]],
  ['h100-sxm', 'qwen3-32b', 1, [23.4, 25.8, 29.5, 32.8, 39.2, 56.9, 47.8, 47.9, 185.5, 861]],
  ['h100-sxm', 'qwen3-32b', 2, [13.4, 14.2, 16.7, 19.3, 23.2, 32.4, 26.2, 31.9, 117.7, 511]],
  ['h100-sxm', 'llama-3.1-70b', 4, [14.9, 16.4, 17, 20.1, 24.9, 34, 23.7, 43.4, 150.8, 675]],
  ['h200-sxm', 'llama-3.1-8b', 1, [4.73, 4.88, 6.23, 7.44, 9.76, 15, 13.4, 10.9, 45, 199.3]],
  ['h200-sxm', 'qwen3-14b', 1, [8.21, 8.77, 10.5, 11.9, 14.9, 24.8, 18.5, 19.6, 76.2, 370.9]],
  ['h200-sxm', 'qwen3-32b', 1, [18, 19.1, 22.2, 24.9, 29.1, 47.4, 36.2, 44.8, 183.5, 872]],
  ['h200-sxm', 'llama-3.1-70b', 4, [12.4, 13.1, 13.7, 16, 20.2, 29.9, 18.4, 41.1, 149.9, 633]],
  ['l40s', 'llama-3.1-8b', 1, [21.3, 22.5, 30.8, 37.4, 52.5, 77.7, 77.2, 36.4, 149.8, 673]],
  ['l40s', 'qwen3-14b', 1, [38.9, 41.6, 52.7, 60.6, 79.8, 121.4, 103.5, 70.1, 266.6, 1242]],
  ['b200-sxm', 'llama-3.1-8b', 1, [3.42, 3.34, 4.07, 4.77, 6.1, 9.03, 8.16, 6.27, 21.8, 95.7]],
  ['b200-sxm', 'qwen3-32b', 1, [12.4, 12.3, 13.9, 15.3, 17.9, 25.7, 22.1, 22.6, 95.2, 429]],
  ['b200-sxm', 'llama-3.1-70b', 4, [9.24, 9.19, 11.2, 12.2, 15.1, 20.4, 14, 26.8, 81.4, 338]],
];
/** LLMServingSim's profiles of vLLM 0.19 in eager mode, in the same columns (MIT). These cards have no fit of their own. */
const PROFILES: readonly Row[] = [
  ['rtx-4090', 'llama-3.1-8b', 1, [16.7, 18.5, 23.9, 29.2, 40.4, 63.6, Number.NaN, 48.1, 192.1, Number.NaN]],
  ['rtx-pro-6000', 'llama-3.1-8b', 1, [11.3, 11.8, 15, 18.7, 25.2, 38.9, Number.NaN, 23.6, 82.4, Number.NaN]],
  ['rtx-pro-6000', 'qwen3-32b', 1, [44.7, 48.1, 55.6, 62.6, 78.8, 112, Number.NaN, 99, 364, Number.NaN]],
];

function costOf(gpu: string, llm: string, tp = 1, hostWork: HostWork = 'overlapped'): StepCost {
  return new StepCost({ gpu: findGpu(gpu)!, llm: findLlm(llm)!, tp, weightDtype: 'bf16', kvDtype: 'bf16', hostWork });
}

/** Relative errors of one row. */
function errorsOf([gpu, llm, tp, measured]: Row): number[] {
  const cost = costOf(gpu, llm, tp, 'none');
  const predicted = [
    ...[1, 8, 32, 64, 128, 256].map((seqs) => cost.decodeMs(seqs, 1024)),
    cost.decodeMs(32, 8192),
    ...[512, 2048, 8192].map((tokens) => cost.prefillMs(tokens)),
  ];
  return measured.flatMap((ms, index) => (Number.isNaN(ms) ? [] : [predicted[index]! / ms - 1]));
}

const meanOf = (values: readonly number[]) => values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;

describe('step time against kernel sums', () => {
  it.each(KERNEL_SUMS)('%s %s TP%i is within 16 %% everywhere', (...row) => {
    for (const error of errorsOf(row)) expect(Math.abs(error)).toBeLessThan(0.16);
    expect(meanOf(errorsOf(row))).toBeLessThan(0.06);
  });

  it('has a mean error below 4 %', () => {
    expect(meanOf(KERNEL_SUMS.flatMap(errorsOf))).toBeLessThan(0.04);
  });

  it('is of the right size on cards without a fit', () => {
    for (const row of PROFILES) expect(meanOf(errorsOf(row)), row.slice(0, 2).join(' ')).toBeLessThan(0.15);
  });
});

describe('StepCost', () => {
  const llms = fc.constantFrom(...LLM_CATALOGUE);
  const gpus = fc.constantFrom(...GPU_CATALOGUE);
  const shapes = fc.record({
    llm: llms,
    gpu: gpus,
    tp: fc.constantFrom(1, 2, 4, 8),
    weightDtype: fc.constantFrom('bf16' as const, 'fp8' as const, 'int4' as const, 'mxfp4' as const),
    kvDtype: fc.constantFrom('bf16' as const, 'fp8' as const),
  });

  it('only grows: with sequences, context, prefill tokens and prior context', () => {
    const seqs = fc.integer({ min: 1, max: 1024 });
    const tokens = fc.integer({ min: 0, max: 8192 });
    fc.assert(
      fc.property(shapes, seqs, fc.integer({ min: 1, max: 100_000 }), tokens, (shape, decodeSeqs, context, prefill) => {
        const batch: StepBatch = {
          decodeSeqs,
          contextTokens: decodeSeqs * context,
          prefillTokens: prefill,
          prefillPairs: prefill * prefill,
          prefillSeqs: 0,
        };
        const cost = new StepCost(shape);
        const base = cost.stepMs(batch);
        expect(base).toBeGreaterThan(0);
        for (const more of [
          { decodeSeqs: decodeSeqs + 1 },
          { contextTokens: batch.contextTokens + 1000 },
          { prefillTokens: prefill + 64 },
          { prefillPairs: batch.prefillPairs + 1_000_000 },
          { prefillSeqs: 4 },
        ]) {
          expect(cost.stepMs({ ...batch, ...more })).toBeGreaterThanOrEqual(base);
        }
      }),
    );
  });

  describe('of one data-parallel rank', () => {
    const shape = { gpu: findGpu('h100-sxm')!, weightDtype: 'bf16', kvDtype: 'bf16' } as const;
    const batch = { decodeSeqs: 32, contextTokens: 32_000, prefillTokens: 256, prefillPairs: 65_536, prefillSeqs: 1 };

    it('is that of the GPUs which the rank has, if the model is dense', () => {
      const dense = { ...shape, llm: findLlm('llama-3.1-70b')! };
      const alone = new StepCost({ ...dense, tp: 2 });
      expect(new StepCost({ ...dense, tp: 4, dataParallel: 2 }).stepMs(batch)).toBe(alone.stepMs(batch));
    });

    it('has the experts of a mixture work for all ranks, spread over all GPUs', () => {
      const mixture = { ...shape, llm: findLlm('qwen3-30b-a3b')! };
      const rank = new StepCost({ ...mixture, tp: 2, dataParallel: 2 });
      const doubled = {
        decodeSeqs: 64,
        contextTokens: 64_000,
        prefillTokens: 512,
        prefillPairs: 131_072,
        prefillSeqs: 2,
      };
      // It waits for the other rank's tokens, and reads half of the experts.
      expect(rank.stepMs(batch)).toBeGreaterThan(new StepCost({ ...mixture, tp: 2 }).stepMs(batch));
      expect(rank.stepMs(batch)).toBeLessThan(new StepCost({ ...mixture, tp: 1 }).stepMs(doubled));
      // The first token that comes has both GPUs read experts, where one alone would read all.
      expect(rank.decodeMs(32, 1000)).toBeLessThan(new StepCost({ ...mixture, tp: 1 }).decodeMs(32, 1000));
    });
  });

  it('adds up a run of decode steps exactly, windows or not', () => {
    const steps = fc.integer({ min: 1, max: 400 });
    fc.assert(
      fc.property(
        shapes,
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 3000 }),
        steps,
        (shape, b, c, k) => {
          const cost = new StepCost(shape);
          let sum = 0;
          for (let step = 0; step < k; step++) sum += cost.decodeMs(b, c + step);
          expect(cost.decodeRunMs(b, b * c, k) / sum).toBeCloseTo(1, 9);
        },
      ),
    );
  });

  it('a mixed step costs less than its parts apart: one matrix product over all tokens', () => {
    const cost = costOf('h100-sxm', 'llama-3.1-8b');
    const decode = { decodeSeqs: 32, contextTokens: 32_768, prefillTokens: 0, prefillPairs: 0, prefillSeqs: 0 };
    const prefill = { decodeSeqs: 0, contextTokens: 0, prefillTokens: 512, prefillPairs: 512 * 512, prefillSeqs: 1 };
    const mixed = { ...prefill, decodeSeqs: 32, contextTokens: 32_768 };
    const apart = cost.stepMs(decode) + cost.stepMs(prefill);
    expect(cost.stepMs(mixed)).toBeLessThan(0.8 * apart);
    expect(cost.stepMs(mixed)).toBeGreaterThan(Math.max(cost.stepMs(decode), cost.stepMs(prefill)));
  });

  it('cached tokens are not computed, but attended to', () => {
    const cost = costOf('h100-sxm', 'llama-3.1-8b');
    const rest = cost.prefillMs(8192, 7168);
    expect(rest).toBeLessThan(0.25 * cost.prefillMs(8192));
    expect(rest).toBeGreaterThan(cost.prefillMs(1024));
    expect(cost.prefillMs(1000, 1000)).toBe(0);
  });

  it('a mixture of experts reads few experts alone and nearly all in a crowd', () => {
    const sparse = costOf('h100-sxm', 'qwen3-30b-a3b');
    const dense = costOf('h100-sxm', 'qwen3-32b');
    expect(sparse.decodeMs(1, 1024)).toBeLessThan(0.4 * dense.decodeMs(1, 1024));
    const growth = sparse.decodeMs(64, 1) / sparse.decodeMs(1, 1);
    expect(growth).toBeGreaterThan(3);
    expect(growth).toBeLessThan(128 / 8);
  });

  it('a sliding window bounds the cost of context', () => {
    const cost = costOf('h100-sxm', 'gpt-oss-20b');
    const per1000 = (context: number) => cost.decodeMs(8, context + 1000) - cost.decodeMs(8, context);
    expect(per1000(10_000)).toBeCloseTo(per1000(50_000), 9);
    expect(cost.decodeMs(8, 128) - cost.decodeMs(8, 28)).toBeGreaterThan(0.19 * per1000(10_000));
  });

  it('adds the CPU gap of the engine to every step', () => {
    const shape = {
      gpu: findGpu('h100-sxm')!,
      llm: findLlm('llama-3.1-8b')!,
      tp: 1,
      weightDtype: 'bf16',
      kvDtype: 'bf16',
    } as const;
    const plain = new StepCost(shape).decodeMs(4, 100);
    expect(new StepCost({ ...shape, stepOverheadMs: 2 }).decodeMs(4, 100) - plain).toBeCloseTo(2, 9);
  });
});

describe('seatsForTpot', () => {
  const cost = costOf('h100-sxm', 'llama-3.1-8b');

  it('is the largest batch that meets the target', () => {
    for (const tpotMs of [8, 12, 20, 40]) {
      const seats = seatsForTpot(cost, 2000, tpotMs, 4096);
      expect(cost.decodeMs(seats, 2000)).toBeLessThanOrEqual(tpotMs);
      expect(cost.decodeMs(seats + 1, 2000)).toBeGreaterThan(tpotMs);
    }
  });

  it('never falls below one seat nor rises above the limit, and shrinks with context and prefill', () => {
    expect(seatsForTpot(cost, 2000, 0.001, 256)).toBe(1);
    expect(seatsForTpot(cost, 2000, 1e6, 256)).toBe(256);
    expect(seatsForTpot(cost, 8000, 20, 4096)).toBeLessThan(seatsForTpot(cost, 2000, 20, 4096));
    expect(seatsForTpot(cost, 2000, 20, 4096, 256)).toBeLessThan(seatsForTpot(cost, 2000, 20, 4096));
  });
});

describe('seatsForMix', () => {
  const cost = costOf('l40s', 'llama-3.1-8b');
  const chat = { promptTokens: 500, cachedTokens: 0, outputTokens: 400 };
  const code = { promptTokens: 2_000, cachedTokens: 0, outputTokens: 28 };
  const seats = (mix: typeof chat, tpotMs: number, usualSeats = 1, maxSeats = 256) =>
    seatsForMix(cost, mix, { tpotMs, usualSeats, maxSeats });
  /** A step of `n` such calls, none of whose prompts is cached. */
  const stepMs = ({ promptTokens, outputTokens }: typeof chat, n: number) =>
    cost.stepMs({
      decodeSeqs: n,
      contextTokens: n * (promptTokens + outputTokens / 2),
      prefillTokens: (n * promptTokens) / outputTokens,
      prefillPairs: (n * promptTokens * promptTokens) / outputTokens,
      prefillSeqs: n / outputTokens,
    });

  it('lets steps with the prompts of such calls meet the target', () => {
    const most = seats(code, 100, 256);
    expect(stepMs(code, most)).toBeLessThanOrEqual(100);
    expect(stepMs(code, most + 1)).toBeGreaterThan(100);
    expect(seats(code, 0.001)).toBe(1);
    // A little fewer than usual are not worth a change.
    expect(seats(code, 100, Math.floor(most / 0.75))).toBe(Math.floor(most / 0.75));
    expect(seats(code, 100, Math.floor(most / 0.75) + 1)).toBe(most);
  });

  it('is small where prompts are the work, and larger where they are cached', () => {
    expect(seats(code, 100, 256)).toBeLessThan(seats(chat, 100, 256) / 4);
    expect(seats({ ...code, cachedTokens: 1_900 }, 100, 256)).toBeGreaterThan(2 * seats(code, 100, 256));
  });

  it('is no more than usual where that reaches two thirds of the throughput, else as many as do', () => {
    const throughput = (n: number) => n / stepMs(chat, n);
    const enough = seats(chat, 1e6);
    expect(throughput(enough + 1) / throughput(256)).toBeGreaterThan(2 / 3);
    expect(throughput(enough) / throughput(256)).toBeLessThanOrEqual(2 / 3);
    expect(seats(chat, 1e6, enough - 5)).toBe(enough);
    expect(seats(chat, 1e6, enough + 5)).toBe(enough + 5);
    expect(seats(chat, 1e6, 256, 12)).toBe(12);
  });
});
