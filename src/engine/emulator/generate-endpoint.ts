import { randomBytes } from 'node:crypto';
import type { EmulatorContext } from './context.js';
import { type AnswerFrames, type AnswerKind, FrameWriter, type ResponseHead } from './frames.js';
import { type AnswerSink, Generation } from './generation.js';
import type { GenerationRequest } from './generation-request.js';
import type { Call } from './http.js';
import { envelope, internalError } from './http-error.js';
import { MessagesFrames } from './messages-frames.js';
import { planChoices } from './plan.js';
import { rankOf, refusesRank } from './rank-header.js';
import { type ResponsesEcho, ResponsesFrames } from './responses-frames.js';

const ID_PREFIXES: Readonly<Record<AnswerKind, string>> = {
  chat: 'chatcmpl-',
  completion: 'cmpl-',
  responses: 'resp_',
  messages: 'chatcmpl-',
};

export interface GenerateOptions {
  /** Of /v1/responses: what the answer repeats. */
  readonly echo?: ResponsesEcho;
  /** Called with the body of an answer that is not streamed, before it is sent. */
  readonly onBody?: (id: string, body: string) => void;
}

/** Runs a judged request through the engine and answers it in the API that it came by. */
export function generate(
  context: EmulatorContext,
  call: Call,
  parsed: GenerationRequest,
  generateOptions: GenerateOptions = {},
): void {
  const { options, model, loop, ledger, metrics } = context;
  if (context.draining) throw internalError('cannot schedule new futures after shutdown');
  const request = { ...parsed, priority: priorityOf(call, parsed), rank: rankOf(call, parsed) };
  if (refusesRank(context, call, request)) return;
  refuseWhenFull(context, request);
  const responseId = responseIdOf(call, request);
  const plans = planChoices(request, {
    responseId,
    blockSize: model.blockSize,
    seed: options.seed ?? 0,
    garbage: context.sleep.garbage,
  });
  const promptTokens = request.prompts.reduce((sum, prompt) => sum + prompt.tokens, 0);
  const entry = ledger.open({
    id: responseId,
    route: call.path,
    stream: request.stream,
    priority: request.priority,
    promptTokens,
    arrivedMs: context.clock.nowMs() - context.startedMs,
  });
  const tracked = options.enableServerLoadTracking ? 1 : 0;
  context.load += tracked;
  const head = { kind: request.kind, id: responseId, created: Math.floor(Date.now() / 1000), model: request.model };
  const generation = new Generation(
    request,
    framesOf(context, head, request, promptTokens, generateOptions.echo),
    plans,
    {
      forceUsage: options.enableForceIncludeUsage ?? false,
      promptTokensDetails: options.enablePromptTokensDetails ?? false,
      perRequestMetrics: options.enablePerRequestMetrics ?? false,
      mergeFrames: (options.timeScale ?? 1) > 1,
      blockSize: model.blockSize,
      adapter: context.adapters.has(request.model) ? request.model : undefined,
    },
    sinkOf(context, call, (body) => generateOptions.onBody?.(responseId, body)),
    {
      loop,
      metrics,
      ledger,
      entry,
      nowMs: () => context.clock.nowMs() - context.startedMs,
      onOver: () => {
        context.open.delete(generation);
        context.load -= tracked;
      },
    },
  );
  context.open.add(generation);
  call.reply.onAbandoned(() => generation.disconnected());
  generation.start();
}

/** `priority` of the body, unless a header says otherwise; a header that is no integer is ignored. */
function priorityOf(call: Call, request: GenerationRequest): number {
  const header = call.request.headers['x-vllm-priority'];
  return typeof header === 'string' && /^\s*[+-]?\d+\s*$/.test(header) ? Number(header) : request.priority;
}

function refuseWhenFull({ options, loop, metrics }: EmulatorContext, request: GenerationRequest): void {
  const { maxNumQueuedReqs = Infinity, maxNumQueuedTokens = Infinity } = options;
  const promptTokens = request.prompts.reduce((sum, prompt) => sum + prompt.tokens, 0) * request.n;
  const fits = loop.size + request.n * request.prompts.length <= maxNumQueuedReqs;
  if (fits && (maxNumQueuedTokens === Infinity || loop.prefillTokens + promptTokens <= maxNumQueuedTokens)) return;
  metrics.refused();
  throw envelope(
    503,
    'Service Unavailable',
    'The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.',
  );
}

/** /v1/responses takes the whole id from the body; the others put their prefix before it. */
function responseIdOf(call: Call, request: GenerationRequest): string {
  const header = call.request.headers['x-request-id'];
  if (request.kind === 'responses') return request.requestId ?? `resp_${randomBytes(8).toString('hex')}`;
  const id = (typeof header === 'string' ? header : request.requestId) ?? randomBytes(8).toString('hex');
  return ID_PREFIXES[request.kind] + id;
}

function framesOf(
  context: EmulatorContext,
  head: ResponseHead,
  request: GenerationRequest,
  promptTokens: number,
  echo: ResponsesEcho | undefined,
): AnswerFrames {
  if (request.kind === 'responses' && echo) return new ResponsesFrames(head, echo);
  if (request.kind === 'messages') return new MessagesFrames(head, promptTokens, context.version !== '0.29.0');
  const usageFollows = (context.options.enableForceIncludeUsage ?? false) || request.includeUsage;
  return new FrameWriter(head, context.fingerprint, usageFollows);
}

function sinkOf(context: EmulatorContext, call: Call, onBody: (body: string) => void): AnswerSink {
  const { reply } = call;
  return {
    startStream: () => reply.startStream(),
    write: (frame) => reply.write(frame),
    endStream: () => reply.endStream(),
    json: (status, body) => {
      if (status === 200) onBody(body);
      reply.json(status, body, status === 200, status === 200 ? orcaHeader(context, call) : []);
    },
    cut: () => reply.cut(),
  };
}

/** The ORCA load report that a router may ask for; streams never carry it. */
function orcaHeader(context: EmulatorContext, call: Call): string[] {
  const format = call.request.headers['endpoint-load-metrics-format'];
  const { waiting, kvUsage } = context.metrics.lastReport();
  const float = (value: number) => (Number.isInteger(value) ? `${value}.0` : String(value));
  if (format === 'JSON') {
    const metrics = `{"num_requests_waiting": ${float(waiting)}, "kv_cache_usage_perc": ${float(kvUsage)}}`;
    return ['endpoint-load-metrics', `JSON {"named_metrics": ${metrics}}`];
  }
  if (format === 'TEXT') {
    const metrics = `named_metrics.num_requests_waiting=${float(waiting)}, named_metrics.kv_cache_usage_perc=${float(kvUsage)}`;
    return ['endpoint-load-metrics', `TEXT ${metrics}`];
  }
  return [];
}
