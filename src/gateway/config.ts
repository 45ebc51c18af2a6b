import { MINUTE_MS, MiB, SECOND_MS } from '../model/units.js';

/** One client key. */
export interface ApiKey {
  readonly key: string;
  readonly tenant: string;
  /** The highest SLO class this key may ask for. Absent: any. */
  readonly maxClass?: string | undefined;
  /** Workflow of requests that name none. */
  readonly workflow?: string | undefined;
  /** Template of requests that name none. */
  readonly template?: string | undefined;
  /** SLO class of requests that name none. */
  readonly defaultClass?: string | undefined;
  /** Requests that its tenant may have open at once. Absent: any number. */
  readonly maxOpenRequests?: number | undefined;
  /** Requests, and tokens of prompts and answers, that its tenant may use in a minute. Absent: any number. */
  readonly requestsPerMinute?: number | undefined;
  readonly tokensPerMinute?: number | undefined;
}

/** Defaults of one kind of workflow. */
export interface TemplateDefaults {
  readonly class?: string | undefined;
  readonly deadlineMs?: number | undefined;
}

/** What requests may ask of a model. Keys are top-level fields of a request; `max_tokens` stands for the output limit of every API. */
export interface ParameterRules {
  readonly defaults?: Readonly<Record<string, unknown>>;
  readonly caps?: Readonly<Record<string, number>>;
  readonly fixed?: Readonly<Record<string, unknown>>;
  readonly drop?: readonly string[];
  readonly refuse?: readonly string[];
}

export interface GatewayTimeouts {
  /** Longest wait in our queue. Clock milliseconds, like the next three: on a scaled clock they pass faster. */
  readonly queueMs: number;
  /** From leaving the queue to the first content. */
  readonly firstTokenMs: number;
  /** Between two reads from the engine once content flows. */
  readonly betweenTokensMs: number;
  /** From arrival to the end. */
  readonly totalMs: number;
  /** A client that takes nothing for so long is cut. Wall milliseconds, like the rest: they concern real sockets. */
  readonly idleWriteMs: number;
  readonly requestHeadersMs: number;
  /** From the first byte of a request to the last of its body. */
  readonly requestBodyMs: number;
  /** Idle client connections; longer than what load balancers use (60 s is usual), so that they and not we close first. */
  readonly keepAliveMs: number;
}

export interface GatewayConfig {
  /** Without keys any bearer or `x-api-key` is taken; bind to the loopback address then. */
  readonly keys: readonly ApiKey[];
  /** Class of requests for which nothing names one. */
  readonly defaultClass: string;
  readonly templates: Readonly<Record<string, TemplateDefaults>>;
  /** By served model; `*` for all of them. */
  readonly parameters: Readonly<Record<string, ParameterRules>>;
  /** Engines share what they have cached of prompts within one tenant only. */
  readonly isolateTenants: boolean;
  readonly bodyLimitBytes: number;
  readonly headerLimitBytes: number;
  /** Requests that may be open at once, and the bytes of their bodies together. */
  readonly maxOpenRequests: number;
  readonly maxOpenBytes: number;
  /** Connections that one address may have open. Absent: any number. */
  readonly maxConnectionsPerAddress?: number | undefined;
  /** Largest `n` and `best_of`. */
  readonly maxChoices: number;
  readonly maxJsonDepth: number;
  /** A streamed request that has waited so long for its first event gets a comment, and another after each such time; 0: none. Wall milliseconds. */
  readonly heartbeatMs: number;
  /** The same of a request whose answer comes whole, which gets interim responses. */
  readonly heartbeatWholeMs: number;
  /** Hash the words of last messages for the predictor. */
  readonly readsText: boolean;
  /** An SSE frame up to this size is held until it is complete; a longer one passes uninspected. */
  readonly maxFrameBytes: number;
  /** A workflow without a call for so long begins anew (arrival and deadline) with its next call. Clock milliseconds. */
  readonly workflowIdleMs: number;
  /** Workflows and conversations that are remembered; the least recently used leave first. */
  readonly maxWorkflows: number;
  readonly timeouts: GatewayTimeouts;
}

/** Defaults of every setting; sources of the limits: Node's own (16 KiB headers), nginx and cloud load balancers (60 s idle), WHATWG HTML (a comment every 15 s). */
export const DEFAULT_GATEWAY_CONFIG: GatewayConfig = {
  keys: [],
  defaultClass: 'interactive',
  templates: {},
  parameters: {},
  isolateTenants: false,
  bodyLimitBytes: 32 * MiB,
  headerLimitBytes: 16 * 1024,
  maxOpenRequests: 10_000,
  maxOpenBytes: 1024 * MiB,
  maxChoices: 128,
  maxJsonDepth: 100,
  heartbeatMs: 15 * SECOND_MS,
  heartbeatWholeMs: 0,
  readsText: false,
  maxFrameBytes: 256 * 1024,
  workflowIdleMs: 30 * MINUTE_MS,
  maxWorkflows: 50_000,
  timeouts: {
    queueMs: 30 * MINUTE_MS,
    firstTokenMs: 10 * MINUTE_MS,
    betweenTokensMs: 2 * MINUTE_MS,
    totalMs: 60 * MINUTE_MS,
    idleWriteMs: 60 * SECOND_MS,
    requestHeadersMs: 15 * SECOND_MS,
    requestBodyMs: 60 * SECOND_MS,
    keepAliveMs: 75 * SECOND_MS,
  },
};
