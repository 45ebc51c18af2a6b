import { LruMap } from '../../model/lru-map.js';
import type { Stage, StageContext, StageOutcome } from '../../model/stage.js';
import { type CallEvent, type CallExample, type CallHistory, taughtTokens } from '../examples.js';

/** A call that has ended, with when it began and ended among the others. Plain data. */
export interface RecordedCall extends CallExample {
  readonly beginOrder: number;
  readonly endOrder: number;
}

interface Begun {
  readonly stage: Stage;
  readonly context: StageContext;
  readonly order: number;
}

/** More calls are under way in no fleet. */
const MAX_OPEN = 100_000;

/** Puts the beginnings and ends of the fleet's calls together. */
export class CallRecorder {
  private readonly open = new LruMap<string, Begun>(MAX_OPEN);
  private order = 0;

  begin(stage: Stage, context: StageContext): void {
    // Prefix blocks are long, and no feature of a model.
    this.open.set(stage.stageId, { stage: { ...stage, prefixHashes: [] }, context, order: this.order++ });
  }

  /** The call, if it ran to its end and told its tokens. */
  end({ stageId, workflowId }: Stage, outcome: StageOutcome): RecordedCall | undefined {
    const begun = this.open.peek(stageId);
    this.open.delete(stageId);
    if (!begun || taughtTokens(outcome) === undefined) return undefined;
    const { stage, context, order } = begun;
    return { stage, context, outcome, task: workflowId, beginOrder: order, endOrder: this.order++ };
  }
}

/** A workflow without a call in so large a part of what happened last counts as over: the window does not say. */
const QUIET_PART = 0.1;

/** The last calls, in the form that models are trained on. */
export class CallWindow {
  /** A ring: the oldest is overwritten. */
  private readonly calls: RecordedCall[] = [];
  private next = 0;

  /** @param capacity Calls that are kept. */
  constructor(private readonly capacity: number) {}

  add(call: RecordedCall): void {
    this.calls[this.next] = call;
    this.next = (this.next + 1) % this.capacity;
  }

  history(): CallHistory {
    const calls = [...this.calls].sort((a, b) => a.beginOrder - b.beginOrder);
    const events = calls.flatMap(({ beginOrder, endOrder }, call): { order: number; event: CallEvent }[] => [
      { order: beginOrder, event: { kind: 'begin', call } },
      { order: endOrder, event: { kind: 'end', call } },
    ]);
    for (const { workflowId, order } of endedWorkflows(calls)) {
      events.push({ order, event: { kind: 'workflowEnded', workflowId } });
    }
    return {
      calls: calls.map(({ stage, context, outcome, task }) => ({ stage, context, outcome, task })),
      events: events.sort((a, b) => a.order - b.order).map(({ event }) => event),
    };
  }
}

/** When each workflow that is over ended. */
function endedWorkflows(calls: readonly RecordedCall[]): { workflowId: string; order: number }[] {
  const lastEnd = new Map<string, number>();
  let [first, last] = [Number.POSITIVE_INFINITY, 0];
  for (const { stage, beginOrder, endOrder } of calls) {
    first = Math.min(first, beginOrder);
    last = Math.max(last, endOrder);
    lastEnd.set(stage.workflowId, Math.max(endOrder, lastEnd.get(stage.workflowId) ?? 0));
  }
  const quietSince = last - QUIET_PART * (last - first);
  // Between its last end and whatever came next.
  return [...lastEnd].flatMap(([workflowId, order]) =>
    order < quietSince ? [{ workflowId, order: order + 0.5 }] : [],
  );
}
