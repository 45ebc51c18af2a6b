import { PAGE_FILES } from '../observe/live-page.js';
import { isIdentityValue, ownText } from './identity-values.js';
import type { MessageList } from './json-scan.js';

/** Whose API a route speaks: it decides how streams end, where usage stands and what errors look like. */
export type ApiDialect = 'openai' | 'responses' | 'anthropic';

/** What a generating route needs to know of its API: where things stand in requests and answers. */
export interface InferenceRoute {
  readonly kind: 'inference';
  /** Label in metrics. */
  readonly name: (typeof INFERENCE_ROUTE_NAMES)[number];
  readonly dialect: ApiDialect;
  /** Path on the engine. */
  readonly upstreamPath: string;
  /** Field that holds the prompt. */
  readonly promptField: 'messages' | 'prompt' | 'input';
  /** Field that holds the conversation as a list: the prompt, or none. */
  readonly messageList: MessageList;
  /** Our order goes in a header, because vLLM drops a `priority` in the body: it makes a chat request of its own out of such a body. */
  readonly priorityHeader: boolean;
  /** May the answer be a stream? */
  readonly streams: boolean;
  /** Fields that bound the output, the first present one counts. */
  readonly tokenLimitFields: readonly ('max_completion_tokens' | 'max_tokens' | 'max_output_tokens')[];
  /** Output bound when the request has none; undefined: what is left of the context. Source: vLLM's protocol defaults. */
  readonly defaultMaxTokens: number | undefined;
}

/** Routes that the gateway answers itself. */
export interface LocalRoute {
  readonly kind: 'local';
  readonly name:
    | 'models'
    | 'model'
    | 'health'
    | 'livez'
    | 'readyz'
    | 'metrics'
    | 'explain'
    | 'identity'
    | 'fleet'
    | 'page';
  /** Asks for an API key, when keys are configured. */
  readonly authenticated: boolean;
}

/** A response that an engine keeps: goes to the engine that has it. */
export interface StoredRoute {
  readonly kind: 'stored';
  readonly action: 'get' | 'cancel';
}

export type Route = InferenceRoute | LocalRoute | StoredRoute;

interface RouteEntry {
  readonly method: 'GET' | 'POST';
  readonly route: Route;
}

function inference(route: Omit<InferenceRoute, 'kind' | 'messageList' | 'priorityHeader'>): RouteEntry {
  const messageList = route.dialect === 'responses' ? 'input' : route.promptField === 'messages' ? 'messages' : 'none';
  const priorityHeader = route.dialect === 'anthropic';
  return { method: 'POST', route: { kind: 'inference', messageList, priorityHeader, ...route } };
}

function local(name: LocalRoute['name'], authenticated: boolean): RouteEntry {
  return { method: 'GET', route: { kind: 'local', name, authenticated } };
}

/** Every path that is served. Nothing is forwarded by prefix: an engine endpoint that is not here cannot be reached. */
const EXACT = new Map<string, RouteEntry>([
  [
    '/v1/chat/completions',
    inference({
      name: 'chat',
      dialect: 'openai',
      upstreamPath: '/v1/chat/completions',
      promptField: 'messages',
      streams: true,
      tokenLimitFields: ['max_completion_tokens', 'max_tokens'],
      defaultMaxTokens: undefined,
    }),
  ],
  [
    '/v1/completions',
    inference({
      name: 'completions',
      dialect: 'openai',
      upstreamPath: '/v1/completions',
      promptField: 'prompt',
      streams: true,
      tokenLimitFields: ['max_tokens'],
      defaultMaxTokens: 16,
    }),
  ],
  [
    '/v1/embeddings',
    inference({
      name: 'embeddings',
      dialect: 'openai',
      upstreamPath: '/v1/embeddings',
      promptField: 'input',
      streams: false,
      tokenLimitFields: [],
      defaultMaxTokens: 0,
    }),
  ],
  [
    '/v1/responses',
    inference({
      name: 'responses',
      dialect: 'responses',
      upstreamPath: '/v1/responses',
      promptField: 'input',
      streams: true,
      tokenLimitFields: ['max_output_tokens'],
      defaultMaxTokens: undefined,
    }),
  ],
  [
    '/v1/messages',
    inference({
      name: 'messages',
      dialect: 'anthropic',
      upstreamPath: '/v1/messages',
      promptField: 'messages',
      streams: true,
      tokenLimitFields: ['max_tokens'],
      defaultMaxTokens: undefined,
    }),
  ],
  [
    // Counts tokens and generates none; it still takes a turn, for the engine tokenises on the same threads.
    '/v1/messages/count_tokens',
    inference({
      name: 'count_tokens',
      dialect: 'anthropic',
      upstreamPath: '/v1/messages/count_tokens',
      promptField: 'messages',
      streams: false,
      tokenLimitFields: [],
      defaultMaxTokens: 0,
    }),
  ],
  ['/v1/models', local('models', true)],
  ['/health', local('health', false)],
  ['/livez', local('livez', false)],
  ['/readyz', local('readyz', false)],
  ['/metrics', local('metrics', false)],
  ['/v1/maestro/identity', local('identity', true)],
  ['/v1/maestro/fleet', local('fleet', true)],
  ...[...PAGE_FILES.keys()].map((path): [string, RouteEntry] => [path, local('page', false)]),
]);

