import type { Stage, StageContext, StageOutcome } from '../model/stage.js';

/** One call of the past, as it was known before it ran and as it ended. */
export interface CallExample {
  readonly stage: Stage;
  readonly context: StageContext;
  readonly outcome: StageOutcome;
  /** What its workflow was asked to do; runs of one task are alike, so a split must not tear them apart. */
  readonly task: string;
}

/**
 * What happened, in order: a call begins, and is predicted with what is known by then; it ends, and teaches; a workflow is over. `call` is the place in the
 * list of examples.
 */
export type CallEvent =
  | { readonly kind: 'begin' | 'end'; readonly call: number }
  | { readonly kind: 'workflowEnded'; readonly workflowId: string };

/** Calls in the order in which they began, and what happened to them. */
export interface CallHistory {
  readonly calls: readonly CallExample[];
  readonly events: readonly CallEvent[];
}

/** The part of a history that `keep` says yes to, in the same order. */
export function filterHistory(history: CallHistory, keep: (call: CallExample) => boolean): CallHistory {
  const places = new Map<number, number>();
  const calls: CallExample[] = [];
  const workflows = new Set<string>();
  history.calls.forEach((call, index) => {
    if (!keep(call)) return;
    places.set(index, calls.length);
    calls.push(call);
    workflows.add(call.stage.workflowId);
  });
  const events = history.events.flatMap((event): CallEvent[] => {
    if (event.kind === 'workflowEnded') return workflows.has(event.workflowId) ? [event] : [];
    const call = places.get(event.call);
    return call === undefined ? [] : [{ kind: event.kind, call }];
  });
  return { calls, events };
}

/** Several histories as one, one after the other. */
export function joinHistories(histories: readonly CallHistory[]): CallHistory {
  const calls: CallExample[] = [];
  const events: CallEvent[] = [];
  for (const history of histories) {
    const first = calls.length;
    for (const call of history.calls) calls.push(call);
    for (const event of history.events) {
      events.push(event.kind === 'workflowEnded' ? event : { kind: event.kind, call: first + event.call });
    }
  }
  return { calls, events };
}

/** Output tokens of a call that teach a length: of one that ran to its end, and told them. */
export function taughtTokens({ kind, outputTokens }: StageOutcome): number | undefined {
  return kind === 'completed' ? outputTokens : undefined;
}

/** Does the request leave it to the model whether to call a tool? */
export function choosesTool({ features: { toolsOffered, toolChoice } }: Stage): boolean {
  return toolsOffered > 0 && toolChoice === 'auto';
}

/** Whether the answer was a tool call, where that was the model's own choice. */
export function taughtToolCall(stage: Stage, outcome: StageOutcome): boolean | undefined {
  if (outcome.kind !== 'completed' || !choosesTool(stage)) return undefined;
  return outcome.toolCalled;
}
