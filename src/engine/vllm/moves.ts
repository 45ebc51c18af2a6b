import type { CanaryMemory } from './canary-file.js';
import { type CallFailure, isRefusal, type Reply, type VllmClient } from './client.js';

/** Wall-time limits of moves; a 70B model read from a slow disk takes minutes. */
export interface MoveLimits {
  readonly sleepMs: number;
  readonly wakeMs: number;
  readonly canaryMs: number;
}

export const DEFAULT_MOVE_LIMITS: MoveLimits = { sleepMs: 120_000, wakeMs: 600_000, canaryMs: 30_000 };

const CANARY_TOKENS = 6;

/**
 * Carries one engine's sleeps and wakes out, step by step, and remembers its canary: the greedy answer it gave before its first level-2 sleep, which it must
 * give again after every level-2 wake (without the reload vLLM serves garbage and says nothing; some models do so even with it).
 */
export class EngineMoves {
  private canaryAnswer: string | undefined;
  /** When the engine's process started, as it says itself. */
  private process: number | undefined;

  constructor(
    private readonly client: VllmClient,
    private readonly limits: MoveLimits = DEFAULT_MOVE_LIMITS,
    private readonly memory?: CanaryMemory,
  ) {}

  /** The engine has been found. Another process may have other weights, so what an earlier one answered says nothing of it. One that does not say when it started is taken for the same. */
  found(process: number | undefined): void {
    if (process === undefined || process === this.process) return;
    this.process = process;
    this.canaryAnswer = this.memory?.recall(process);
  }

  async sleep(level: 1 | 2, mode: 'abort' | 'wait' | 'keep', model: string): Promise<Reply<void>> {
    const { client, limits } = this;
    if (level === 2 && this.canaryAnswer === undefined) {
      const canary = await client.canary({ model, maxTokens: CANARY_TOKENS, timeoutMs: limits.canaryMs });
      if (canary.ok) this.remember(canary.value);
      else if (!isRefusal(canary.failure)) return canary;
    }
    const slept = await client.sleep(level, mode, limits.sleepMs);
    if (!slept.ok) {
      // A sleep that is still waiting for requests has stopped the scheduler: set it going again.
      if (slept.failure.kind === 'timeout') await client.wakeUp([], limits.wakeMs);
      return slept;
    }
    const asleep = await client.isSleeping();
    if (!asleep.ok) return asleep;
    return asleep.value ? done : failure('the engine answered /sleep and is awake');
  }

  /** @param folder Where a level-2 wake reads the weights; absent: where the engine read them at its start. */
  async wake(level: 1 | 2, folder?: string): Promise<Reply<void>> {
    const { client, limits } = this;
    const woken = level === 1 ? await client.wakeUp([], limits.wakeMs) : await this.wakeDeep(folder);
    if (!woken.ok) return woken;
    const asleep = await client.isSleeping();
    if (!asleep.ok) return asleep;
    return asleep.value ? failure('the engine answered /wake_up and is still asleep') : done;
  }

  /** Does the engine answer as before? Failing to answer counts as no. */
  async canary(model: string): Promise<Reply<void>> {
    const answer = await this.client.canary({ model, maxTokens: CANARY_TOKENS, timeoutMs: this.limits.canaryMs });
    // A server that does not generate (embeddings) has no canary.
    if (!answer.ok) return isRefusal(answer.failure) ? done : answer;
    const expected = this.canaryAnswer;
    if (expected === undefined) {
      return looksLikeGarbage(answer.value) ? failure(`canary answered ${JSON.stringify(answer.value)}`) : done;
    }
    if (answer.value === expected) return done;
    return failure(`canary answered ${JSON.stringify(answer.value)} in place of ${JSON.stringify(expected)}`);
  }

  private remember(answer: string): void {
    this.canaryAnswer = answer;
    if (this.process !== undefined) this.memory?.keep(this.process, answer);
  }

  /** The order matters: the weights must be mapped to be read into, and KV comes last so that nothing runs on empty weights. */
  private async wakeDeep(folder: string | undefined): Promise<Reply<void>> {
    const { client, limits } = this;
    const weights = await client.wakeUp(['weights'], limits.wakeMs);
    if (!weights.ok) return weights;
    const reloaded = await client.reloadWeights(limits.wakeMs, folder);
    if (!reloaded.ok) return reloaded;
    const cache = await client.wakeUp(['kv_cache'], limits.wakeMs);
    if (!cache.ok) return cache;
    const reset = await client.resetPrefixCache();
    return reset.ok ? done : reset;
  }
}

/** Empty, or one character over and over: what unloaded weights produce. */
function looksLikeGarbage(answer: string): boolean {
  return new Set(answer.trim()).size < 2;
}

const done: Reply<void> = { ok: true, value: undefined };

function failure(message: string): { readonly ok: false; readonly failure: CallFailure } {
  return { ok: false, failure: { kind: 'protocol', message } };
}
