import { randomBytes } from 'node:crypto';
import type { EmulatorContext } from './context.js';
import { embeddingsEndpoint } from './embeddings.js';
import { generate } from './generate-endpoint.js';
import type { GenerationRequest, RequestContext } from './generation-request.js';
import type { Call, Handler, Routes } from './http.js';
import { envelope } from './http-error.js';
import { jsonBody } from './json-body.js';
import { judgeModel, throwIssues } from './judge.js';
import { countMessageTokens, parseMessagesRequest } from './messages-request.js';
import { parseChatRequest, parseCompletionRequest, readBody, readMessages } from './request.js';
import { ResponseStore } from './response-store.js';
import { notCancellable, parseResponsesRequest, responseNotFound } from './responses-request.js';
import { detokenize, renderChat, tokenize } from './tokens.js';

/** Endpoints that a server has with and without development mode. */
export function apiRoutes(context: EmulatorContext): Routes {
  const { options, model, metrics, loop, adapters } = context;
  const empty: Handler = ({ reply }) => reply.empty();
  const routes = new Map<string, Record<string, Handler>>([
    ['/health', { GET: empty }],
    ['/ping', { GET: empty, POST: empty }],
    ['/version', { GET: ({ reply }) => reply.json(200, JSON.stringify({ version: context.version })) }],
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
    get servedModelNames() {
      return adapters.names.length === 0 ? model.servedModelNames : [...model.servedModelNames, ...adapters.names];
    },
    maxModelLen: model.maxModelLen,
    autoToolChoice: options.enableAutoToolChoice ?? false,
    toolParser: Boolean(options.toolCallParser),
    version: context.version,
  };
  const store = new ResponseStore(options.responsesStore ?? false);
  const chat: Handler = async (call) => generate(context, call, parseChatRequest(await jsonBody(call), requestContext));
  routes.set('/v1/chat/completions', { POST: chat });
  routes.set('/invocations', { POST: chat });
  routes.set('/v1/completions', {
    POST: async (call) => generate(context, call, parseCompletionRequest(await jsonBody(call), requestContext)),
  });
  routes.set('/v1/responses', {
    POST: async (call) => {
      const {
        generation,
        echo,
        store: kept,
        messages,
      } = parseResponsesRequest(await jsonBody(call), requestContext, store);
      const onBody = (id: string, body: string) => kept && store.keep(id, messages, body);
      generate(context, call, generation, { echo, onBody });
    },
  });
  routes.set('/v1/responses/{id}', { GET: (call) => storedResponse(store, call) });
  routes.set('/v1/responses/{id}/cancel', {
    POST: ({ parameter = '' }) => {
      throw store.body(parameter) === undefined ? responseNotFound(parameter) : notCancellable();
    },
  });
  routes.set('/v1/messages', {
    POST: async (call) => generate(context, call, parseMessagesRequest(await jsonBody(call), requestContext)),
  });
  routes.set('/v1/messages/count_tokens', {
    POST: async (call) => {
      const tokens = countMessageTokens(await jsonBody(call), requestContext);
      const body = { input_tokens: tokens, context_management: { original_input_tokens: tokens } };
      call.reply.json(200, JSON.stringify(body));
    },
  });
  routes.set('/v1/chat/completions/render', {
    POST: async (call) => {
      refuseScaleOut(context);
      call.reply.json(200, JSON.stringify(rendered(parseChatRequest(await jsonBody(call), requestContext), 0)));
    },
  });
  routes.set('/v1/completions/render', {
    POST: async (call) => {
      refuseScaleOut(context);
      const request = parseCompletionRequest(await jsonBody(call), requestContext);
      call.reply.json(200, JSON.stringify(request.prompts.map((_, index) => rendered(request, index))));
    },
  });
  return routes;
}

function storedResponse(store: ResponseStore, { parameter = '', reply }: Call): void {
  const body = store.body(parameter);
  if (body === undefined) throw responseNotFound(parameter);
  reply.json(200, body);
}

/** From 0.32 on, endpoints for splitting a server in parts must be asked for. */
function refuseScaleOut({ version, options }: EmulatorContext): void {
  if (version === '0.29.0' || options.enableScaleOut) return;
  throw envelope(
    403,
    'PermissionDeniedError',
    'Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them.',
  );
}

/** What a router asks for to hash the prompt as the engine will see it. */
function rendered(request: GenerationRequest, index: number) {
  const prefix = request.kind === 'chat' ? 'chatcmpl' : 'cmpl';
  return {
    request_id: `${prefix}-${request.requestId ?? randomBytes(8).toString('hex')}`,
    token_ids: [...request.prompts[index]!.ids],
    assistant_tokens_mask: null,
    token_offsets: null,
    features: null,
    content_parts: null,
    sampling_params: {
      presence_penalty: 0,
      frequency_penalty: 0,
      repetition_penalty: 1,
      temperature: 0.9,
      top_p: 0.95,
      min_p: 0,
      stop: request.stop,
      stop_token_ids: [],
      max_tokens: request.maxTokens,
      output_kind: 2,
      skip_clone: true,
      bad_words: [],
      skip_reading_prefix_cache: false,
    },
    model: request.model,
    stream: request.stream,
    stream_options: null,
    cache_salt: request.cacheSalt ?? null,
    priority: request.priority,
    kv_transfer_params: null,
    ec_transfer_params: null,
  };
}

function modelList({ model, options, adapters }: EmulatorContext) {
  const created = Math.floor(Date.now() / 1000);
  const entry = (id: string, root: string, parent: string | null) => ({
    id,
    object: 'model',
    created,
    owned_by: 'vllm',
    root,
    parent,
    max_model_len: parent === null ? model.maxModelLen : null,
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
  });
  return {
    object: 'list',
    data: [
      ...model.servedModelNames.map((id) => entry(id, options.model, null)),
      ...adapters.names.map((id) => entry(id, adapters.pathOf(id)!, model.servedModelNames[0]!)),
    ],
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
