import { MINUTE_MS } from '../../src/model/units.js';
import { blockIdEnd } from '../../traces/blocks.js';
import type { TraceWorkflow } from '../../traces/workflow.js';
import type { WorkflowRecord } from '../report/types.js';
import { copyOf } from './repeat.js';
import type { Phase, RunRow } from './types.js';

/** One phase as it is asked for. */
export interface PhaseTraffic {
  /** What the traffic is; phases of the same traffic go on where the last one stopped. */
  readonly about: string;
  /** In order of arrival; taken from the beginning again when it ends. */
  readonly workflows: readonly TraceWorkflow[];
  /** Speed of the arrivals, relative to the trace, that is the fleet's capacity for this traffic. */
  readonly capacitySpeed: number;
  /** Of that capacity. */
  readonly load: number;
  readonly minutes: number;
}

/** Traffic that changes: the phases one after the other, their arrivals at the speed at which they are to come in the run. */
export function composePhases(traffic: readonly PhaseTraffic[]): {
  readonly workflows: TraceWorkflow[];
  readonly phases: Phase[];
} {
  const workflows: TraceWorkflow[] = [];
  const phases: Phase[] = [];
  const taken = new Map<string, number>();
  let nextBlock = 0;
  let fromMinute = 0;
  for (const [index, { about, workflows: source, capacitySpeed, load, minutes }] of traffic.entries()) {
    const times = source.map(({ arrivalMs = 0 }) => arrivalMs);
    const gaps = times.map((atMs, at) => (at === 0 ? meanGap(times) : atMs - times[at - 1]!) / (capacitySpeed * load));
    const blocks = blockIdEnd(source.flatMap(({ rows }) => rows));
    let next = taken.get(about) ?? 0;
    // The first workflow of the run comes at its beginning.
    for (let atMs = index === 0 ? 0 : gaps[next % gaps.length]!; atMs < minutes * MINUTE_MS; ) {
      const at = next % source.length;
      const round = Math.floor(next / source.length);
      const delayMs = fromMinute * MINUTE_MS + atMs - times[at]!;
      workflows.push(copyOf(source[at]!, `${index}.${round}`, delayMs, nextBlock + round * blocks));
      next += 1;
      atMs += gaps[next % gaps.length]!;
    }
    nextBlock += blocks * (Math.floor(next / source.length) + 1);
    taken.set(about, next);
    phases.push({ about, load, fromMinute, toMinute: fromMinute + minutes });
    fromMinute += minutes;
  }
  return { workflows, phases };
}

/** Workflows by the minute of the run in which they arrived, and how many of them were in time. */
export function byMinute(
  workflows: readonly Pick<WorkflowRecord, 'arrivalMs' | 'met'>[],
  minutes: number,
): NonNullable<RunRow['minutes']> {
  const arrived = new Array<number>(minutes).fill(0);
  const inTime = new Array<number>(minutes).fill(0);
  for (const { arrivalMs, met } of workflows) {
    const minute = Math.min(minutes - 1, Math.floor(arrivalMs / MINUTE_MS));
    arrived[minute]! += 1;
    if (met) inTime[minute]! += 1;
  }
  return { arrived, inTime };
}

/** Between the end of one round and the beginning of the next. */
function meanGap(times: readonly number[]): number {
  return times.length < 2 ? MINUTE_MS : (times.at(-1)! - times[0]!) / (times.length - 1);
}
