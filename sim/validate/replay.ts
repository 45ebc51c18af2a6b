import { z } from 'zod';
import type { BatchEngineConfig, EngineEvent } from '../../src/engine/batch-types.js';
import { NO_FRONT_END } from '../../src/engine/front-end.js';
import { newEngine } from '../../src/engine/new-engine.js';
import { MaestroError } from '../../src/model/error.js';
import type { GpuSpec } from '../../src/model/gpu.js';
import { findGpu, GPU_CATALOGUE, GPU_NAMES } from '../../src/model/gpu-catalogue.js';
import { parseJson } from '../../src/model/json.js';
import { findLlm } from '../../src/model/llm-catalogue.js';
import { DEFAULT_BLOCK_TOKENS, kvPoolBytes, kvPoolTokens } from '../../src/model/memory.js';
import { type ErrorSummary, quantile, summariseErrors } from './errors.js';

/** One request of a recorded run. Times in seconds on the engine's clock. */
const REQUEST = z.object({
  request_id: z.string(),
  input_toks: z.number().int().positive(),
  output_toks: z.number().int().positive(),
  queued_ts: z.number(),
  scheduled_ts: z.number(),
  first_token_ts: z.number(),
  last_token_ts: z.number(),
});

const META = z.object({
  model: z.string(),
  engine_kwargs: z.object({
    tensor_parallel_size: z.number().int().positive().default(1),
    data_parallel_size: z.number().int().positive().default(1),
    max_num_seqs: z.number().int().positive().default(256),
    max_num_batched_tokens: z.number().int().positive().default(2048),
    max_model_len: z.number().int().positive().nullish(),
    dtype: z.enum(['bfloat16', 'float16', 'auto']).default('auto'),
  }),
  kv_cache: z
    .object({ num_gpu_blocks: z.number().int().positive(), block_size: z.number().int().positive() })
    .nullish(),
  hardware: z.object({ device_name: z.string() }).nullish(),
});

export interface RecordedRun {
  readonly name: string;
  readonly gpu: GpuSpec;
  readonly config: BatchEngineConfig;
  readonly requests: readonly RecordedRequest[];
  readonly skipped: readonly SkippedRequest[];
  /** What is simplified in the replay. */
  readonly notes: readonly string[];
}

/** A line that is no request which an engine can have served. */
export interface SkippedRequest {
  /** Of `requests.jsonl`, from 1. */
  readonly line: number;
  readonly skipped: string;
}

export interface RecordedRequest {
  readonly id: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Since the first arrival at the engine. */
  readonly arrivalMs: number;
  readonly measured: Latencies;
}

export interface Latencies {
  readonly ttftMs: number;
  /** Time per output token after the first; 0 for answers of one token. */
  readonly tpotMs: number;
  /** From arrival to the last token. */
  readonly e2eMs: number;
}

/** Understands a run that LLMServingSim recorded: the texts of its `meta.json` and `requests.jsonl`. `gpuName` where the record does not tell. */
export function parseRun(name: string, metaText: string, requestsText: string, gpuName?: string): RecordedRun {
  const meta = parseMeta(metaText);
  const gpu = gpuOf(gpuName ?? meta.hardware?.device_name, name);
  const { config, notes } = configOf(meta, gpu);
  const { raw, skipped } = readRequests(requestsText, config);
  const startS = raw.reduce((first, { queued_ts }) => Math.min(first, queued_ts), Number.POSITIVE_INFINITY);
  const requests = raw
    .map((each): RecordedRequest => {
      const ttftMs = (each.first_token_ts - each.queued_ts) * 1000;
      const decodeMs = (each.last_token_ts - each.first_token_ts) * 1000;
      return {
        id: each.request_id,
        promptTokens: each.input_toks,
        outputTokens: each.output_toks,
        arrivalMs: (each.queued_ts - startS) * 1000,
        measured: {
          ttftMs,
          tpotMs: each.output_toks > 1 ? decodeMs / (each.output_toks - 1) : 0,
          e2eMs: ttftMs + decodeMs,
        },
      };
    })
    .sort((a, b) => a.arrivalMs - b.arrivalMs);
  const left =
    skipped.length === 0 ? [] : [`${skipped.length} lines of requests.jsonl are left out, and so is their load`];
  return { name, gpu, requests, skipped, config, notes: [...notes, ...left] };
}

