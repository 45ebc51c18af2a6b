import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect } from 'vitest';
import type {
  DecisionRecord,
  FleetSnapshot,
  Scheduling,
  ServedModel,
  StageHandle,
  StageListener,
  StageStart,
} from '../../src/bus/contract.js';
import { WallClock } from '../../src/bus/wall-clock.js';
import { EnginePath } from '../../src/engine/vllm/data-path.js';
import {
  createGateway,
  createGatewayMetrics,
  DEFAULT_GATEWAY_CONFIG,
  type Gateway,
  type GatewayConfig,
  type GatewayOptions,
  type GatewayTimeouts,
} from '../../src/gateway/index.js';
import type { Clock } from '../../src/model/clock.js';
import type { SloClass, Stage, StageOutcome } from '../../src/model/stage.js';
import { createLogger } from '../../src/observe/log.js';
import type { GatewayMetrics } from '../../src/observe/metrics.js';
import type { TextVectors } from '../../src/predict/text-vectors/service.js';

const CLASSES: readonly SloClass[] = [
  { name: 'interactive', kind: 'interactive', deadlineMs: 60_000, ttftMs: 2000, tpotMs: 100, weight: 1 },
  { name: 'batch', kind: 'batch', deadlineMs: 1_800_000, weight: 0.2 },
];

/** One stage as the fake levels saw it. */
export interface SubmittedStage {
  readonly stage: Stage;
  readonly identitySource: string;
  readonly listener: StageListener;
  readonly outcomes: StageOutcome[];
  firstTokens: number;
  placements: number;
  /** What each wish for another place has said of the engine: does nobody listen there? */
  readonly refusals: boolean[];
}

/** Levels that start every stage at once on one engine, or as a test tells them. */
export class FakeScheduling implements Scheduling {
  readonly submitted: SubmittedStage[] = [];
  /** Replaces the usual answer to a submission. */
  onSubmit: ((submitted: SubmittedStage) => void) | undefined;
  onFirstToken: (() => void) | undefined;
  maxPlacements = 1;
  ready = true;
  private readonly clock = new WallClock();

  constructor(public startOf: (stage: Stage) => StageStart) {}

  nowMs(): number {
    return this.clock.nowMs();
  }

  models(): readonly ServedModel[] {
    return [{ name: 'tiny', aliases: ['gpt-4o', 'org/tiny-1'], maxModelLen: 4096, engines: 1, enginesUp: 1 }];
  }

  resolveModel(name: string): ServedModel | undefined {
    return this.models().find((model) => model.name === name || model.aliases.includes(name));
  }

  classes(): readonly SloClass[] {
    return CLASSES;
  }

  readiness() {
    return { ready: this.ready, reason: this.ready ? 'ready' : 'no engine answers' };
  }

  submit(stage: Stage, identitySource: string, listener: StageListener): StageHandle {
    const submitted: SubmittedStage = {
      stage,
      identitySource,
      listener,
      outcomes: [],
      firstTokens: 0,
      placements: 1,
      refusals: [],
    };
    this.submitted.push(submitted);
    const place = () => queueMicrotask(() => listener.onStart(this.startOf(stage)));
    if (this.onSubmit) this.onSubmit(submitted);
    else place();
    return {
      firstToken: () => {
        submitted.firstTokens++;
        this.onFirstToken?.();
      },
      placeAgain: (refused) => {
        submitted.refusals.push(refused);
        if (submitted.placements >= this.maxPlacements) return false;
        submitted.placements++;
        place();
        return true;
      },
      finish: (outcome) => {
        submitted.outcomes.push(outcome);
      },
    };
  }

  start(submitted: SubmittedStage): void {
    submitted.listener.onStart(this.startOf(submitted.stage));
  }

  explain(stageId: string, tenant?: string): DecisionRecord | undefined {
    const found = this.submitted.find(
      ({ stage }) => stage.stageId === stageId && (tenant === undefined || stage.tenant === tenant),
    );
    return found && ({ stage: found.stage, identitySource: found.identitySource } as DecisionRecord);
  }

  fleet(): FleetSnapshot {
    throw new Error('not used');
  }
}

/** A request as the scripted engine got it. */
export interface EngineRequest {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly body: string;
  /** Resolves when the gateway closes the connection before the answer is complete. */
  readonly aborted: Promise<void>;
}

export type EngineScript = (request: EngineRequest) => void;

export interface Rig {
  readonly gateway: Gateway;
  readonly url: string;
  readonly scheduling: FakeScheduling;
  readonly metrics: GatewayMetrics;
  /** Everything the engine got. */
  readonly received: EngineRequest[];
  /** What the engine does with a request. */
  script: EngineScript;
  readonly engine: Server;
  /** Sends the bytes of an HTTP request and gives the socket. */
  rawRequest(text: string): Socket;
  close(): Promise<void>;
}

