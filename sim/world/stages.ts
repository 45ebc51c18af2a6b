import { DEFAULT_BLOCK_TOKENS } from '../../src/model/memory.js';
import type { SloClass, Stage } from '../../src/model/stage.js';
import { limitAbove } from '../../traces/limit.js';
import type { TraceRow } from '../../traces/schema.js';
import { stageFeaturesOf } from '../../traces/stage-features.js';
import { blockTokensOf, hashRunsOf } from '../../traces/workflow.js';
import type { SimRow } from '../types.js';
import type { Run } from './runs.js';

/** Limit of a stage for which the trace has none; doubled until its answer fits. */
export const DEFAULT_MAX_TOKENS = 4_096;

/** The `max_tokens` of a call, as a replay sends it. */
export function limitOf({ max_tokens, output_length }: TraceRow): number {
  return max_tokens ?? limitAbove(DEFAULT_MAX_TOKENS, output_length);
}

/** Steps per doubling of the length, as the gateway hashes a growing prompt. */
const STEPS_PER_DOUBLING = 8;
const NONE: readonly never[] = [];

/** The stage as the gateway would describe it: everything that is known before it runs. Nobody reads a batch answer while it is written, so it is not streamed. */
export function stageOf(
  run: Run,
  row: SimRow,
  stageId: string,
  { weight, kind }: Pick<SloClass, 'weight' | 'kind'>,
  maxModelLen: number,
  nowMs: number,
): Stage {
  const { record } = run;
  const promptTokens = Math.max(1, row.input_length);
  const room = Math.max(1, maxModelLen - promptTokens);
  const model = row.model ?? 'default';
  return {
    stageId,
    workflowId: record.workflowId,
    tenant: record.tenant,
    template: record.template,
    role: row.role ?? 'default',
    agent: row.agent,
    model,
    sloClass: record.sloClass,
    arrivalMs: nowMs,
    deadlineMs: record.deadlineMs,
    weight,
    promptTokens,
    promptTokensExact: true,
    maxTokens: Math.min(limitOf(row), room),
    outputLimited: (row.outputLimited ?? row.max_tokens !== undefined) ? true : undefined,
    bodyBytes: 4 * promptTokens,
    prefixHashes: prefixHashes(row, model),
    features: stageFeaturesOf(row, row.stream ?? kind === 'interactive'),
    finalStage: run.left === 1,
  };
}

/** Names of blocks that are remembered in all. Agents bring most of a prompt back, so that most names are asked for again; with more, all are made anew. */
const MAX_NAMES = 1 << 16;

/** Names of the blocks of a model's prompts, each made once: a name that is put together anew has to be copied and hashed before an index can be asked for it, and compared letter by letter. */
const names = new Map<string, Map<number, string>>();
let named = 0;

function namesOf(model: string): Map<number, string> {
  if (named >= MAX_NAMES) {
    names.clear();
    named = 0;
  }
  let own = names.get(model);
  if (!own) {
    own = new Map();
    names.set(model, own);
  }
  return own;
}

/** Names of the growing prefix at boundaries that depend only on the distance from the start, so that prompts of any length meet at them. */
function prefixHashes(row: TraceRow, model: string): readonly string[] {
  const runs = hashRunsOf(row);
  if (runs.length === 0) return NONE;
  const hashes: string[] = [];
  const known = namesOf(model);
  let before = 0;
  let boundary = 1;
  let step = 1;
  for (const [firstId, count] of runs) {
    while (boundary <= before + count) {
      const id = firstId + (boundary - before - 1);
      let name = known.get(id);
      if (name === undefined) {
        name = `${model}/${id}`;
        known.set(id, name);
        named += 1;
      }
      hashes.push(name);
      if (boundary >= 2 * STEPS_PER_DOUBLING * step) step *= 2;
      boundary += step;
    }
    before += count;
  }
  return hashes;
}

/** Hashes of the engine's own blocks: each coarse block of the trace becomes several. */
export function engineBlocks(row: TraceRow): readonly number[] {
  const runs = hashRunsOf(row);
  if (runs.length === 0) return NONE;
  const parts = Math.max(1, Math.round(blockTokensOf(row) / DEFAULT_BLOCK_TOKENS));
  const full = Math.floor(row.input_length / DEFAULT_BLOCK_TOKENS);
  const blocks: number[] = [];
  for (const [firstId, count] of runs) {
    for (let id = firstId; id < firstId + count; id++) {
      for (let part = 0; part < parts; part++) {
        if (blocks.length === full) return blocks;
        blocks.push(id * parts + part);
      }
    }
  }
  return blocks;
}