function readRequests(
  text: string,
  { maxModelLen, numGpuBlocks, blockSize = DEFAULT_BLOCK_TOKENS }: BatchEngineConfig,
): { readonly raw: readonly z.infer<typeof REQUEST>[]; readonly skipped: readonly SkippedRequest[] } {
  const raw: z.infer<typeof REQUEST>[] = [];
  const skipped: SkippedRequest[] = [];
  const lineOf = new Map<string, number>();
  const room = Math.min(maxModelLen, numGpuBlocks * blockSize);
  for (const [index, content] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const line = index + 1;
    if (content.trim() === '') continue;
    const parsed = REQUEST.safeParse(parseJson(content));
    const issue = parsed.error?.issues[0];
    if (!parsed.success) skipped.push({ line, skipped: `${issue!.path.join('.') || 'not JSON'}: ${issue!.message}` });
    else {
      const { request_id: id, input_toks, output_toks, queued_ts, first_token_ts, last_token_ts } = parsed.data;
      const earlier = lineOf.get(id);
      const why =
        earlier !== undefined
          ? `request_id: ${id} is also that of line ${earlier}`
          : input_toks + output_toks > room
            ? `input_toks and output_toks: ${input_toks + output_toks} together do not fit the engine, which has room for ${room}`
            : queued_ts > first_token_ts || first_token_ts > last_token_ts
              ? 'queued_ts, first_token_ts, last_token_ts: not in this order'
              : undefined;
      if (why !== undefined) skipped.push({ line, skipped: why });
      else {
        lineOf.set(id, line);
        raw.push(parsed.data);
      }
    }
  }
  if (raw.length > 0) return { raw, skipped };
  const [first] = skipped;
  throw new MaestroError(
    'invalid_request',
    `requests.jsonl holds no request${first ? `; line ${first.line}: ${first.skipped}` : ''}`,
  );
}

function configOf(meta: z.infer<typeof META>, gpu: GpuSpec): Pick<RecordedRun, 'config' | 'notes'> {
  const llm = findLlm(meta.model);
  if (!llm) throw new MaestroError('invalid_request', `meta.json: unknown model ${meta.model}`);
  const { engine_kwargs: options, kv_cache: kv } = meta;
  const dataParallel = options.data_parallel_size;
  const tp = options.tensor_parallel_size * dataParallel;
  const { max_num_seqs: maxNumSeqs, max_num_batched_tokens: maxNumBatchedTokens } = options;
  const maxModelLen = options.max_model_len ?? llm.maxContextTokens;
  const poolBytes = kvPoolBytes(gpu, llm, 'bf16', tp, 0.9, { maxNumBatchedTokens, maxNumSeqs, dataParallel });
  const blockSize = kv?.block_size ?? DEFAULT_BLOCK_TOKENS;
  const numGpuBlocks = kv
    ? // vLLM counts one block that it never hands out.
      kv.num_gpu_blocks - 1
    : Math.floor(
        kvPoolTokens(poolBytes, llm, 'bf16', options.tensor_parallel_size, maxModelLen, blockSize) / blockSize,
      );
  return {
    config: {
      ...{
        llm,
        gpu,
        tp,
        dataParallel,
        weightDtype: 'bf16',
        kvDtype: 'bf16',
        hostWork: 'overlapped',
        frontEnd: NO_FRONT_END,
      },
      ...{ maxNumSeqs, maxNumBatchedTokens, maxModelLen, blockSize, numGpuBlocks, prefixCaching: false },
    },
    notes: [...(kv ? [] : ['the size of the KV pool is not recorded; ours is used'])],
  };
}

