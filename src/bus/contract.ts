import type { IncomingHttpHeaders } from 'node:http';
import type { PortfolioSnapshot } from '../global/portfolio/service.js';
import type { MaestroError } from '../model/error.js';
import type { EngineState, PlaceExplanation, Residency } from '../model/fleet.js';
import type { Prediction, SloClass, Stage, StageContext, StageOutcome } from '../model/stage.js';

/** A model that clients may name, or an adapter on one. */
export interface ServedModel {
  readonly name: string;
  /** Of an adapter: the model that it sits on, which decides where calls can go. */
  readonly base?: string;
  /** Other names that resolve to it. */
  readonly aliases: readonly string[];
  readonly maxModelLen: number;
  /** Engines that serve it, and how many of them answer now. */
  readonly engines: number;
  readonly enginesUp: number;
}

/** A request to an engine. */
export interface DataRequest {
  readonly method: 'GET' | 'POST';
  /** Request target, as it goes on the wire. */
  readonly path: string;
  /** Names and values in turn; host, framing and connection headers are added on the way. */
  readonly headers: readonly string[];
  /** Must not change until the answer is complete. */
  readonly body: Buffer | undefined;
}

/** The hold on a request that has been sent. Calls after its end do nothing. */
export interface DataCall {
  /** Closes its connection at once; nothing is told after it. */
  abort(): void;
  pause(): void;
  resume(): void;
}

/** What hears of the answer to a {@link DataRequest}: start, head, data (any number), and end or error; an error may come at any time. */
export interface DataHandler {
  /** There is a connection, and the request goes out now. One that fails without it has not been sent. */
  onStart(call: DataCall): void;
  onHead(status: number, headers: IncomingHttpHeaders): void;
  /** The body bytes of one read of the socket. */
  onData(bytes: Buffer): void;
  /** The answer is whole. `rest`: the body bytes of the last read. */
  onEnd(rest: Buffer | undefined): void;
  /** `unanswered`: the connection had carried answers before, and not a byte of this one came; it may have been closed while idle. */
  onError(error: Error, unanswered: boolean): void;
  /** What another of these threw: a bug of ours, whatever the engine sent. Nothing is told after it. */
  onFault(thrown: unknown): void;
}

/** The way of requests to one engine. */
export interface DataPath {
  /** Sends a request. Throws when its path or a header cannot stand on the wire. */
  dispatch(request: DataRequest, handler: DataHandler): void;
}

/** Where an engine is reached: the agent's own connections. */
export interface EngineEndpoint {
  readonly dataPath: DataPath;
  readonly upstreamModel: string;
}

/** Where an accepted stage goes. */
export interface StageStart {
  readonly engineId: string;
  readonly nodeId: string;
  /** The engine's own connections: the agent's proxy, as a function call. */
  readonly dataPath: DataPath;
  /** `Authorization` header that the engine asks for, where it was started with an API key. The client's own never goes there. */
  readonly authorization?: string | undefined;
  /** Name under which the engine serves the model. */
  readonly upstreamModel: string;
  /** Data-parallel rank of the engine that is to run it; undefined where vLLM chooses. */
  readonly rank?: number | undefined;
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
  /**
   * The engine is wanted for others: drop the call, and be started again later by another `onStart`. False, and nothing happens, once the client has been told
   * anything.
   */
  onRequeue(): boolean;
}

/** The front door's hold on a submitted stage. */
export interface StageHandle {
  /** The first content bytes have come, and more will; frees the prefill accounting, as `finish` does. */
  firstToken(): void;
  /**
   * No connection to the engine was had, so not a byte of the request was sent and nothing ran: asks for another place. True when a
   * new `onStart` or `onReject` will follow; false when the attempts are used up and the stage must be finished.
   *
   * @param refused Nobody listens there: the engine's process is gone, and its memory is free. Else it may live, and only be out of reach.
   */
  placeAgain(refused: boolean): boolean;
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
  /** Data-parallel rank of the engine, where one was chosen. */
  rank?: number | undefined;
  queueMs?: number;
  coldStartMs?: number;
  attempts: number;
  outcome?: StageOutcome;
}

/** One engine, as the timelines of the report show it. */
export interface EngineSnapshot {
  readonly nodeId: string;
  readonly engineId: string;
  readonly model: string;
  readonly state: EngineState;
  /** Where its weights are. */
  readonly weights: Residency;
  /** Seats taken, held back for a wake included. */
  readonly leases: number;
  /** How many it is given at most, by its specification, the calls that come, and what its counters have taught; undefined where nothing limits them. */
  readonly seats?: number | undefined;
  /** Requests inside the engine, by its own gauges; undefined until it has been asked. */
  readonly running: number | undefined;
  readonly waiting: number | undefined;
  readonly kvReservedTokens: number;
  /** Contexts held for workflows that are expected back from a tool call. */
  readonly kvKeptTokens: number;
  readonly kvUsedTokens: number;
  readonly kvPoolTokens: number;
}

/** The fleet at one moment, with totals since the start. Times are clock milliseconds. */
export interface FleetSnapshot {
  readonly atMs: number;
  readonly policy: string;
  /** How the self-tuning policy came to its ordering, where it serves. */
  readonly portfolio?: PortfolioSnapshot;
  /** Workflows that have begun and are not over. */
  readonly openWorkflows: number;
  /** Stages waiting in our queue, by model. */
  readonly queued: Readonly<Record<string, number>>;
  /** Models of whose single calls more wait than can be in time, each with the share of its seats that such calls fill; see `SingleCalls`. */
  readonly floods: Readonly<Record<string, number>>;
  readonly engines: readonly EngineSnapshot[];
  readonly gpus: readonly {
    readonly nodeId: string;
    readonly gpu: number;
    readonly usedBytes: number;
    readonly totalBytes: number;
  }[];
  /**
   * Byte-seconds of KV memory since the start: promised, as maximal token limits would have promised, and truly used. Token-seconds where `unit` says so: of no
   * engine is it known how many bytes a token takes.
   */
  readonly kv: {
    readonly unit: 'bytes' | 'tokens';
    readonly reservedByteSeconds: number;
    readonly maxTokenByteSeconds: number;
    readonly usedByteSeconds: number;
  };
  /** Weights moved between tiers, and moves that failed. */
  readonly moves: { readonly sleeps: number; readonly wakes: number; readonly failures: number };
  /** Wakes and loads of weights, and how long requests waited for them in sum. */
  readonly coldStarts: { readonly count: number; readonly requestSeconds: number };
  readonly preemptions: number;
  readonly outcomes: Readonly<Record<string, number>>;
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
  /** The record of a request by its id; `last` stands for the newest that has ended. With a tenant, those of others do not exist. */
  explain(stageId: string, tenant?: string): DecisionRecord | undefined;
  /** What the fleet is doing now; also the source of the report's timelines. */
  fleet(): FleetSnapshot;
}
