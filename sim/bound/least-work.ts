import { DEFAULT_BLOCK_TOKENS } from '../../src/model/memory.js';
import type { TraceRow } from '../../traces/schema.js';
import { blockTokensOf, hashRunsOf, isRoot, type TraceWorkflow, waitMs } from '../../traces/workflow.js';
import { limitOf } from '../world/stages.js';
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
  /**
   * Prompt tokens that only this workflow uses and that a call before this one had too, where its calls follow each other: somebody holds them in memory from that call to this
   * one, which is at least `gapMs` later, or they are computed again.
   */
  readonly reusedTokens: number;
  readonly gapMs: number;
}

/** A block of a model's prompts: in one row, in several rows of one workflow, or in several workflows. */
type Use = { readonly workflow: number; row: number | 'several' } | 'shared';

/** The least work of every call of every workflow, in the order of their rows. */
export function leastWorkOf(workflows: readonly TraceWorkflow[]): LeastWork[][] {
  const uses = usesOf(workflows);
  return workflows.map(({ rows }) => {
    const chain = chainOf(rows);
    const seen = new Map(rows.map((row) => [row, lookUp(row, uses.get(modelOf(row))!)]));
    // Blocks that some row of the workflow computes because it finds them nowhere; whoever reuses them pays nothing.
    const paid = new Set(
      [...seen.values()].flatMap((blocks) => blocks.flatMap((each) => (each.cached ? [] : each.key))),
    );
    const before = new Set<string>();
    const works = new Map<TraceRow, LeastWork>();
    for (const row of chain ?? rows) {
      const promptTokens = Math.max(1, row.input_length);
      let [cached, common, firstTokens, reusedTokens] = [0, 0, 0, 0];
      for (const { key, tokens, use, cached: found } of seen.get(row)!) {
        const known = before.has(key);
        before.add(key);
        if (use === 'shared' || (use.row === 'several' && !chain)) common += tokens;
        if (!found) continue;
        cached += tokens;
        if (use === 'shared') continue;
        if (!known && !paid.has(key)) firstTokens += tokens;
        if (known && chain) reusedTokens += tokens;
      }
      works.set(row, {
        ...{ model: modelOf(row), promptTokens, firstTokens, reusedTokens, gapMs: waitMs(row) },
        outputTokens: Math.max(1, Math.min(row.output_length, limitOf(row))),
        // An engine always computes the last token.
        uncachedTokens: Math.max(1, promptTokens - cached),
        ownTokens: promptTokens - common,
      });
    }
    return rows.map((row) => works.get(row)!);
  });
}

/** The blocks of a row, and whether a cache could have them: those that begin the prompt and that another row has too. */
function lookUp(row: TraceRow, uses: ReadonlyMap<number, Use>) {
  let leading = true;
  return blocksOf(row).map(({ id, tokens }) => {
    const use = uses.get(id)!;
    leading &&= use === 'shared' || use.row === 'several';
    return { key: `${modelOf(row)} ${id}`, tokens, use, cached: leading };
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

/** What computing the reused tokens again would take, milliseconds. */
export function againMs(
  { promptTokens, uncachedTokens, reusedTokens }: LeastWork,
  { promptTokenMs, pairMs }: StepFloor,
): number {
  const cachedTokens = promptTokens - uncachedTokens;
  const pairs = reusedTokens * Math.max(0, 2 * cachedTokens - reusedTokens);
  return promptTokenMs * reusedTokens + pairMs * pairs;
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

/** The calls in their order where each waits for the one before and for no other; undefined where some may run side by side. */
function chainOf(rows: readonly TraceRow[]): TraceRow[] | undefined {
  const followers = new Map<string, TraceRow>();
  const roots = rows.filter(isRoot);
  for (const row of rows) {
    if (isRoot(row)) continue;
    const [before] = row.wait_for!;
    if (row.wait_for!.length !== 1 || followers.has(before!)) return undefined;
    followers.set(before!, row);
  }
  if (roots.length !== 1) return undefined;
  const chain: TraceRow[] = [];
  for (let row: TraceRow | undefined = roots[0]; row; row = followers.get(row.request_id)) chain.push(row);
  return chain;
}

function modelOf(row: TraceRow): string {
  return row.model ?? 'default';
}
