import { randomBytes } from 'node:crypto';
import type { EmulatorContext } from './context.js';
import { embeddingsEndpoint } from './embeddings.js';
import { Generation } from './generation.js';
import type { Call, Handler, Routes } from './http.js';
import { envelope } from './http-error.js';
import { jsonBody } from './json-body.js';
import { judgeModel, throwIssues } from './judge.js';
import { VLLM_VERSION } from './options.js';
import { planChoices } from './plan.js';
import {
  type GenerationRequest,
  parseChatRequest,
  parseCompletionRequest,
  type RequestContext,
  readBody,
  readMessages,
} from './request.js';
import { detokenize, renderChat, tokenize } from './tokens.js';

/** Endpoints that a server has with and without development mode. */
export function apiRoutes(context: EmulatorContext): Routes {
  const { options, model, metrics, loop } = context;
  const empty: Handler = ({ reply }) => reply.empty();
  const routes = new Map<string, Record<string, Handler>>([
    ['/health', { GET: empty }],
    ['/ping', { GET: empty, POST: empty }],
    ['/version', { GET: ({ reply }) => reply.json(200, JSON.stringify({ version: VLLM_VERSION })) }],
    ['/load', { GET: ({ reply }) => reply.json(200, JSON.stringify({ server_load: context.load })) }],
    ['/v1/models', { GET: ({ reply }) => reply.json(200, JSON.stringify(modelList(context))) }],
    [
      '/metrics',
      {
        GET: ({ reply }) => {
          loop.step();
          reply.text(200, 'text/plain; version=1.0.0; charset=utf-8', metrics.render());
        },
      },
    ],
    ['/tokenize', { POST: (call) => tokenizeEndpoint(context, call) }],
    ['/detokenize', { POST: (call) => detokenizeEndpoint(context, call) }],
  ]);
  if (options.runner === 'pooling') {
    routes.set('/v1/embeddings', { POST: (call) => embeddingsEndpoint(context, call) });
    return routes;
  }
  const requestContext: RequestContext = {
    servedModelNames: model.servedModelNames,
    maxModelLen: model.maxModelLen,
    autoToolChoice: options.enableAutoToolChoice ?? false,
    toolParser: Boolean(options.toolCallParser),
  };
  const chat: Handler = async (call) => generate(context, call, parseChatRequest(await jsonBody(call), requestContext));
  routes.set('/v1/chat/completions', { POST: chat });
  routes.set('/invocations', { POST: chat });
  routes.set('/v1/completions', {
    POST: async (call) => generate(context, call, parseCompletionRequest(await jsonBody(call), requestContext)),
  });
  return routes;
}

/** `priority` of the body, unless a header says otherwise; a header that is no integer is ignored. */
function priorityOf(call: Call, request: GenerationRequest): number {
  const header = call.request.headers['x-vllm-priority'];
  return typeof header === 'string' && /^\s*[+-]?\d+\s*$/.test(header) ? Number(header) : request.priority;
}

function generate(context: EmulatorContext, call: Call, parsed: GenerationRequest): void {
  const { options, model, loop, ledger, metrics } = context;
  const request = { ...parsed, priority: priorityOf(call, parsed) };
  const limit = options.maxNumQueuedReqs;
  if (limit !== undefined && loop.size + request.n * request.prompts.length > limit) {
    throw envelope(
      503,
      'Service Unavailable',
      'The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.',
    );
  }
  const header = call.request.headers['x-request-id'];
  const id = (typeof header === 'string' ? header : request.requestId) ?? randomBytes(8).toString('hex');
  const responseId = `${request.kind === 'chat' ? 'chatcmpl' : 'cmpl'}-${id}`;
  const plans = planChoices(request, {
    responseId,
    blockSize: model.blockSize,
    seed: options.seed ?? 0,
    garbage: context.sleep.garbage,
  });
  const entry = ledger.open({
    id: responseId,
    route: call.path,
    stream: request.stream,
    priority: request.priority,
    promptTokens: request.prompts.reduce((sum, prompt) => sum + prompt.tokens, 0),
    arrivedMs: context.clock.nowMs() - context.startedMs,
  });
  const { reply } = call;
  const tracked = options.enableServerLoadTracking ? 1 : 0;
  context.load += tracked;
  const generation = new Generation(
    request,
    { kind: request.kind, id: responseId, created: Math.floor(Date.now() / 1000), model: request.model },
    plans,
    {
      fingerprint: context.fingerprint,
      forceUsage: options.enableForceIncludeUsage ?? false,
      promptTokensDetails: options.enablePromptTokensDetails ?? false,
      perRequestMetrics: options.enablePerRequestMetrics ?? false,
      mergeFrames: (options.timeScale ?? 1) > 1,
      blockSize: model.blockSize,
    },
    {
      startStream: () => reply.startStream(),
      write: (frame) => reply.write(frame),
      endStream: () => reply.endStream(),
      json: (status, body) => reply.json(status, body, status === 200, status === 200 ? orcaHeader(context, call) : []),
      cut: () => reply.cut(),
    },
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
  reply.onAbandoned(() => generation.disconnected());
  generation.start();
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

function modelList({ model, options }: EmulatorContext) {
  const created = Math.floor(Date.now() / 1000);
  return {
    object: 'list',
    data: model.servedModelNames.map((id) => ({
      id,
      object: 'model',
      created,
      owned_by: 'vllm',
      root: options.model,
      parent: null,
      max_model_len: model.maxModelLen,
      permission: [
        {
          id: `modelperm-${randomBytes(8).toString('hex')}`,
          object: 'model_permission',
          created,
          allow_create_engine: false,
          allow_sampling: true,
          allow_logprobs: true,
          allow_search_indices: false,
          allow_view: true,
          allow_fine_tuning: false,
          organization: '*',
          group: null,
          is_blocking: false,
        },
      ],
    })),
  };
}

async function tokenizeEndpoint({ model }: EmulatorContext, call: Call): Promise<void> {
  const fields = readBody(await jsonBody(call));
  const named = fields.string('model');
  const chat = fields.raw('messages') !== undefined;
  const messages = chat ? readMessages(fields) : [];
  const prompt = chat ? '' : (fields.string('prompt') ?? '');
  const strings = fields.bool('return_token_strs') ?? false;
  const generation = fields.bool('add_generation_prompt') ?? true;
  throwIssues(fields);
  judgeModel(named, model);
  const ids = tokenize(chat ? renderChat(messages, fields.raw('tools'), generation) : prompt);
  const tokens = [...ids];
  const body = {
    count: tokens.length,
    max_model_len: model.maxModelLen,
    tokens,
    token_strs: strings ? tokens.map((id) => detokenize([id])) : null,
  };
  call.reply.json(200, JSON.stringify(body));
}

async function detokenizeEndpoint({ model }: EmulatorContext, call: Call): Promise<void> {
  const fields = readBody(await jsonBody(call));
  const named = fields.string('model');
  const tokens = fields.raw('tokens');
  if (!Array.isArray(tokens)) fields.issue('list_type', ['tokens'], 'Input should be a valid list', tokens);
  throwIssues(fields);
  judgeModel(named, model);
  call.reply.json(200, JSON.stringify({ prompt: detokenize(tokens as number[]) }));
}
