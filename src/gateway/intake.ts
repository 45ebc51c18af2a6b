import type { ServedModel } from '../bus/contract.js';
import { MaestroError } from '../model/error.js';
import { LruMap } from '../model/lru-map.js';
import type { Stage } from '../model/stage.js';
import type { ClientRequest } from './client-answer.js';
import type { ApiKey } from './config.js';
import type { GatewayContext } from './context.js';
import { type Identity, resolveIdentity } from './identity.js';
import { BODY_CLAIM_FIELDS } from './identity-claims.js';
import { type BodyScan, scanBody } from './json-scan.js';
import { lastMessageGrams } from './last-text.js';
import { PromptHashes } from './prompt-hashes.js';
import { decodeField, messageKind, type RequestFields, readFields } from './request-fields.js';
import type { ResponseHome } from './response-homes.js';
import { RollingHash } from './rolling-hash.js';
import type { InferenceRoute, PathIdentity } from './routes.js';
import { systemField, systemPrompt } from './system-prompt.js';
import { tenantSalt } from './tenant-salt.js';
import { TOKENS_PER_MEDIA } from './token-estimate.js';

/** A request that was understood: what the levels need to know, and what is needed to send it on. */
export interface Intake {
  readonly body: Buffer;
  /** The buffer at whose beginning the body lies; what follows it there is free. */
  readonly room: Buffer;
  readonly scan: BodyScan;
  readonly fields: RequestFields;
  readonly identity: Identity;
  readonly stage: Stage;
  /** Takes the place of the client's `cache_salt`, if any; undefined where that is left alone. */
  readonly cacheSalt: string | undefined;
  /** Fields that the parameter rules of the model have changed, and how, for the answer's headers. */
  readonly changed: string | undefined;
}

export interface IntakeRequest {
  readonly requestId: string;
  readonly req: ClientRequest;
  readonly route: InferenceRoute;
  readonly path: PathIdentity;
  readonly key: ApiKey | undefined;
  readonly arrivalMs: number;
}

/** System prompts are told apart by so many of their first bytes: what is stable comes first, dates and user names later. */
const ROLE_PROMPT_BYTES = 1024;

/** No answer is longer. Where nobody says how long a context may be, and a client asks for any length, what is counted of requests stays finite. */
const MOST_OUTPUT_TOKENS = 2 ** 20;

/** Understands a whole request body. Throws a MaestroError that the client can act on. */
export function takeIn(context: GatewayContext, request: IntakeRequest, sent: Buffer, sentRoom: Buffer): Intake {
  const { config, scheduling } = context;
  const { route } = request;
  let [body, room] = [sent, sentRoom];
  let scan = scanBody(body, config.maxJsonDepth, route.messageList);
  let fields = readFields(body, scan, route, config.maxChoices);
  const model = scheduling.resolveModel(fields.model);
  if (!model) throw unknownModel(fields.model, scheduling.models());
  const modelName = model.base ?? model.name;
  const adapter = model.base === undefined ? undefined : model.name;
  const governed = context.policies.of(modelName, adapter)?.apply(body, room, scan.closeOffset, route);
  if (governed) {
    ({ body, room } = governed);
    scan = scanBody(body, config.maxJsonDepth, route.messageList);
    fields = readFields(body, scan, route, config.maxChoices);
  }
  const home = continuedHome(context, request, body, scan);
  const hashes = new PromptHashes(body, scan.fields[route.promptField]!, systemField(body, scan), scan.messageOffsets);
  const identity = identify(context, request, body, scan, home, hashes);
  context.metrics.identityResolved(identity.source, identity.classClamped);
  const promptTokens =
    fields.promptTokens ?? context.tokens.estimate(modelName, fields.promptBytes) + scan.mediaCount * TOKENS_PER_MEDIA;
  const contextRoom = Math.max(1, Math.min(model.maxModelLen - promptTokens, MOST_OUTPUT_TOKENS));
  const { features } = fields;
  features.lastMessageTokens = context.tokens.estimate(modelName, fields.lastMessageBytes);
  if (config.readsText) features.textGrams = lastMessageGrams(body, scan);
  const stage: Stage = {
    stageId: request.requestId,
    workflowId: identity.workflowId,
    tenant: identity.tenant,
    template: identity.template,
    role: identity.role,
    model: modelName,
    adapter,
    sloClass: identity.sloClass.name,
    arrivalMs: request.arrivalMs,
    deadlineMs: context.workflows.deadlineAtMs(identity, request.arrivalMs),
    weight: identity.sloClass.weight,
    promptTokens,
    promptTokensExact: fields.promptTokens !== undefined,
    maxTokens: Math.min(fields.maxTokens ?? contextRoom, contextRoom),
    bodyBytes: body.length,
    prefixHashes:
      route.name === 'embeddings' ? [] : hashes.prefixes(() => prefixSeed(body, scan, identity.tenant, model.name)),
    features,
    // All of them in any case: objects of one shape are read several times as fast.
    finalStage: identity.sessionFinal ? true : undefined,
    onlyEngineId: home?.start.engineId,
    outputLimited: fields.maxTokens === undefined ? undefined : true,
    choices: fields.choices > 1 ? fields.choices : undefined,
  };
  const cacheSalt = config.isolateTenants ? tenantSalt(identity.tenant, body, scan, route) : undefined;
  return { body, room, scan, fields, identity, stage, cacheSalt, changed: governed?.changed };
}

