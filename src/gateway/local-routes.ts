import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ServedModel } from '../bus/contract.js';
import { MaestroError } from '../model/error.js';
import { PAGE_FILES, PAGE_HEADERS } from '../observe/live-page.js';
import { sendError, sendJson, sendText } from './answers.js';
import type { ApiKey } from './config.js';
import type { GatewayContext } from './context.js';
import { type Identity, resolveIdentity } from './identity.js';
import type { LocalRoute, PathIdentity } from './routes.js';

export interface LocalRequest {
  readonly route: LocalRoute;
  readonly parameter: string;
  readonly path: PathIdentity;
  readonly requestId: string;
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly draining: boolean;
}

/** When this process began to serve, seconds since 1970: the `created` of its models. */
const CREATED_S = Math.floor(Date.now() / 1000);

/** Answers a route that needs no engine. Throws a MaestroError for the caller to send. */
export function answerLocally(context: GatewayContext, request: LocalRequest): void {
  const { route, parameter, res, req } = request;
  const { scheduling } = context;
  const key = route.authenticated ? context.keys.authenticate(req.headers) : undefined;
  const headers = ['x-request-id', request.requestId];
  switch (route.name) {
    case 'models':
      sendJson(res, 200, { object: 'list', data: scheduling.models().flatMap(modelEntries) }, headers);
      break;
    case 'model':
      sendJson(res, 200, modelEntry(scheduling.models(), parameter), headers);
      break;
    case 'health':
    case 'livez':
      sendJson(res, 200, { status: 'ok' }, headers);
      break;
    case 'readyz': {
      const { ready, reason } = request.draining
        ? { ready: false, reason: 'this gateway is closing' }
        : scheduling.readiness();
      if (ready) sendJson(res, 200, { status: 'ready' }, headers);
      else sendJson(res, 503, { status: 'not ready', reason }, [...headers, 'retry-after', '1']);
      break;
    }
    case 'metrics':
      sendMetrics(context, res, headers);
      break;
    case 'explain': {
      // With keys, a tenant sees its own requests only.
      const record = scheduling.explain(parameter, key?.tenant);
      if (!record) {
        throw new MaestroError('not_found', 'No such request is remembered here; only the most recent ones are.');
      }
      sendJson(res, 200, record, headers);
      break;
    }
    case 'page': {
      const { contentType, text } = PAGE_FILES.get(req.url!.split('?')[0]!)!;
      sendText(res, 200, contentType, text, [...headers, ...PAGE_HEADERS]);
      break;
    }
    case 'fleet':
      sendJson(res, 200, scheduling.fleet(), headers);
      break;
    case 'identity': {
      const identity = identityOf(context, request, key);
      sendJson(res, 200, { ...identity, sloClass: identity.sloClass.name }, headers);
    }
  }
}

/** What would be understood of an inference request without a body that came in this way. */
function identityOf(
  context: GatewayContext,
  { requestId, req, path }: LocalRequest,
  key: ApiKey | undefined,
): Identity {
  return resolveIdentity(
    {
      ownName: `auto-${requestId}`,
      headers: req.headers,
      body: () => undefined,
      bodyMayTell: false,
      path,
      key,
      continuedWorkflow: () => undefined,
      contentRole: () => undefined,
    },
    { ...context.config, classes: context.scheduling.classes() },
  );
}

function modelEntry(models: readonly ServedModel[], wanted: string) {
  const entry = models.flatMap(modelEntries).find(({ id }) => id === wanted);
  if (entry) return entry;
  const message = 'This model is not served here; GET /v1/models lists those that are.';
  throw new MaestroError('model_not_found', message, { param: 'model' });
}

/** One entry for a model's own name and one for each alias. */
function modelEntries(model: ServedModel) {
  return [model.name, ...model.aliases].map((id) => ({
    id,
    object: 'model',
    created: CREATED_S,
    owned_by: 'maestro',
    root: model.name,
    parent: model.base ?? null,
    max_model_len: model.maxModelLen,
  }));
}

function sendMetrics(context: GatewayContext, res: ServerResponse, headers: readonly string[]): void {
  const { registry } = context.metrics;
  registry
    .metrics()
    .then((text) => sendText(res, 200, registry.contentType, text, headers))
    .catch((thrown: unknown) => {
      context.logger.error({ err: thrown }, 'metrics failed');
      sendError(res, MaestroError.from(thrown), headers);
    });
}
