import type { BatchEngineConfig } from '../../src/engine/batch-engine.js';
import { MaestroError } from '../../src/model/error.js';
import { findGpu } from '../../src/model/gpu-catalogue.js';
import type { Dtype, LlmSpec } from '../../src/model/llm.js';
import { findLlm } from '../../src/model/llm-catalogue.js';
import { DEFAULT_BLOCK_TOKENS, kvPoolBytes, kvPoolTokens } from '../../src/model/memory.js';
import { runClosedLoop } from './closed-loop.js';

/** Columns of a file of measured closed loops; times in milliseconds. */
const COLUMNS = [
  ...['backend', 'model_path', 'system', 'precision', 'isl', 'osl', 'concurrency'],
  ...['tp_size', 'pp_size', 'attention_dp_size', 'silicon_ttft_ms', 'silicon_tpot_ms'],
] as const;
type Column = (typeof COLUMNS)[number];
type Measured = Readonly<Record<Column, string>>;

/** What the simulator says to one row, or why it says nothing. */
export type SiliconRow =
  | {
      /** 1-based number of the data row. */
      readonly row: number;
      readonly partition: Partition;
      readonly ttftMs: number;
      readonly tpotMs: number;
      readonly measuredTtftMs: number;
      readonly measuredTpotMs: number;
    }
  | { readonly row: number; readonly skipped: string };

export interface Partition {
  readonly backend: string;
  readonly gpu: string;
  readonly model: string;
  readonly kind: 'dense' | 'moe';
  readonly precision: string;
  readonly tp: number;
}

/** Share of GPU memory that the engines were given; vLLM's default. */
const GPU_MEMORY_UTILIZATION = 0.9;
/** The benchmarks raise the seats to whatever is in flight. */
const MAX_NUM_SEQS = 1024;

/** Runs every row of a file of measured latencies (CSV with {@link COLUMNS} among its columns) as a closed loop with as many requests in flight. */
export function* validateSilicon(csv: string): Generator<SiliconRow> {
  const [head = '', ...lines] = csv.trim().split(/\r?\n/);
  const names = head.split(',');
  const missing = COLUMNS.filter((name) => !names.includes(name));
  if (missing.length > 0) {
    throw new MaestroError('invalid_request', `the file lacks the columns ${missing.join(', ')}; it has ${head}`);
  }
  for (const [index, line] of lines.entries()) {
    const cells = line.split(',');
    const measured = Object.fromEntries(names.map((name, column) => [name, cells[column] ?? ''])) as Measured;
    yield { row: index + 1, ...check(measured) };
  }
}

function check(measured: Measured) {
  const promptTokens = Number(measured.isl);
  const outputTokens = Number(measured.osl);
  const concurrency = Number(measured.concurrency);
  const tp = Number(measured.tp_size);
  const llm = findLlm(measured.model_path);
  const gpu = findGpu(measured.system.replaceAll('_', '-'));
  if (!(concurrency >= 1)) return { skipped: 'concurrency is not recorded' };
  if (!(promptTokens >= 1 && outputTokens >= 1 && tp >= 1)) return { skipped: 'isl, osl or tp_size is not a number' };
  if (!llm) return { skipped: `unknown model ${measured.model_path}` };
  if (!gpu) return { skipped: `unknown GPU ${measured.system}` };
  if (Number(measured.pp_size) > 1) return { skipped: 'pipeline parallelism is not modelled' };
  if (Number(measured.attention_dp_size) > 1) return { skipped: 'data-parallel attention is not modelled' };
  const weightDtype = dtypeOf(measured.precision);
  if (!weightDtype) return { skipped: `unknown precision ${measured.precision}` };
  const length = promptTokens + outputTokens;
  const poolBytes = kvPoolBytes(gpu, llm, weightDtype, tp, GPU_MEMORY_UTILIZATION);
  const poolTokens = kvPoolTokens(poolBytes, llm, 'bf16', tp, length);
  if (poolTokens < length + DEFAULT_BLOCK_TOKENS) return { skipped: 'weights and one sequence do not fit the GPUs' };
  const config: BatchEngineConfig = {
    ...{ llm, gpu, tp, weightDtype, kvDtype: 'bf16' as const, maxNumSeqs: MAX_NUM_SEQS },
    maxModelLen: length + DEFAULT_BLOCK_TOKENS,
    numGpuBlocks: Math.floor(poolTokens / DEFAULT_BLOCK_TOKENS),
  };
  return {
    partition: partitionOf(measured, llm, tp),
    ...runClosedLoop(config, { promptTokens, outputTokens, concurrency }),
    measuredTtftMs: Number(measured.silicon_ttft_ms),
    measuredTpotMs: Number(measured.silicon_tpot_ms),
  };
}

function partitionOf(measured: Measured, llm: LlmSpec, tp: number): Partition {
  const { backend, system, precision } = measured;
  return { backend, gpu: system, model: llm.name, kind: llm.moe ? 'moe' : 'dense', precision: precision || 'bf16', tp };
}

function dtypeOf(precision: string): Dtype | undefined {
  switch (precision) {
    case '':
    case 'bf16':
      return 'bf16';
    case 'fp8':
    case 'int4':
      return precision;
    // Four bits and a scale for each block, whatever the format is called.
    case 'fp4':
    case 'nvfp4':
    case 'mxfp4':
      return 'mxfp4';
    default:
      return undefined;
  }
}

export interface ErrorSummary {
  readonly rows: number;
  /** Relative errors, 0.1 = 10 %: median and 90th percentile of their size, and the median with its sign. */
  readonly median: number;
  readonly p90: number;
  readonly bias: number;
}

export function summariseErrors(pairs: readonly (readonly [ours: number, measured: number])[]): ErrorSummary {
  const errors = pairs.map(([ours, measured]) => ours / measured - 1).sort((a, b) => a - b);
  const sizes = errors.map(Math.abs).sort((a, b) => a - b);
  const at = (values: readonly number[], q: number) =>
    values[Math.min(values.length - 1, Math.floor(q * values.length))] ?? 0;
  return { rows: errors.length, median: at(sizes, 0.5), p90: at(sizes, 0.9), bias: at(errors, 0.5) };
}