/**
 * Checks the header fields that decide before a body is read; returns the length of the body as announced, 0 when it is not. Throws
 * `unsupported_media_type` or `body_too_large`.
 */
export function checkHeaders(req: ClientRequest, bodyLimitBytes: number): number {
  const { headers } = req;
  const contentType = headers['content-type'];
  if (contentType !== undefined && !/^application\/(?:[\w.+-]+\+)?json\s*(;|$)/i.test(contentType)) {
    throw new MaestroError('unsupported_media_type', 'Send the body as "Content-Type: application/json".');
  }
  const encoding = headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new MaestroError('unsupported_media_type', 'Send the body without a Content-Encoding.');
  }
  const bytes = Number(headers['content-length'] ?? 0);
  if (bytes > bodyLimitBytes) throw bodyTooLarge(bodyLimitBytes);
  return bytes;
}

export function bodyTooLarge(bodyLimitBytes: number): MaestroError {
  return new MaestroError('body_too_large', `The request body is larger than ${bodyLimitBytes} bytes.`);
}

function unknownModel(name: string, models: readonly ServedModel[]): MaestroError {
  if (models.length === 0) {
    // Engines named by their URL alone tell their models when they first answer.
    return new MaestroError('no_engine', 'No engine has answered yet, so no model can be served.', {
      retryAfterMs: 1000,
    });
  }
  const names = models.flatMap((model) => [model.name, ...model.aliases]);
  const shown = names.slice(0, 20).join(', ') + (names.length > 20 ? ', …' : '');
  return new MaestroError('model_not_found', `The model "${name}" is not served here. Served: ${shown}.`, {
    param: 'model',
  });
}

/**
 * Where the response is that this request continues. With keys, one that is not known to be the caller's is refused: the engine that has it would
 * continue anybody's. Without, all callers are one, and an engine may well know a response that is forgotten here.
 */
function continuedHome(
  context: GatewayContext,
  request: IntakeRequest,
  body: Buffer,
  scan: BodyScan,
): ResponseHome | undefined {
  const previous = decodeField(body, scan, 'previous_response_id');
  if (typeof previous !== 'string') return undefined;
  const home = context.responses.find(previous, request.key?.tenant);
  if (!home && request.key) {
    throw new MaestroError('not_found', `No response with id '${previous.slice(0, 128)}' is known here.`, {
      param: 'previous_response_id',
    });
  }
  return home;
}

function identify(
  context: GatewayContext,
  request: IntakeRequest,
  body: Buffer,
  scan: BodyScan,
  home: ResponseHome | undefined,
  hashes: PromptHashes,
): Identity {
  const { config, scheduling } = context;
  // One string, so that it is put together, hashed and kept once.
  const ownName = `auto-${request.requestId}`;
  return resolveIdentity(
    {
      ownName,
      headers: request.req.headers,
      body: (field) => decodeField(body, scan, field),
      bodyMayTell: BODY_CLAIM_FIELDS.some((field) => scan.fields[field] !== undefined),
      path: request.path,
      key: request.key,
      continuedWorkflow: (tenant) =>
        home?.workflowId ??
        context.conversations.resolve(
          tenant,
          scan.messageOffsets.length / 2,
          hashes,
          (index) => messageKind(body, scan, index) === 'assistant',
          ownName,
        ),
      contentRole: () => roleOfSystemPrompt(body, scan),
    },
    { classes: scheduling.classes(), defaultClass: config.defaultClass, templates: config.templates },
  );
}

/** One system prompt, one agent role; the name is made from a hash of its beginning. */
function roleOfSystemPrompt(body: Buffer, scan: BodyScan): string | undefined {
  const prompt = systemPrompt(body, scan);
  if (!prompt) return undefined;
  const hash = new RollingHash();
  hash.update(body, prompt.start, Math.min(prompt.end, prompt.start + ROLE_PROMPT_BYTES));
  return roleName(hash.value());
}

/** The same string for the same prompt: names are compared many times on the way of a request, which then is a comparison of addresses. */
const roleNames = new LruMap<number, string>(1024);

function roleName(hash: number): string {
  let name = roleNames.get(hash);
  if (name === undefined) {
    name = `prompt-${hash}`;
    roleNames.set(hash, name);
  }
  return name;
}

/** Prefixes are shared only within one tenant, model, `cache_salt` and set of tools, as in the engines' own prefix caches. */
function prefixSeed(body: Buffer, scan: BodyScan, tenant: string, model: string): RollingHash {
  const seed = new RollingHash();
  seed.updateText(`${tenant}\n${model}`);
  const { tools, cache_salt: salt } = scan.fields;
  if (salt) seed.update(body, salt.start, salt.end);
  if (tools) seed.update(body, tools.start, tools.end);
  return seed;
}
