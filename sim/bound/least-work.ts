import { DEFAULT_BLOCK_TOKENS } from '../../src/model/memory.js';
import type { TraceRow } from '../../traces/schema.js';
import { blockTokensOf, hashRunsOf, isRoot, type TraceWorkflow } from '../../traces/workflow.js';
import { DEFAULT_MAX_TOKENS } from '../world/stages.js';
import type { StepFloor } from './step-floor.js';

/** The least that a call asks of an engine, whatever is in its prefix cache. */
export interface LeastWork {
  readonly model: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  /** Prompt tokens that no cache can have; the last ones. */
  readonly uncachedTokens: number;
  /** Prompt tokens whose KV it shares with no call that can run at the same time. */
  readonly ownTokens: number;
  /** Tokens that this workflow must compute once for all of its calls, charged to one of them. */
  readonly firstTokens: number;
}

/** A block of a model's prompts: in one row, in several rows of one workflow, or in several workflows. */
type Use = { readonly workflow: number; row: number | 'several' } | 'shared';

/** The least work of every call of every workflow, in the order of their rows. */
export function leastWorkOf(workflows: readonly TraceWorkflow[]): LeastWork[][] {
  const uses = usesOf(workflows);
  return workflows.map((workflow) => {
    const chain = isChain(workflow.rows);
    // Blocks that some row of the workflow computes because it finds them nowhere; whoever reuses them pays nothing.
    const paid = new Set<string>();
    const rows = workflow.rows.map((row) => {
      const blocks = blocksOf(row);
      let leading = true;
      const seen = blocks.map(({ id, tokens }) => {
        const use = uses.get(modelOf(row))!.get(id)!;
        const foundElsewhere = use === 'shared' || use.row === 'several';
        leading &&= foundElsewhere;
        const key = `${modelOf(row)} ${id}`;
        if (!leading) paid.add(key);
        return { key, tokens, use, cached: leading };
      });
      return { row, seen };
    });
    const charged = new Set<string>();
    return rows.map(({ row, seen }): LeastWork => {
      const promptTokens = Math.max(1, row.input_length);
      let cached = 0;
      let common = 0;
      let firstTokens = 0;
      for (const { key, tokens, use, cached: found } of seen) {
        if (use === 'shared' || (use.row === 'several' && !chain)) common += tokens;
        if (!found) continue;
        cached += tokens;
        if (use === 'shared' || paid.has(key) || charged.has(key)) continue;
        charged.add(key);
        firstTokens += tokens;
      }
      return {
        model: modelOf(row),
        promptTokens,
        outputTokens: Math.max(1, Math.min(row.output_length, row.max_tokens ?? DEFAULT_MAX_TOKENS)),
        // An engine always computes the last token.
        uncachedTokens: Math.max(1, promptTokens - cached),
        ownTokens: promptTokens - common,
        firstTokens,
      };
    });
  });
}

/** What a call takes of an engine's time at least, milliseconds. */
export function leastMs(
  { promptTokens, outputTokens, uncachedTokens, ownTokens, firstTokens }: LeastWork,
  { decodeMs, promptTokenMs, pairMs, contextTokenMs, heldTokenMs }: StepFloor,
): number {
  const steps = outputTokens - 1;
  const grown = (steps * (steps - 1)) / 2;
  return (
    promptTokenMs * (uncachedTokens + firstTokens) +
    pairMs * uncachedTokens * (2 * promptTokens - uncachedTokens) +
    decodeMs * steps +
    contextTokenMs * (steps * promptTokens + grown) +
    heldTokenMs * (steps * ownTokens + grown)
  );
}

function usesOf(workflows: readonly TraceWorkflow[]): Map<string, Map<number, Use>> {
  const byModel = new Map<string, Map<number, Use>>();
  let rowNumber = 0;
  for (const [workflow, { rows }] of workflows.entries()) {
    for (const row of rows) {
      rowNumber += 1;
      const uses = byModel.get(modelOf(row)) ?? new Map<number, Use>();
      byModel.set(modelOf(row), uses);
      for (const { id } of blocksOf(row)) {
        const use = uses.get(id);
        if (use === undefined) uses.set(id, { workflow, row: rowNumber });
        else if (use === 'shared') continue;
        else if (use.workflow !== workflow) uses.set(id, 'shared');
        else if (use.row !== rowNumber) use.row = 'several';
      }
    }
  }
  return byModel;
}

/** The prefix blocks of a row with the tokens of each that an engine can cache: those in full blocks of its own. */
function blocksOf(row: TraceRow): { readonly id: number; readonly tokens: number }[] {
  const size = Math.max(1, Math.round(blockTokensOf(row) / DEFAULT_BLOCK_TOKENS)) * DEFAULT_BLOCK_TOKENS;
  let left = Math.floor(row.input_length / DEFAULT_BLOCK_TOKENS) * DEFAULT_BLOCK_TOKENS;
  const blocks: { id: number; tokens: number }[] = [];
  for (const [first, count] of hashRunsOf(row)) {
    for (let id = first; id < first + count && left > 0; id++) {
      blocks.push({ id, tokens: Math.min(size, left) });
      left -= size;
    }
  }
  return blocks;
}

/** Does every call but the first wait for one other, and is none waited for by two? Then no two run at the same time. */
function isChain(rows: readonly TraceRow[]): boolean {
  const waitedFor = new Set<string>();
  let roots = 0;
  for (const row of rows) {
    if (isRoot(row)) roots += 1;
    else if (row.wait_for!.length !== 1 || waitedFor.has(row.wait_for![0]!)) return false;
    else waitedFor.add(row.wait_for![0]!);
  }
  return roots === 1;
}

function modelOf(row: TraceRow): string {
  return row.model ?? 'default';
}
