/**
 * What a run hands to the report. The live replay, the simulator and the benchmarks all fill these records; nothing here knows
 * which of them did. All times are (emulated) milliseconds since the start of the run, unless a name says otherwise.
 */

/** One LLM call, as its client saw it. */
export interface StageRecord {
  stageId: string;
  workflowId: string;
  role: string;
  model: string;
  sloClass: string;
  /** When the client sent the request. */
  startMs: number;
  /** When the first content token reached the client. */
  firstTokenMs?: number | undefined;
  /** When the last byte, or the error, reached the client. */
  endMs: number;
  promptTokens: number;
  outputTokens: number;
  /** Prompt tokens that the engine found in its prefix cache. */
  cachedTokens?: number | undefined;
  maxTokens?: number | undefined;
  /** Wait in Maestro's queue before an engine was given, the cold start not included. */
  queueMs?: number | undefined;
  /** Wait for weights to be woken or loaded, after the queue. */
  coldStartMs?: number | undefined;
  node?: string | undefined;
  engine?: string | undefined;
  policy?: string | undefined;
  /** `completed`, `client_cancelled`, `deadline`, `rejected:<reason>`, `engine_failed`, `internal`, … */
  outcome: string;
  httpStatus: number;
  error?: string | undefined;
  /** Gaps between successive content chunks of this stage, milliseconds. */
  itlMs?: { count: number; sum: number; p50: number; p99: number; max: number } | undefined;
}

/** One agent run. */
export interface WorkflowRecord {
  workflowId: string;
  template: string;
  tenant: string;
  sloClass: string;
  arrivalMs: number;
  /** Absent when the workflow had not ended when the run did. */
  endMs?: number | undefined;
  /** On the same axis as `arrivalMs`: arrival plus allowance. */
  deadlineMs: number;
  stages: number;
  completed: boolean;
  /** Completed, and within the deadline. */
  met: boolean;
  /** Duration of the same workflow alone on an idle, warm fleet: the denominator of slowdown. */
  isolatedMs?: number | undefined;
  error?: string | undefined;
}

/** One engine at one moment. */
export interface NodeSample {
  atMs: number;
  nodeId: string;
  engineId: string;
  model: string;
  /** An engine state such as `running`, `sleeping`, `waking`; see `EngineState`. */
  state: string;
  running: number;
  waiting: number;
  leases: number;
  kvReservedTokens: number;
  kvUsedTokens: number;
  kvPoolTokens: number;
}

/** Memory of one GPU at one moment. */
export interface HbmSample {
  atMs: number;
  nodeId: string;
  gpu: number;
  usedBytes: number;
  totalBytes: number;
}

/** What the fleet itself counted over the run. */
export interface FleetSummary {
  /** Integrals over time: promised, as maximal token limits would have promised, and truly used. */
  kv?:
    | {
        /** Absent: bytes. Tokens where it is not known how many bytes a token takes. */
        unit?: 'bytes' | 'tokens' | undefined;
        reservedByteSeconds: number;
        maxTokenByteSeconds: number;
        usedByteSeconds: number;
        /** Share of time in which some node's true use exceeded what was promised there. */
        nodeOverflowRate?: number | undefined;
      }
    | undefined;
  coldStarts?: { count: number; requestSeconds: number } | undefined;
  preemptions?: number | undefined;
  /** Requests by outcome, as the server counted them. */
  outcomes?: Record<string, number> | undefined;
  samples: NodeSample[];
  hbm?: HbmSample[] | undefined;
}

/** An SLO class and its targets. */
export interface ReportClass {
  name: string;
  kind: 'interactive' | 'batch';
  /** Allowance of a workflow after its arrival, when it names none of its own. */
  deadlineMs: number;
  ttftMs?: number | undefined;
  tpotMs?: number | undefined;
}

/** Everything a report is made of. */
export interface ReportInput {
  title: string;
  subtitle?: string | undefined;
  /** The command that repeats the run. */
  command: string;
  seed?: number | undefined;
  machine: string;
  /** ISO 8601 wall-clock time; null where nothing ran but a simulation. */
  startedAt: string | null;
  /** Emulated milliseconds per real millisecond; 1 against real engines. */
  timeScale: number;
  durationMs: number;
  /** Workflows that arrive before this are not counted. */
  warmupMs: number;
  /** Name of the trace. */
  trace: string;
  notes: string[];
  classes: ReportClass[];
  workflows: WorkflowRecord[];
  stages: StageRecord[];
  fleet?: FleetSummary | undefined;
}

/** What driving a trace against a target yields, before the rest of the report is known. */
export interface ReplayResult {
  workflows: WorkflowRecord[];
  stages: StageRecord[];
  durationMs: number;
}
