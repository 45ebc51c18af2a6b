import type { BatchEngineConfig } from '../../src/engine/batch-engine.js';
import type { HostWork } from '../../src/engine/step-time.js';
import { findGpu } from '../../src/model/gpu-catalogue.js';
import type { Dtype, LlmSpec } from '../../src/model/llm.js';
import { findLlm } from '../../src/model/llm-catalogue.js';
import { DEFAULT_BLOCK_TOKENS, kvPoolBytes, kvPoolTokens } from '../../src/model/memory.js';
import { type ClosedLoop, runClosedLoop } from './closed-loop.js';
import { readCsv } from './csv.js';

const SIZES = ['isl', 'osl', 'concurrency', 'tp_size'] as const;
/** Other ways of splitting a model over GPUs. */
const SPLITS = ['pp_size', 'attention_dp_size', 'moe_tp_size', 'moe_ep_size'] as const;
const TIMES = ['silicon_ttft_ms', 'silicon_tpot_ms'] as const;

/** Columns that a file of measured closed loops must have; times in milliseconds. Others are passed over. */
export const SILICON_COLUMNS = [
  'backend',
  'backend_version',
  'model_path',
  'system',
  'precision',
  ...[...SIZES, ...SPLITS, ...TIMES],
] as const;
export type Cells = Readonly<Record<(typeof SILICON_COLUMNS)[number], string>>;

/** What the file does not say of the servers and the load. */
export interface SiliconOptions {
  /** Share of GPU memory that the engines were given. Default 0.92, vLLM's; the public scripts have 0.9 to 0.95. */
  readonly gpuMemoryUtilization?: number;
  /** See {@link ClosedLoop}. Default 0.8, the `--random-range-ratio` of the public InferenceMAX scripts. */
  readonly shortestShare?: number;
  /** Requests for each one in flight. Default 10. */
  readonly rounds?: number;
}

export interface Partition {
  readonly backend: string;
  readonly gpu: string;
  readonly model: string;
  readonly family: 'dense' | 'moe';
  readonly precision: string;
  /** GPUs. */
  readonly tp: number;
  /** Ranks of attention that these are divided into, where there is more than one. */
  readonly dataParallel?: number;
}

export interface ComparedRow {
  /** 1-based number of the data row. */
  readonly row: number;
  readonly partition: Partition;
  readonly ttftMs: number;
  readonly measuredTtftMs: number;
  /** Absent where answers of one token have no time between tokens. */
  readonly tpotMs?: number;
  readonly measuredTpotMs?: number;
}

export interface SkippedRow {
  readonly row: number;
  /** Why it cannot be run. */
  readonly skipped: string;
}

export type SiliconRow = ComparedRow | SkippedRow;

/** Runs every row of a file of measured latencies as a closed loop with as many requests in flight. */
export async function* validateSilicon(
  lines: AsyncIterable<string> | Iterable<string>,
  options: SiliconOptions = {},
): AsyncGenerator<SiliconRow> {
  for await (const read of readCsv(lines, SILICON_COLUMNS)) {
    const { row } = read;
    if ('broken' in read) {
      yield { row, skipped: read.broken };
      continue;
    }
    const { cells } = read;
    const plan = planSiliconRow(cells, options);
    if (typeof plan === 'string') {
      yield { row, skipped: plan };
      continue;
    }
    const { partition, config, loop } = plan;
    const { ttftMs, tpotMs } = runClosedLoop(config, loop);
    yield {
      ...{ row, partition, ttftMs, measuredTtftMs: Number(cells.silicon_ttft_ms) },
      ...(loop.outputTokens > 1 ? { tpotMs, measuredTpotMs: Number(cells.silicon_tpot_ms) } : {}),
    };
  }
}

/** A measured closed loop as a run of the simulated engine. */
export interface RowPlan {
  readonly partition: Partition;
  readonly config: BatchEngineConfig;
  readonly loop: ClosedLoop;
}

/** More in flight than any engine has seats, and than a run should take memory for. */
const MOST_IN_FLIGHT = 100_000;

/** Programs that know no missing whole numbers write `128` as `128.0`; words are written as their authors like (`vLLM`, `FP8`). */
function inOneWay(cells: Cells): Cells {
  const counts = [...SIZES, ...SPLITS].map((column) => [column, cells[column].replace(/\.0+$/, '')]);
  const words = (['backend', 'precision'] as const).map((column) => [column, cells[column].toLowerCase()]);
  return { ...cells, ...Object.fromEntries([...counts, ...words]) };
}

