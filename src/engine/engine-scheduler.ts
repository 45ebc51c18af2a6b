import type { EngineEvent, EngineStats } from './batch-types.js';
import type { Sequence } from './sequence.js';
import type { StepRun } from './step-run.js';

/** What decides the steps of an engine: one scheduler, or those of the ranks that step together. Its caller owns time and decides what is allowed to run. */
export interface EngineScheduler {
  /** Longest prompt and output together. */
  readonly maxModelLen: number;
  /** The run is under way. */
  readonly inFlight: boolean;
  readonly run: StepRun;
  readonly runningSize: number;
  readonly waitingSize: number;
  /** A new sequence waits from now on. */
  enqueue(sequence: Sequence): void;
  /** Could this sequence, which waits, be admitted by the next step? */
  mayJoin(sequence: Sequence): boolean;
  /** Plans the step that begins at `nowMs` and starts a run; false when there is nothing to run. */
  plan(nowMs: number, admitting: boolean, events: EngineEvent[]): boolean;
  /** Lets what has come in at the very start of the run join it. */
  extend(nowMs: number): void;
  /** Ends the run: tokens are out, ended sequences leave. */
  complete(events: EngineEvent[]): void;
  /** Accounts the whole steps that are done at `nowMs`; the one under way becomes a run of its own. */
  settle(nowMs: number): void;
  /** Forgets the step under way; whole steps before it count. */
  drop(nowMs: number): void;
  /** Takes a sequence out of wherever it is, with its blocks. */
  remove(sequence: Sequence): void;
  /** Takes all of them out: what runs, then what waits, in order. */
  takeAll(): Sequence[];
  /** Preempts whatever holds blocks and forgets all content. */
  clear(nowMs: number, events: EngineEvent[]): void;
  /** Sequences of a rank may hold so many blocks. */
  limitBlocks(blocks: number): void;
  generatedBy(sequence: Sequence, nowMs: number): number;
  stats(nowMs: number): EngineStats;
  /** Of each rank. */
  rankStats(nowMs: number): readonly EngineStats[];
}
