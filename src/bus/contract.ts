import type { Dispatcher } from 'undici';
import type { MaestroError } from '../model/error.js';
import type { PlaceExplanation } from '../model/fleet.js';
import type { Prediction, SloClass, Stage, StageContext, StageOutcome } from '../model/stage.js';

/** A model that clients may name. */
export interface ServedModel {
  readonly name: string;
  /** Other names that resolve to it. */
  readonly aliases: readonly string[];
  readonly maxModelLen: number;
  /** Engines that serve it, and how many of them answer now. */
  readonly engines: number;
  readonly enginesUp: number;
}

/** Where an accepted stage goes. */
export interface StageStart {
  readonly engineId: string;
  readonly nodeId: string;
  /** The engine's own connection pool: the agent's proxy, as a function call. */
  readonly dispatcher: Dispatcher;
  /** Origin of the engine, for `Dispatcher.dispatch`. */
  readonly origin: string;
  /** Name under which the engine serves the model. */
  readonly upstreamModel: string;
  /** Our order as vLLM's `priority` (lower is earlier). */
  readonly priority: number;
  readonly queueMs: number;
  readonly coldStartMs: number;
  readonly policy: string;
}

/** How the front door hears of its stage. Exactly one of the two is called, once, unless the stage is cancelled first. */
export interface StageListener {
  onStart(start: StageStart): void;
  onReject(error: MaestroError): void;
}

/** The front door's hold on a submitted stage. */
export interface StageHandle {
  /** The first content bytes have come; frees the prefill accounting. */
  firstToken(): void;
  /** Ends the stage, whatever its state. Must be called exactly once for every submitted stage; later calls are ignored. */
  finish(outcome: StageOutcome): void;
}

/** Everything known about one request, kept for `maestro explain`. Times are clock milliseconds. */
export interface DecisionRecord {
  readonly stage: Stage;
  /** Which step of identity resolution found the workflow. */
  readonly identitySource: string;
  readonly context: StageContext;
  readonly prediction: Prediction;
  readonly policy: string;
  orderKey: number;
  placement?: PlaceExplanation;
  engineId?: string;
  nodeId?: string;
  queueMs?: number;
  coldStartMs?: number;
  attempts: number;
  outcome?: StageOutcome;
}

/** What the front door needs of the levels behind it, in one process or across a network. */
export interface Scheduling {
  /** Clock on which stage times are measured. */
  nowMs(): number;
  models(): readonly ServedModel[];
  /** The served model that a client's name or alias stands for. */
  resolveModel(name: string): ServedModel | undefined;
  classes(): readonly SloClass[];
  /** May requests be served now? With the reason when not. */
  readiness(): { readonly ready: boolean; readonly reason: string };
  submit(stage: Stage, identitySource: string, listener: StageListener): StageHandle;
  explain(stageId: string): DecisionRecord | undefined;
}