/** How to run a row, or why it cannot be. */
export function planSiliconRow(given: Cells, options: SiliconOptions = {}): RowPlan | string {
  const cells = inOneWay(given);
  if (cells.concurrency === '') return 'concurrency is not recorded';
  for (const column of SIZES) {
    if (!/^[1-9]\d*$/.test(cells[column])) return `${column} is “${cells[column]}”, not a whole number above 0`;
  }
  for (const column of SPLITS) {
    if (!/^\d*$/.test(cells[column])) return `${column} is “${cells[column]}”, not a whole number`;
  }
  for (const column of cells.osl === '1' ? TIMES.slice(0, 1) : TIMES) {
    const time = Number(cells[column]);
    if (!(time > 0 && time < Number.POSITIVE_INFINITY)) return `${column} is “${cells[column]}”, not a time above 0`;
  }
  if (Number(cells.concurrency) > MOST_IN_FLIGHT) return `more than ${MOST_IN_FLIGHT} requests in flight`;
  const llm = findLlm(cells.model_path);
  if (!llm) return `unknown model ${cells.model_path}`;
  const gpu = findGpu(cells.system);
  if (!gpu) return `unknown GPU ${cells.system}`;
  const weightDtype = dtypeOf(cells.precision);
  if (!weightDtype) return `unknown precision ${cells.precision}`;
  if (Number(cells.pp_size) > 1) return 'pipeline parallelism is not modelled';
  const { tp, dataParallel } = gpusOf(cells);
  if (dataParallel === 1 && expertGpus(cells, llm) > tp) return 'experts on more GPUs than the group has';

  const [promptTokens, outputTokens] = [Number(cells.isl), Number(cells.osl)];
  const concurrency = Number(cells.concurrency);
  const maxModelLen = promptTokens + outputTokens + DEFAULT_BLOCK_TOKENS;
  const poolBytes = kvPoolBytes(gpu, llm, weightDtype, tp, options.gpuMemoryUtilization ?? 0.92, { dataParallel });
  const poolTokens = kvPoolTokens(poolBytes, llm, 'bf16', tp / dataParallel, maxModelLen);
  if (poolTokens < maxModelLen) return 'weights and one sequence do not fit the GPUs';
  return {
    partition: {
      backend: cells.backend,
      gpu: gpu.name,
      model: llm.name,
      family: llm.moe ? 'moe' : 'dense',
      precision: weightDtype,
      tp,
      ...(dataParallel > 1 ? { dataParallel } : {}),
    },
    config: {
      llm,
      gpu,
      tp,
      dataParallel,
      weightDtype,
      kvDtype: 'bf16',
      hostWork: hostWorkOf(cells),
      // The scripts give as many seats, to every rank, as there are requests in flight, or more.
      maxNumSeqs: concurrency,
      maxModelLen,
      numGpuBlocks: Math.floor(poolTokens / DEFAULT_BLOCK_TOKENS),
      prefixCaching: false,
    },
    loop: {
      ...{ promptTokens, outputTokens, concurrency },
      shortestShare: options.shortestShare ?? 0.8,
      ...(options.rounds === undefined ? {} : { rounds: options.rounds }),
    },
  };
}

/**
 * GPUs, and the ranks of attention that they are divided into: vLLM has `--tensor-parallel-size` of them in each of `--data-parallel-size` ranks. Public
 * scripts that turn ranks on name the GPUs once more instead: rows of 2 and 2 are as fast as such of 2 and 1 (MiniMax-M2.5), not as 4 GPUs would be.
 */
function gpusOf({ tp_size, attention_dp_size }: Cells): { readonly tp: number; readonly dataParallel: number } {
  const [tp, dataParallel] = [Number(tp_size), Math.max(1, Number(attention_dp_size))];
  return { tp: tp === dataParallel ? tp : tp * dataParallel, dataParallel };
}

/** GPUs that a mixture's experts are spread over; more than the TP group when several groups share them. */
function expertGpus({ moe_tp_size, moe_ep_size }: Cells, llm: LlmSpec): number {
  return llm.moe ? Math.max(1, Number(moe_tp_size)) * Math.max(1, Number(moe_ep_size)) : 1;
}

/** vLLM schedules asynchronously by default from 0.14; runs without a version are by scripts that turn it on. */
function hostWorkOf({ backend, backend_version }: Cells): HostWork {
  const minor = /^v?0\.(\d+)/.exec(backend_version)?.[1];
  return backend === 'vllm' && minor !== undefined && Number(minor) < 14 ? 'serial' : 'overlapped';
}

function dtypeOf(precision: string): Dtype | undefined {
  switch (precision) {
    case '':
    case 'bf16':
    case 'bfloat16':
    case 'fp16':
    case 'float16':
      return 'bf16';
    case 'fp8':
    case 'fp8_block':
    case 'fp8_static':
      return 'fp8';
    // Weights of four bits beside activations of sixteen.
    case 'int4':
    case 'int4_wo':
    case 'w4a16':
      return 'int4';
    // Four bits and a scale for each block, whatever the format is called.
    case 'fp4':
    case 'nvfp4':
    case 'mxfp4':
      return 'mxfp4';
    default:
      return undefined;
  }
}
