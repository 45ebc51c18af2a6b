import type { FrontEnd } from './front-end.js';
import type { BlockChange } from './kv-blocks.js';
import type { StepShape } from './step-time.js';

/** One engine. Defaults are vLLM's. Seats, token budget and KV pool are of one data-parallel rank. */
export interface BatchEngineConfig extends StepShape {
  /** Which data-parallel rank this is; told with first tokens. Absent where there is one. */
  readonly rank?: number;
  /** Seats: requests that run at once. Default 256; never more than the token budget. */
  readonly maxNumSeqs?: number;
  /** Token budget of a step; longer prompts are computed in chunks. Default 8192, vLLM's choice on GPUs of the H100 class. */
  readonly maxNumBatchedTokens?: number;
  /** Longest prompt and output together. Never more than the pool holds, as vLLM's automatic fit has it. */
  readonly maxModelLen: number;
  /** Tokens of a KV block. Default 16. */
  readonly blockSize?: number;
  /** KV pool: blocks that requests can use (vLLM reports one more, which it never hands out). */
  readonly numGpuBlocks: number;
  /** Default true. */
  readonly prefixCaching?: boolean;
  /** Default `fcfs`. */
  readonly schedulingPolicy?: 'fcfs' | 'priority';
  /** A prompt is admitted only when all of it fits (vLLM's `scheduler_reserve_full_isl`). Default true. */
  readonly reserveFullPrompt?: boolean;
  /** What a request passes before the scheduler sees it. Default `VLLM_FRONT_END`. */
  readonly frontEnd?: FrontEnd;
  /** Hears what changes in the prefix cache, as vLLM tells it in KV events. */
  readonly onBlockChange?: (change: BlockChange) => void;
}

export interface EngineRequest {
  /** Unique among the requests that the engine holds. */
  readonly id: string;
  readonly promptTokens: number;
  /** The length that it will truly generate (at least 1); cut where prompt and output would exceed the model's length. */
  readonly outputTokens: number;
  /** Lower goes first; used under the policy `priority`. */
  readonly priority: number;
  /** Breaks ties of priority; ties of both go by order of adding. */
  readonly arrivalMs: number;
  /**
   * Hash chain of the full blocks of the prompt: equal hashes mean equal content up to there. Further hashes name the full blocks of
   * the output, which are cached when the request ends. Absent: it shares nothing.
   */
  readonly blockHashes?: readonly (string | number)[];
  /** Requests share blocks only under the same salt. */
  readonly salt?: string;
  /** The data-parallel rank that runs it, where there are several. Absent: chosen as vLLM does, without a look at prefix caches. */
  readonly rank?: number | undefined;
}

export type EngineEvent =
  /** It has passed the front end: the scheduler has it. Without a front end `add` says as much, and there is no such event. */
  | { readonly kind: 'queued'; readonly id: string; readonly atMs: number }
  | {
      readonly kind: 'first-token';
      readonly id: string;
      readonly atMs: number;
      /** Prompt tokens that the prefix cache had. */
      readonly cachedTokens: number;
      /** From the scheduler's queue to the first admission. */
      readonly queueMs: number;
      /** The data-parallel rank that computes it, where there are several. */
      readonly rank?: number;
    }
  | {
      readonly kind: 'finished';
      readonly id: string;
      readonly atMs: number;
      readonly outputTokens: number;
      readonly cachedTokens: number;
      readonly preemptions: number;
    }
  /** It lost its KV and waits again; its tokens stay, what they need is computed anew. */
  | { readonly kind: 'preempted'; readonly id: string; readonly atMs: number }
  /** Ended by the engine itself: a pause or sleep in mode `abort`. */
  | { readonly kind: 'aborted'; readonly id: string; readonly atMs: number; readonly outputTokens: number };

/** Counters and gauges as of the last advance. Counters only grow. */
export interface EngineStats {
  readonly running: number;
  readonly waiting: number;
  /** Blocks that requests hold; shared ones count once, cached ones that nobody holds do not count. */
  readonly usedBlocks: number;
  readonly totalBlocks: number;
  /** Share of the pool in use, 0 to 1. */
  readonly kvUsage: number;
  readonly preemptions: number;
  /** Prompt tokens of requests whose first token has come, and those of them that were cached. */
  readonly promptTokens: number;
  readonly cachedPromptTokens: number;
  readonly generatedTokens: number;
  readonly finished: number;
  /** Ended by `abort()` or by a pause or sleep in mode `abort`. */
  readonly aborted: number;
  /** Tokens looked up in the prefix cache at first admission, and found. */
  readonly prefixQueriesTokens: number;
  readonly prefixHitsTokens: number;
  /** Steps computed to the end. */
  readonly steps: number;
}

