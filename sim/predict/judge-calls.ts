import type { Prediction, StageOutcome } from '../../src/model/stage.js';
import { type CallExample, type CallHistory, taughtTokens, taughtToolCall } from '../../src/predict/examples.js';
import type { OnlinePredictor } from '../../src/predict/predictor.js';
import { LOOKUPS, type LookupName, type StaticMedians } from '../../src/predict/training/medians.js';

/** A call with what was predicted when it began, and what came of it. */
export interface JudgedCall {
  readonly call: CallExample;
  readonly prediction: Prediction;
  /** The bound of the output alone. */
  readonly boundTokens: number;
  /** Undefined where the length is not known. */
  readonly outputTokens: number | undefined;
  /** Undefined where the call had no choice. */
  readonly toolCalled: boolean | undefined;
  readonly lookups: Readonly<Record<LookupName, number>>;
  /** Exponentially weighted mean of the role so far. */
  readonly ewmaTokens: number;
}

/** What was said to come after a call that had ended, by rank, and what came. Undefined roles: the workflow ended. */
export interface JudgedStep {
  readonly template: string;
  readonly ranked: readonly (string | undefined)[];
  readonly next: string | undefined;
}

export interface JudgedHistory {
  readonly calls: readonly JudgedCall[];
  readonly steps: readonly JudgedStep[];
  /** When each workflow ended, in milliseconds after its arrival. */
  readonly workflowEndMs: ReadonlyMap<string, number>;
}

const EWMA_WEIGHT = 0.1;

/** Runs through a history as it happened: a call is predicted when it begins, and teaches when it has ended. */
export function judgeCalls(history: CallHistory, predictor: OnlinePredictor, medians: StaticMedians): JudgedHistory {
  const { calls, events } = history;
  const judged: JudgedCall[] = [];
  const steps: JudgedStep[] = [];
  const workflowEndMs = new Map<string, number>();
  const ewma = new RoleMeans(medians.global);
  const followers = new Followers(predictor, steps);
  for (const event of events) {
    if (event.kind === 'workflowEnded') {
      predictor.workflowEnded(event.workflowId);
      followers.settle(event.workflowId, undefined);
      continue;
    }
    const call = calls[event.call]!;
    const { stage, context, outcome } = call;
    const tokens = taughtTokens(outcome);
    if (event.kind === 'end') {
      predictor.observe(stage, context, outcome);
      if (tokens !== undefined) ewma.observe(call, tokens);
      followers.end(call, outcome);
      const endMs = stage.arrivalMs + outcome.durationMs;
      workflowEndMs.set(stage.workflowId, Math.max(endMs, workflowEndMs.get(stage.workflowId) ?? 0));
      continue;
    }
    followers.settle(stage.workflowId, call);
    const prediction = predictor.predict(stage, context);
    judged.push({
      ...{ call, prediction, outputTokens: tokens, toolCalled: taughtToolCall(stage, outcome) },
      boundTokens: prediction.kvTokens.bound - stage.promptTokens,
      lookups: mapLookups((name) => LOOKUPS[name](medians, call)),
      ewmaTokens: ewma.of(call),
    });
  }
  return { calls: judged, steps, workflowEndMs };
}

export function mapLookups<T>(value: (name: LookupName) => T): Record<LookupName, T> {
  const names = Object.keys(LOOKUPS) as LookupName[];
  return Object.fromEntries(names.map((name) => [name, value(name)])) as Record<LookupName, T>;
}

/** Running means of the lengths by (template, role). */
class RoleMeans {
  private readonly means = new Map<string, number>();

  constructor(private readonly unknown: number) {}

  of({ stage }: CallExample): number {
    return this.means.get(`${stage.template} ${stage.role}`) ?? this.unknown;
  }

  observe({ stage }: CallExample, tokens: number): void {
    const key = `${stage.template} ${stage.role}`;
    const mean = this.means.get(key);
    this.means.set(key, mean === undefined ? tokens : mean + EWMA_WEIGHT * (tokens - mean));
  }
}

/** What was said to follow the ended calls of each workflow, until it is known. */
class Followers {
  private readonly open = new Map<string, { template: string; ranked: (string | undefined)[] }[]>();

  constructor(
    private readonly predictor: OnlinePredictor,
    private readonly steps: JudgedStep[],
  ) {}

  end({ stage, context }: CallExample, { toolCalled }: StageOutcome): void {
    const ranked = this.predictor.nextAfter(stage, context, toolCalled).map(({ role }) => role);
    const list = this.open.get(stage.workflowId);
    const step = { template: stage.template, ranked };
    if (list) list.push(step);
    else this.open.set(stage.workflowId, [step]);
  }

  /** A call begins, or (`next` undefined) the workflow has ended. */
  settle(workflowId: string, next: CallExample | undefined): void {
    for (const step of this.open.get(workflowId) ?? []) this.steps.push({ ...step, next: next?.stage.role });
    this.open.delete(workflowId);
  }
}
