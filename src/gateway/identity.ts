import type { IncomingHttpHeaders } from 'node:http';
import type { SloClass } from '../model/stage.js';
import type { ApiKey, TemplateDefaults } from './config.js';
import {
  agentClaim,
  type BodyReader,
  bodyClaim,
  type IdentityClaim,
  maestroClaim,
  mayTell,
  NOTHING,
  pathClaim,
  personClaim,
  routerClaim,
  traceClaim,
} from './identity-claims.js';
import { durationMs } from './identity-values.js';
import { ignoredHeaders } from './ignored-headers.js';
import type { PathIdentity } from './routes.js';

/** Which step of the resolution named the workflow; shown in `x-maestro-identity-source` and counted. */
export const IDENTITY_SOURCES = [
  'maestro-headers',
  'router-headers',
  'agent-headers',
  'body',
  'trace',
  'path',
  'key',
  'content',
  'none',
] as const;
export type IdentitySource = (typeof IDENTITY_SOURCES)[number];

/** Tenant of those who name none. */
export const DEFAULT_TENANT = 'default';

/** Who is calling, as far as the request tells. */
export interface Identity {
  readonly workflowId: string;
  readonly tenant: string;
  readonly template: string;
  readonly role: string;
  readonly agentId: string | undefined;
  readonly parent: string | undefined;
  readonly sloClass: SloClass;
  /** The request asked for a higher class than its key allows. */
  readonly classClamped: boolean;
  /** Duration from the workflow's arrival. */
  readonly deadlineMs: number;
  /** Does the deadline come from the request itself, so that it replaces an earlier one of the workflow? */
  readonly deadlineExplicit: boolean;
  readonly source: IdentitySource;
  /** This call is the last of its workflow. */
  readonly sessionFinal: boolean;
  /** Our own headers that could not be used, see {@link ignoredHeaders}. */
  readonly ignored: readonly string[];
}

export interface IdentityRules {
  readonly classes: readonly SloClass[];
  readonly defaultClass: string;
  readonly templates: Readonly<Record<string, TemplateDefaults>>;
}

export interface IdentityInput {
  /** Name of the workflow where nothing else names one. */
  readonly ownName: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: BodyReader;
  /** Has the body any of the fields of {@link BODY_CLAIM_FIELDS}? */
  readonly bodyMayTell: boolean;
  readonly path: PathIdentity;
  /** The key that the request came with; undefined when none are configured. */
  readonly key: ApiKey | undefined;
  /** Step 8, asked only when nothing before named a workflow: the workflow whose conversation this request continues. */
  readonly continuedWorkflow: (tenant: string) => string | undefined;
  /** Asked only when nothing named a role: a role made from the system prompt. */
  readonly contentRole: () => string | undefined;
}

/**
 * Finds out who is calling. Sources are asked in a fixed order and the first that knows a thing wins; the one that names the workflow is
 * reported. A key is trusted above all: its tenant cannot be overridden and its class is a ceiling.
 */