export interface RigOptions {
  readonly textVectors?: TextVectors;
  readonly config?: Partial<Omit<GatewayConfig, 'timeouts'>> & { readonly timeouts?: Partial<GatewayTimeouts> };
  readonly upstreamModel?: string;
  readonly logLines?: (line: string) => void;
  readonly tls?: GatewayOptions['tls'];
  readonly wallClock?: Clock;
}

/** A gateway in front of a scripted engine, with fake levels between them. */
export async function startRig(options: RigOptions = {}): Promise<Rig> {
  const received: EngineRequest[] = [];
  const engine = createServer((req, res) => {
    const pieces: Buffer[] = [];
    req.on('data', (piece: Buffer) => pieces.push(piece));
    const aborted = new Promise<void>((resolve) => {
      res.on('close', () => {
        if (!res.writableFinished) resolve();
      });
    });
    req.on('end', () => {
      const request = { req, res, body: Buffer.concat(pieces).toString('utf8'), aborted };
      received.push(request);
      rig.script(request);
    });
  });
  await new Promise<void>((resolve) => engine.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(engine.address() as AddressInfo).port}`;
  const dataPath = new EnginePath({ origin, keepAliveMs: 1000, clock: new WallClock() });
  const scheduling = new FakeScheduling(() => ({
    engineId: 'engine-1',
    nodeId: 'node-1',
    dataPath,
    upstreamModel: options.upstreamModel ?? 'tiny',
    priority: 7,
    queueMs: 12.4,
    coldStartMs: 0,
    policy: 'fcfs',
  }));
  const metrics = createGatewayMetrics(CLASSES.map(({ name }) => name));
  const { config = {}, logLines } = options;
  const gateway = createGateway({
    scheduling,
    clock: new WallClock(),
    config: {
      ...DEFAULT_GATEWAY_CONFIG,
      ...config,
      timeouts: { ...DEFAULT_GATEWAY_CONFIG.timeouts, ...config.timeouts },
    },
    logger: createLogger({
      level: logLines ? 'debug' : 'silent',
      ...(logLines ? { destination: { write: logLines } } : {}),
    }),
    metrics,
    ...{ textVectors: options.textVectors, tls: options.tls, wallClock: options.wallClock ?? new WallClock() },
  });
  await gateway.listen(0, '127.0.0.1');
  const rig: Rig = {
    gateway,
    url: gateway.address,
    scheduling,
    metrics,
    received,
    engine,
    script: ({ res }) => sendCompletion(res),
    rawRequest(text) {
      const socket = connect(Number(new URL(gateway.address).port), '127.0.0.1');
      socket.on('error', () => {});
      socket.write(text);
      return socket;
    },
    async close() {
      await gateway.close(0);
      dataPath.close();
      engine.closeAllConnections();
      await new Promise((resolve) => engine.close(resolve));
    },
  };
  return rig;
}

/** Ends it, and checks that every request that was let in has had exactly one outcome. */
export async function closeRig(rig: Rig): Promise<void> {
  await rig.close();
  const { started, inFlight, outcomes } = rig.metrics.ledger();
  expect(inFlight).toBe(0);
  expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(started);
  for (const { outcomes: finished } of rig.scheduling.submitted) expect(finished).toHaveLength(1);
}

export const COMPLETION = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'tiny',
  choices: [
    { index: 0, message: { role: 'assistant', content: 'Hello "usage" world' }, logprobs: null, finish_reason: 'stop' },
  ],
  usage: {
    prompt_tokens: 19,
    total_tokens: 25,
    completion_tokens: 6,
    prompt_tokens_details: { cached_tokens: 16, created_cache_tokens: 0 },
  },
  prompt_logprobs: null,
  kv_transfer_params: null,
};

export function sendCompletion(res: ServerResponse): void {
  const body = JSON.stringify(COMPLETION);
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  res.end(body);
}

/** A content frame as vLLM writes it. */
export function contentFrame(text: string, finishReason: string | null = null): string {
  const choice = { index: 0, delta: { content: text }, logprobs: null, finish_reason: finishReason, token_ids: null };
  return `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'tiny', choices: [choice] })}\n\n`;
}

export const USAGE_FRAME = `data: ${JSON.stringify({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'tiny',
  choices: [],
  usage: COMPLETION.usage,
})}\n\n`;

export const DONE_FRAME = 'data: [DONE]\n\n';

export function beginStream(res: ServerResponse): void {
  res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
  res.flushHeaders();
}

export function chatBody(fields: Record<string, unknown> = {}): string {
  return JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'hello' }], max_tokens: 6, ...fields });
}

/** A chat request as bytes, for tests that need the raw socket. */
export function rawChat(body: string): string {
  return `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

export function postChat(rig: Rig, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${rig.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
}

/** Waits until a condition holds; the test's own time limit ends it otherwise. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