/** What of a set of ranks together: sums, and the share of the fullest pool, because a request lives in one rank. */
export function sumStats(ranks: readonly EngineStats[]): EngineStats {
  const sum = (of: (stats: EngineStats) => number) => ranks.reduce((total, stats) => total + of(stats), 0);
  return {
    running: sum(({ running }) => running),
    waiting: sum(({ waiting }) => waiting),
    usedBlocks: sum(({ usedBlocks }) => usedBlocks),
    totalBlocks: sum(({ totalBlocks }) => totalBlocks),
    kvUsage: Math.max(...ranks.map(({ kvUsage }) => kvUsage)),
    preemptions: sum(({ preemptions }) => preemptions),
    promptTokens: sum(({ promptTokens }) => promptTokens),
    cachedPromptTokens: sum(({ cachedPromptTokens }) => cachedPromptTokens),
    generatedTokens: sum(({ generatedTokens }) => generatedTokens),
    finished: sum(({ finished }) => finished),
    aborted: sum(({ aborted }) => aborted),
    prefixQueriesTokens: sum(({ prefixQueriesTokens }) => prefixQueriesTokens),
    prefixHitsTokens: sum(({ prefixHitsTokens }) => prefixHitsTokens),
    steps: sum(({ steps }) => steps),
  };
}

/**
 * An engine as a model, seen from outside: pure and synchronous. Time only moves forward and only in {@link advance} (other calls that carry a time
 * bring the engine there first, and what happens on the way comes out of the next `advance`).
 */
export interface Engine {
  /** `all`: frozen. `new`: what runs goes on, nothing is admitted. */
  readonly paused: 'no' | 'new' | 'all';
  /** Longest prompt and output together. A prompt must leave room for one token. */
  readonly maxModelLen: number;
  /** Adds a request. Refusing one that cannot fit is the caller's business: a prompt of `maxModelLen` tokens or more throws. */
  add(request: EngineRequest, nowMs: number): void;
  /** Removes a request without an event; false when it is not (or no longer) here. */
  abort(id: string, nowMs: number): boolean;
  /** Brings the engine to `nowMs`; what happened comes out in `events`, in order of time. */
  advance(nowMs: number, events: EngineEvent[]): void;
  /** When the next event can happen if nothing else comes; Infinity when idle, paused or stalled. Never later than the event. */
  nextEventMs(): number;
  /** When the step under way ends and its tokens are out; Infinity when nothing runs. For those who stream token by token. */
  nextStepMs(): number;
  /** Output tokens of a request as of the last advance; 0 before the first and for unknown ids. */
  generatedTokens(id: string): number;
  /**
   * Stops admission. `abort` ends every request, `wait` lets the running ones finish (idle when `running` is 0), `keep` freezes them.
   * With `clearCache` the prefix cache is reset too, which preempts what is frozen; under `wait` it happens when nothing runs any more.
   */
  pause(mode: 'abort' | 'wait' | 'keep', clearCache: boolean, nowMs: number, events: EngineEvent[]): void;
  /** Lifts every pause; frozen requests go on. */
  resume(nowMs: number): void;
  /**
   * Sleep of level 1 or more: the KV is gone. The caller has paused the engine and resumes it after the wake; what still runs is
   * preempted and will be computed again.
   */
  sleepKv(nowMs: number, events: EngineEvent[]): void;
  /** Elastic KV: sequences of a rank may hold at most `blocks`. A shrink below use waits for releases (and starves who needs more meanwhile). */
  setKvLimitBlocks(blocks: number): void;
  /** Empties the prefix cache. False while blocks are held, unless `resetRunning` preempts those who hold them. */
  resetPrefixCache(resetRunning: boolean): boolean;
  /** Of all ranks together. */
  stats(): EngineStats;
  /** Of each data-parallel rank; those that never reached one because they were aborted before are in {@link stats} alone. */
  rankStats(): readonly EngineStats[];
}