export function resolveIdentity(input: IdentityInput, rules: IdentityRules): Identity {
  const { headers, key } = input;
  const merged: IdentityClaim = {};
  let source: IdentitySource = 'none';
  const claim = (from: IdentitySource, claimed: IdentityClaim) => {
    if (claimed === NOTHING) return;
    if (merged.workflow === undefined && claimed.workflow !== undefined) source = from;
    merged.workflow ??= claimed.workflow;
    merged.tenant ??= claimed.tenant;
    merged.template ??= claimed.template;
    merged.role ??= claimed.role;
    merged.agentId ??= claimed.agentId;
    merged.parent ??= claimed.parent;
    merged.sloClass ??= claimed.sloClass;
    merged.deadlineMs ??= claimed.deadlineMs;
    merged.sessionFinal ??= claimed.sessionFinal;
  };
  // Each look for a header that is not there costs as much as one that finds something, and most clients send none of forty.
  const headersTell = mayTell(headers);
  if (headersTell) claim('maestro-headers', maestroClaim(headers));
  // Most of our own clients name everything at once; the other sources could then only add what nobody asks for.
  if (merged.workflow === undefined || merged.role === undefined || merged.sloClass === undefined) {
    if (headersTell) {
      claim('router-headers', routerClaim(headers));
      claim('agent-headers', agentClaim(headers));
    }
    if (input.bodyMayTell) claim('body', bodyClaim(input.body));
    if (headersTell) claim('trace', traceClaim(headers));
    claim('path', pathClaim(input.path));
  }
  if (key) claim('key', { workflow: key.workflow, template: key.template });
  if (merged.workflow === undefined) claim('body', personClaim(input.body));
  const tenant = key?.tenant ?? merged.tenant ?? DEFAULT_TENANT;
  if (merged.workflow === undefined) claim('content', { workflow: input.continuedWorkflow(tenant) });
  const template = merged.template ?? 'default';
  const templateDefaults = Object.hasOwn(rules.templates, template) ? rules.templates[template] : undefined;
  const wanted =
    askedClass(rules, merged.sloClass) ??
    tierClass(rules, input.body('service_tier')) ??
    findClass(rules, key?.defaultClass) ??
    findClass(rules, templateDefaults?.class);
  const unclamped = wanted ?? defaultClass(rules);
  const sloClass = clampClass(unclamped, findClass(rules, key?.maxClass));
  return {
    workflowId: merged.workflow ?? input.ownName,
    tenant,
    template,
    role: merged.role ?? input.contentRole() ?? 'default',
    agentId: merged.agentId,
    parent: merged.parent,
    sloClass,
    classClamped: sloClass !== unclamped,
    deadlineMs: merged.deadlineMs ?? defaultDeadlineMs(headers, sloClass, wanted !== undefined, templateDefaults),
    deadlineExplicit: merged.deadlineMs !== undefined,
    source,
    sessionFinal: merged.sessionFinal === true,
    ignored: ignoredHeaders(headers, (name) => askedClass(rules, name) !== undefined),
  };
}

/**
 * The deadline of a workflow that names none: of its template, else of its class. A client that gives up earlier (the SDK's timeout header)
 * shortens that of a class which nobody asked for: after it, an answer is of no use.
 */
function defaultDeadlineMs(
  headers: IncomingHttpHeaders,
  sloClass: SloClass,
  classExplicit: boolean,
  template: TemplateDefaults | undefined,
): number {
  if (template?.deadlineMs !== undefined) return template.deadlineMs;
  if (classExplicit) return sloClass.deadlineMs;
  const clientMs =
    durationMs(headers['x-stainless-read-timeout'], 1000) ??
    durationMs(headers['x-stainless-timeout'], 1000) ??
    durationMs(headers['x-litellm-timeout'], 1000);
  return Math.min(sloClass.deadlineMs, clientMs ?? Number.POSITIVE_INFINITY);
}

function findClass(rules: IdentityRules, name: string | undefined): SloClass | undefined {
  return name === undefined ? undefined : rules.classes.find((candidate) => candidate.name === name);
}

/** A class by its name, else by its kind, so that clients who know `interactive` and `batch` alone get what they mean. */
function askedClass(rules: IdentityRules, name: string | undefined): SloClass | undefined {
  const named = findClass(rules, name);
  if (named || (name !== 'interactive' && name !== 'batch')) return named;
  const usual = defaultClass(rules);
  return usual.kind === name ? usual : rules.classes.find(({ kind }) => kind === name);
}

function defaultClass(rules: IdentityRules): SloClass {
  const found = findClass(rules, rules.defaultClass) ?? rules.classes[0];
  if (!found) throw new Error('resolveIdentity: no SLO class is configured');
  return found;
}

/** OpenAI's `service_tier`: `flex` is cheap and slow, `priority` is dear and fast; the others say nothing. */
function tierClass(rules: IdentityRules, tier: unknown): SloClass | undefined {
  const kind = tier === 'flex' ? 'batch' : tier === 'priority' ? 'interactive' : undefined;
  return kind && rules.classes.find((candidate) => candidate.kind === kind);
}

/** Classes are ranked by kind, then by weight. */
function clampClass(wanted: SloClass, ceiling: SloClass | undefined): SloClass {
  if (!ceiling) return wanted;
  const rank = (sloClass: SloClass) => (sloClass.kind === 'interactive' ? 1e9 : 0) + sloClass.weight;
  return rank(wanted) > rank(ceiling) ? ceiling : wanted;
}
