import type { EngineSpec, KeptContext } from '../../model/fleet.js';
import { LruMap } from '../../model/lru-map.js';
import { type Stage, type StageOutcome, sessionOf } from '../../model/stage.js';
import { prefixBoundary, sharedBoundaries } from '../prefix-overlap.js';
import { ReturnHistory } from './return-times.js';
import { RETENTION_RULES, type RetentionRule, type RetentionRuleName } from './rules.js';

/** Milliseconds of a call alone on an idle engine; undefined where the model is unknown. */
type ServiceTime = (
  model: string,
  promptTokens: number,
  cachedTokens: number,
  outputTokens: number,
) => number | undefined;

export interface RetentionConfig {
  readonly rule: RetentionRule;
  /** KV memory of one engine of a model, tokens; nothing is kept where it is not known. */
  readonly enginePoolTokens: ReadonlyMap<string, number>;
  /** Milliseconds that an idle engine of the model takes to compute a context of so many tokens. */
  readonly recomputeMs: (model: string, tokens: number) => number;
}

/** The queue of the stage's model. */
export interface QueueNow {
  /** What a stage that comes now is expected to wait. */
  readonly waitMs: number;
  /** Whoever waits there goes before the next stage of the workflow, whose context would only be in the way. */
  readonly outranks: boolean;
}

/** A pause of an agent between two calls. */
interface Pause {
  readonly kind: string;
  readonly stage: Pick<Stage, 'prefixHashes' | 'promptTokens'>;
  readonly sinceMs: number;
  readonly clusterId: string;
  readonly untilMs: number;
}

/** An 8B-class model on a current data-centre GPU. */
const UNKNOWN_PREFILL_MS_PER_TOKEN = 0.05;
/** A stage that comes back at the last moment still has to find a seat. */
const GRACE_MS = 1_000;
const MAX_PAUSES = 20_000;

/** Decides, when a stage ends, whether its context is kept for the workflow's return, and knows where a stage that comes finds it kept. */
export class Retention {
  private readonly pauses = new LruMap<string, Pause>(MAX_PAUSES);
  private readonly history = new ReturnHistory();

  constructor(private readonly config: RetentionConfig) {}

  /** A stage of the workflow has come. */
  began(stage: Stage, nowMs: number): void {
    if (this.pauses.size === 0) return;
    const pause = this.pauses.peek(sessionOf(stage));
    if (pause) this.history.returned(pause.kind, nowMs - pause.sinceMs, reusedShare(pause.stage, stage));
  }

  /** The cluster that keeps the context of this stage's workflow now. */
  clusterOf(stage: Stage, nowMs: number): string | undefined {
    if (this.pauses.size === 0) return undefined;
    const pause = this.pauses.peek(sessionOf(stage));
    return pause && nowMs < pause.untilMs ? pause.clusterId : undefined;
  }

  /** A stage of the workflow has left for an engine: what was kept for it is in use. */
  started(stage: Stage): void {
    if (this.pauses.size > 0) this.pauses.delete(sessionOf(stage));
  }

  /** A stage has ended after running in the cluster. */
  ended(
    stage: Stage,
    outcome: StageOutcome,
    clusterId: string,
    queue: QueueNow,
    nowMs: number,
  ): KeptContext | undefined {
    if (outcome.kind !== 'completed' || stage.finalStage === true) return undefined;
    const { rule, enginePoolTokens, recomputeMs } = this.config;
    // Of memory that nobody knows the size of nothing is ever kept, and nothing need be learned for it.
    const poolTokens = enginePoolTokens.get(stage.model);
    if (poolTokens === undefined) return undefined;
    const kind = this.history.ended(stage, outcome.toolCalled);
    const session = sessionOf(stage);
    const returns = this.history.times(kind);
    const { prefixHashes, promptTokens } = stage;
    const contextTokens = Math.round((returns?.reusedShare ?? 1) * (promptTokens + (outcome.outputTokens ?? 0)));
    const keepMs =
      queue.outranks || poolTokens < contextTokens
        ? 0
        : rule.keepMs({
            returns,
            contextTokens,
            poolTokens,
            queueWaitMs: queue.waitMs,
            recomputeMs: recomputeMs(stage.model, contextTokens),
          });
    const untilMs = keepMs > 0 ? nowMs + keepMs + GRACE_MS : nowMs;
    this.pauses.set(session, {
      kind,
      stage: { prefixHashes, promptTokens },
      sinceMs: nowMs,
      clusterId,
      untilMs,
    });
    return keepMs > 0 ? { session, tokens: contextTokens, untilMs } : undefined;
  }
}

/**
 * Share of the first prompt's tokens that the second begins with. Hashes name growing prefixes, so that one in common means all before it, and lie further apart the longer the prompt; without
 * them a longer prompt is taken for a continued one.
 */
function reusedShare(before: Pick<Stage, 'prefixHashes' | 'promptTokens'>, now: Stage): number {
  const { prefixHashes: known } = before;
  if (known.length === 0) return now.promptTokens >= before.promptTokens ? 1 : 0;
  return prefixBoundary(sharedBoundaries(known, now.prefixHashes)) / prefixBoundary(known.length);
}

/** What a rule by name works with on engines with such KV memory, by model; nothing for `none`. */
export function createRetention(
  name: RetentionRuleName,
  enginePoolTokens: ReadonlyMap<string, number>,
  serviceTimeMs: ServiceTime | undefined,
): Retention | undefined {
  if (name === 'none') return undefined;
  return new Retention({ rule: RETENTION_RULES[name], enginePoolTokens, recomputeMs: recomputeTime(serviceTimeMs) });
}

/**
 * KV memory of one engine of each model, the smallest where they differ, in tokens; without models of which none is known. Engines whose pools are lent to each other are left out: their nodes
 * keep nothing, for prefix caches are the first that they take back.
 */
export function enginePoolTokensOf(engines: readonly EngineSpec[]): Map<string, number> {
  const pools = new Map<string, number>();
  for (const { model, kvPoolTokens, kvLeastBytes } of engines) {
    if (Number.isFinite(kvPoolTokens) && kvLeastBytes === undefined)
      pools.set(model, Math.min(pools.get(model) ?? Infinity, kvPoolTokens));
  }
  return pools;
}

/** Computing a context anew by the service times of calls: what one token of answer takes with nothing cached, more than with hardly a prompt. A guess where the model is unknown. */
function recomputeTime(serviceTimeMs: ServiceTime | undefined): RetentionConfig['recomputeMs'] {
  return (model, tokens) => {
    const wholeMs = serviceTimeMs?.(model, tokens, 0, 1);
    const stepMs = serviceTimeMs?.(model, 1, 0, 1);
    return wholeMs === undefined || stepMs === undefined ? tokens * UNKNOWN_PREFILL_MS_PER_TOKEN : wholeMs - stepMs;
  };
}
