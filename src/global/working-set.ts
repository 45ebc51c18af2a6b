import { ChurnMap } from '../model/churn-map.js';
import type { NodeSpec } from '../model/fleet.js';
import { type HeapEntry, StableHeap } from '../model/heap.js';
import type { Stage } from '../model/stage.js';

/** How long a workflow without a running stage is expected back: at least this, twice its longest pause so far, at most that. */
const MIN_PAUSE_MS = 8_000;
const MAX_PAUSE_MS = 60_000;

interface Context {
  readonly key: string;
  readonly model: string;
  tokens: number;
  runningStages: number;
  lastEndMs: number | undefined;
  longestPauseMs: number;
  /** Among workflows that pause, by the moment at which they are no longer expected back. */
  leaving: HeapEntry<Context> | undefined;
}

/**
 * Contexts that workflows under way keep in the KV memory of each model: those with a running stage, and those that pause and are expected back. A workflow counts with its largest context.
 * When all of them together outgrow the memory, they push each other's prefixes out, and every return means computing a whole prompt again.
 */
export class WorkingSet {
  private readonly contexts = new ChurnMap<Context>();
  private readonly leaving = new StableHeap<Context>();
  private readonly tokens = new Map<string, number>();

  /** @param poolTokens KV memory of all engines of a model, in tokens. Models that are missing have room for everything. */
  constructor(private readonly poolTokens: ReadonlyMap<string, number>) {}

  started(stage: Stage, expectedOutputTokens: number, nowMs: number): void {
    if (!this.poolTokens.has(stage.model)) return;
    const key = `${stage.model}\n${stage.workflowId}`;
    const tokens = stage.promptTokens + expectedOutputTokens;
    let context = this.contexts.get(key);
    if (!context) {
      context = {
        key,
        model: stage.model,
        tokens: 0,
        runningStages: 0,
        lastEndMs: undefined,
        longestPauseMs: 0,
        leaving: undefined,
      };
      this.contexts.set(key, context);
    }
    if (context.leaving) this.leaving.remove(context.leaving);
    context.leaving = undefined;
    if (context.runningStages === 0 && context.lastEndMs !== undefined) {
      context.longestPauseMs = Math.max(context.longestPauseMs, nowMs - context.lastEndMs);
    }
    context.runningStages += 1;
    if (tokens <= context.tokens) return;
    this.add(context.model, tokens - context.tokens);
    context.tokens = tokens;
  }

  /** The stage no longer runs; with `last`, its workflow is over. */
  ended(stage: Stage, last: boolean, nowMs: number): void {
    const context = this.contexts.get(`${stage.model}\n${stage.workflowId}`);
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
    const tokens = this.tokens.get(stage.model) ?? 0;
    const poolTokens = this.poolTokens.get(stage.model) ?? Number.POSITIVE_INFINITY;
    return tokens === 0 || tokens + stage.promptTokens <= share * poolTokens;
  }

  /** When {@link expire} next has something to do; Infinity when never. */
  nextLeaveMs(): number {
    return this.leaving.peek()?.key ?? Number.POSITIVE_INFINITY;
  }

  private forget(context: Context): void {
    this.contexts.delete(context.key);
    this.add(context.model, -context.tokens);
  }

  private add(model: string, tokens: number): void {
    this.tokens.set(model, (this.tokens.get(model) ?? 0) + tokens);
  }
}

/** KV memory of all engines of each model, in tokens; without models of which some engine's is not known. */
export function kvPoolTokensOf(nodes: readonly NodeSpec[]): Map<string, number> {
  const pools = new Map<string, number>();
  for (const { engines } of nodes) {
    for (const { model, kvPoolTokens } of engines) pools.set(model, (pools.get(model) ?? 0) + kvPoolTokens);
  }
  return new Map([...pools].filter(([, tokens]) => Number.isFinite(tokens)));
}
