import type { Scheduling } from '../bus/contract.js';
import type { Clock } from '../model/clock.js';
import type { QueueBudget } from '../model/queue-budget.js';
import type { Logger } from '../observe/log.js';
import type { GatewayMetrics } from '../observe/metrics.js';
import type { TextVectors } from '../predict/text-vectors/service.js';
import type { GatewayConfig } from './config.js';
import type { ConversationIndex } from './conversation-index.js';
import type { KeyRing } from './keys.js';
import type { ParameterPolicies } from './parameter-policy.js';
import type { RateLimits } from './rate-limits.js';
import type { ResponseHomes } from './response-homes.js';
import type { RoomPool } from './room-pool.js';
import type { TenantPlaces } from './tenant-places.js';
import type { TokenEstimator } from './token-estimate.js';
import type { WorkflowClock } from './workflow-clock.js';

/** What all requests of one gateway share. */
export interface GatewayContext {
  readonly config: GatewayConfig;
  readonly scheduling: Scheduling;
  /** Clock of stages: emulated milliseconds where the fleet is emulated. */
  readonly clock: Clock;
  /** Real milliseconds, for what concerns sockets. */
  readonly wallClock: Clock;
  readonly logger: Logger;
  readonly metrics: GatewayMetrics;
  readonly keys: KeyRing;
  readonly conversations: ConversationIndex;
  readonly workflows: WorkflowClock;
  readonly tokens: TokenEstimator;
  readonly policies: ParameterPolicies;
  /** Room for open requests and their bodies. */
  readonly budget: QueueBudget;
  readonly places: TenantPlaces;
  readonly rates: RateLimits;
  readonly rooms: RoomPool;
  readonly responses: ResponseHomes;
  /** What a sentence embedder says of last messages; undefined where none is asked. */
  readonly textVectors: TextVectors | undefined;
}