function gpuOf(given: string | undefined, name: string): GpuSpec {
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]/g, '');
  const gpu = given ? findGpu(given) : GPU_CATALOGUE.find((each) => plain(name).startsWith(plain(each.name)));
  if (gpu) return gpu;
  throw new MaestroError(
    'invalid_request',
    `${given ? `unknown GPU ${given}` : `${name}: the record does not name its GPU; give it with --gpu`}. Known: ${GPU_NAMES.join(', ')}`,
  );
}

export interface ReplayResult {
  readonly name: string;
  readonly notes: readonly string[];
  /** From the first arrival to the last token. */
  readonly makespanMs: { readonly simulated: number; readonly measured: number };
  readonly metrics: Readonly<Record<keyof Latencies, MetricComparison>>;
  readonly requests: readonly (RecordedRequest & { readonly simulated: Latencies })[];
  readonly skipped: readonly SkippedRequest[];
}

export interface MetricComparison {
  readonly simulated: Percentiles;
  readonly measured: Percentiles;
  /** Request by request. */
  readonly perRequest: ErrorSummary;
}

export interface Percentiles {
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** Sends the requests of a recorded run to a simulated engine at the recorded times. */
export function replayRun({ name, notes, config, requests, skipped }: RecordedRun): ReplayResult {
  const engine = newEngine(config);
  const firstMs = new Map<string, number>();
  const lastMs = new Map<string, number>();
  const events: EngineEvent[] = [];
  const settle = () => {
    for (const event of events) {
      if (event.kind === 'first-token') firstMs.set(event.id, event.atMs);
      else if (event.kind === 'finished') lastMs.set(event.id, event.atMs);
    }
    events.length = 0;
  };
  for (const request of requests) {
    engine.advance(request.arrivalMs, events);
    engine.add({ ...request, priority: 0 }, request.arrivalMs);
  }
  for (let nextMs = engine.nextEventMs(); nextMs < Number.POSITIVE_INFINITY; nextMs = engine.nextEventMs()) {
    engine.advance(nextMs, events);
  }
  settle();
  const compared = requests.map((request) => {
    const first = firstMs.get(request.id) ?? Number.NaN;
    const last = lastMs.get(request.id) ?? Number.NaN;
    const simulated: Latencies = {
      ttftMs: first - request.arrivalMs,
      tpotMs: request.outputTokens > 1 ? (last - first) / (request.outputTokens - 1) : 0,
      e2eMs: last - request.arrivalMs,
    };
    return { ...request, simulated };
  });
  const compare = (metric: keyof Latencies): MetricComparison => {
    const told = compared.filter(({ measured }) => measured[metric] > 0);
    return {
      simulated: percentiles(told.map(({ simulated }) => simulated[metric])),
      measured: percentiles(told.map(({ measured }) => measured[metric])),
      perRequest: summariseErrors(told.map(({ simulated, measured }) => [simulated[metric], measured[metric]])),
    };
  };
  const end = (of: (request: (typeof compared)[number]) => Latencies) =>
    compared.reduce((last, request) => Math.max(last, request.arrivalMs + of(request).e2eMs), 0);
  return {
    name,
    notes,
    makespanMs: { simulated: end(({ simulated }) => simulated), measured: end(({ measured }) => measured) },
    metrics: { ttftMs: compare('ttftMs'), tpotMs: compare('tpotMs'), e2eMs: compare('e2eMs') },
    requests: compared,
    skipped,
  };
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    mean: sorted.reduce((sum, value) => sum + value, 0) / sorted.length,
    p50: quantile(sorted, 0.5),
    p90: quantile(sorted, 0.9),
    p99: quantile(sorted, 0.99),
  };
}

function parseMeta(text: string): z.infer<typeof META> {
  const value = parseJson(text);
  if (value === undefined) throw new MaestroError('invalid_request', 'meta.json: not JSON');
  const parsed = META.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'the whole'}: ${message}`);
  throw new MaestroError('invalid_request', `meta.json: ${problems.join('; ')}`);
}
