import type { Prediction, StageOutcome } from '../../src/model/stage.js';
import { type CallExample, type CallHistory, taughtTokens, taughtToolCall } from '../../src/predict/examples.js';
import type { OnlinePredictor } from '../../src/predict/predictor.js';
import { RoleTransitions } from '../../src/predict/role-transitions.js';
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
const MAX_CELLS = 65_536;

/** Runs through a history as it happened: a call is predicted when it begins, and teaches when it has ended. */
export function judgeCalls(history: CallHistory, predictor: OnlinePredictor, medians: StaticMedians): JudgedHistory {
  const { calls, events } = history;
  const judged: JudgedCall[] = [];
  const steps: JudgedStep[] = [];
  const workflowEndMs = new Map<string, number>();
  const ewma = new RoleMeans(medians.global);
  const follow = new Followers(steps);
  for (const event of events) {
    if (event.kind === 'workflowEnded') {
      predictor.workflowEnded(event.workflowId);
      follow.ended(event.workflowId);
      continue;
    }
    const call = calls[event.call]!;
    const { stage, context, outcome } = call;
    const tokens = taughtTokens(outcome);
    if (event.kind === 'end') {
      predictor.observe(stage, context, outcome);
      if (tokens !== undefined) ewma.observe(call, tokens);
      follow.end(call, outcome);
      const endMs = stage.arrivalMs + outcome.durationMs;
      workflowEndMs.set(stage.workflowId, Math.max(endMs, workflowEndMs.get(stage.workflowId) ?? 0));
      continue;
    }
    follow.begin(call);
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

/** Guesses what follows each call. A call with siblings is followed by the first that begins after all have ended, like each of them. */
class Followers {
  private readonly transitions = new RoleTransitions(MAX_CELLS);
  private readonly open = new Map<
    string,
    { call: CallExample; toolCalled: boolean | undefined; ranked: (string | undefined)[] }[]
  >();

  constructor(private readonly steps: JudgedStep[]) {}

  end(call: CallExample, { toolCalled }: StageOutcome): void {
    const ranked = this.transitions.next(call.stage, call.context, toolCalled).map(({ role }) => role);
    const list = this.open.get(call.stage.workflowId);
    const waiting = { call, toolCalled, ranked };
    if (list) list.push(waiting);
    else this.open.set(call.stage.workflowId, [waiting]);
  }

  begin(call: CallExample): void {
    this.settle(call.stage.workflowId, call);
  }

  ended(workflowId: string): void {
    this.settle(workflowId, undefined);
  }

  private settle(workflowId: string, next: CallExample | undefined): void {
    for (const { call, toolCalled, ranked } of this.open.get(workflowId) ?? []) {
      this.steps.push({ template: call.stage.template, ranked, next: next?.stage.role });
      this.transitions.follow(call.stage, call.context, toolCalled, next?.stage);
    }
    this.open.delete(workflowId);
  }
}