/** Paths whose rest is a parameter. A model id may hold slashes, a request id may not. */
const WITH_PARAMETER = [
  { prefix: '/v1/models/', entry: local('model', true), pattern: /^[A-Za-z0-9][A-Za-z0-9._:@+/-]{0,255}$/ },
  { prefix: '/v1/maestro/requests/', entry: local('explain', true), pattern: /^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$/ },
] as const;

const GET_STORED: RouteEntry = { method: 'GET', route: { kind: 'stored', action: 'get' } };
const CANCEL_STORED: RouteEntry = { method: 'POST', route: { kind: 'stored', action: 'cancel' } };

/** Names of the generating routes, for metric labels. */
export const INFERENCE_ROUTE_NAMES = [
  'chat',
  'completions',
  'embeddings',
  'responses',
  'messages',
  'count_tokens',
] as const;

/** Identity that the URL carries: `/w/{workflow}[/a/{agent}]/v1/…`. */
export interface PathIdentity {
  readonly workflow?: string;
  readonly agent?: string;
}

export type RouteMatch =
  | { readonly kind: 'route'; readonly route: Route; readonly parameter: string; readonly identity: PathIdentity }
  | { readonly kind: 'method-not-allowed'; readonly allow: string; readonly isOptions: boolean }
  | { readonly kind: 'not-found' };

const NOT_FOUND: RouteMatch = { kind: 'not-found' };
const NO_IDENTITY: PathIdentity = {};

/**
 * The route of a request target. The path is taken apart once, here, and never again: no dot segments, no empty segments, no
 * absolute-form targets, escapes only where a parameter stands.
 */
export function matchRoute(method: string, target: string): RouteMatch {
  const question = target.indexOf('?');
  let path = question < 0 ? target : target.slice(0, question);
  let identity = NO_IDENTITY;
  if (path.startsWith('/w/')) {
    const parts = /^\/w\/([^/]+)(?:\/a\/([^/]+))?(\/v1\/.+)$/.exec(path);
    const workflow = decodeParameter(parts?.[1]);
    const agent = decodeParameter(parts?.[2]);
    if (!parts || workflow === undefined || !isIdentityValue(workflow)) return NOT_FOUND;
    if (parts[2] !== undefined && (agent === undefined || !isIdentityValue(agent))) return NOT_FOUND;
    identity = { workflow: ownText(workflow), ...(agent === undefined ? {} : { agent: ownText(agent) }) };
    path = parts[3]!;
  }
  const exact = EXACT.get(path);
  if (exact) return answerTo(method, exact, '', identity);
  const stored = /^\/v1\/responses\/([A-Za-z0-9][A-Za-z0-9._:@-]{0,127})(\/cancel)?$/.exec(path);
  if (stored) return answerTo(method, stored[2] ? CANCEL_STORED : GET_STORED, stored[1]!, identity);
  for (const { prefix, entry, pattern } of WITH_PARAMETER) {
    if (!path.startsWith(prefix)) continue;
    const parameter = decodeParameter(path.slice(prefix.length));
    if (parameter === undefined || !pattern.test(parameter) || /(^|\/)\.{0,2}(\/|$)/.test(parameter)) return NOT_FOUND;
    return answerTo(method, entry, parameter, identity);
  }
  return NOT_FOUND;
}

function answerTo(method: string, entry: RouteEntry, parameter: string, identity: PathIdentity): RouteMatch {
  if (method === entry.method || (method === 'HEAD' && entry.method === 'GET')) {
    return { kind: 'route', route: entry.route, parameter, identity };
  }
  const allow = entry.method === 'GET' ? 'GET, HEAD, OPTIONS' : 'POST, OPTIONS';
  return { kind: 'method-not-allowed', allow, isOptions: method === 'OPTIONS' };
}

function decodeParameter(text: string | undefined): string | undefined {
  if (text === undefined || !text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
