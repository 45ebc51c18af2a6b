import type { Prediction, Stage, StageContext } from '../../src/model/stage.js';
import type { TraceRow } from '../../traces/schema.js';
import type { Scheduled } from '../event-loop.js';
import type { SimCluster } from './cluster.js';
import type { SimNode } from './node.js';
import type { Run } from './runs.js';

/** One stage on its way through the simulated house. */
export interface Job {
  readonly stage: Stage;
  readonly context: StageContext;
  readonly prediction: Prediction;
  readonly run: Run;
  readonly row: TraceRow;
  /** What it will truly generate. Only the engine, and policies with foresight, look at it. */
  readonly outputTokens: number;
  /**
   * `queued` in the global order; `placing` on the way to a cluster or being placed there; `returning` to the order because no engine took it; `held` by a node;
   * `running` in an engine; `answered`: done, and the news is on the way; `ended`.
   */
  state: 'queued' | 'placing' | 'returning' | 'held' | 'running' | 'answered' | 'ended';
  /** Counts dispatches: a message about an earlier one is stale. */
  attempt: number;
  /** The process of the global level whose order it stands in. */
  incarnation: number;
  cluster: SimCluster | undefined;
  node: SimNode | undefined;
  engineId: string | undefined;
  orderKey: number;
  priority: number;
  excluded: Set<string> | undefined;
  waitTimer: Scheduled | undefined;
  /** When an engine got it; -1 before. */
  startedMs: number;
  coldStartMs: number;
  firstTokenMs: number | undefined;
  cachedTokens: number;
}
