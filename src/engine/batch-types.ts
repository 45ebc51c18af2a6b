import type { FrontEnd } from './front-end.js';
import type { BlockChange } from './kv-blocks.js';
import type { StepShape } from './step-time.js';

/** One engine. Defaults are vLLM's. */
export interface BatchEngineConfig extends StepShape {
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
