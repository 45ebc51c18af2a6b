import { ChurnMap } from '../model/churn-map.js';
import type { EngineSpec } from '../model/fleet.js';
import { type HeapEntry, StableHeap } from '../model/heap.js';
import type { Stage } from '../model/stage.js';

/** How long a workflow without a running stage is expected back: at least this, twice its longest pause so far, at most that. */
const MIN_PAUSE_MS = 8_000;
const MAX_PAUSE_MS = 60_000;

interface Context {
  readonly workflowId: string;
  readonly pool: Pool;
  tokens: number;
  runningStages: number;
  lastEndMs: number | undefined;
  longestPauseMs: number;
  /** Among workflows that pause, by the moment at which they are no longer expected back. */
  leaving: HeapEntry<Context> | undefined;
}

/** One model. */
interface Pool {
  /** KV memory of all its engines. */
  readonly poolTokens: number;
  /** What the contexts hold together. */
  tokens: number;
  readonly contexts: ChurnMap<Context>;
}

/**
 * Contexts that workflows under way keep in the KV memory of each model: those with a running stage, and those that pause and are expected back. A workflow counts with its largest context.
 * When all of them together outgrow the memory, they push each other's prefixes out, and every return means computing a whole prompt again.
 */
export class WorkingSet {
  private readonly pools: ReadonlyMap<string, Pool>;
  private readonly leaving = new StableHeap<Context>();

  /** @param poolTokens KV memory of all engines of a model, in tokens. Models that are missing have room for everything. */
  constructor(poolTokens: ReadonlyMap<string, number>) {
    const poolOf = (tokens: number): Pool => ({ poolTokens: tokens, tokens: 0, contexts: new ChurnMap() });
    this.pools = new Map([...poolTokens].map(([model, tokens]) => [model, poolOf(tokens)]));
  }

  started(stage: Stage, expectedOutputTokens: number, nowMs: number): void {
    const pool = this.pools.get(stage.model);
    if (!pool) return;
    const { workflowId } = stage;
    const tokens = stage.promptTokens + expectedOutputTokens;
    let context = pool.contexts.get(workflowId);
    if (!context) {
      context = {
        workflowId,
        pool,
        tokens: 0,
        runningStages: 0,
        lastEndMs: undefined,
        longestPauseMs: 0,
        leaving: undefined,
      };
      pool.contexts.set(workflowId, context);
    }
    if (context.leaving) this.leaving.remove(context.leaving);
    context.leaving = undefined;
    if (context.runningStages === 0 && context.lastEndMs !== undefined) {
      context.longestPauseMs = Math.max(context.longestPauseMs, nowMs - context.lastEndMs);
    }
    context.runningStages += 1;
    if (tokens <= context.tokens) return;
    pool.tokens += tokens - context.tokens;
    context.tokens = tokens;
  }

  /** The stage no longer runs; with `last`, its workflow is over. */
  ended(stage: Stage, last: boolean, nowMs: number): void {
    const context = this.pools.get(stage.model)?.contexts.get(stage.workflowId);
    if (!context) return;
    context.runningStages -= 1;
    context.lastEndMs = nowMs;
    if (context.runningStages > 0) return;
    if (last) this.forget(context);
    else {
      const pauseMs = Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, 2 * context.longestPauseMs));
      context.leaving = this.leaving.push(context, nowMs + pauseMs);
    }
  }

  /** Forgets the workflows that are no longer expected back. */
  expire(nowMs: number): void {
    for (let first = this.leaving.peek(); first && first.key <= nowMs; first = this.leaving.peek()) {
      this.leaving.remove(first);
      this.forget(first.value);
    }
  }

  /** May a workflow with this first prompt begin, if the contexts are to fill at most `share` of the memory? Always when none is there. */
  admits(stage: Stage, share: number): boolean {
    const pool = this.pools.get(stage.model);
    return !pool || pool.tokens === 0 || pool.tokens + stage.promptTokens <= share * pool.poolTokens;
  }

  /** When {@link expire} next has something to do; Infinity when never. */
  nextLeaveMs(): number {
    return this.leaving.peek()?.key ?? Number.POSITIVE_INFINITY;
  }

  private forget({ workflowId, pool, tokens }: Context): void {
    pool.contexts.delete(workflowId);
    pool.tokens -= tokens;
  }
}

/** KV memory of all engines of each model, in tokens; without models of which some engine's is not known. */
export function kvPoolTokensOf(engines: readonly EngineSpec[]): Map<string, number> {
  const pools = new Map<string, number>();
  for (const { model, kvPoolTokens } of engines) pools.set(model, (pools.get(model) ?? 0) + kvPoolTokens);
  return new Map([...pools].filter(([, tokens]) => Number.isFinite(tokens)));
}
