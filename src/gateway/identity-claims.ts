import type { IncomingHttpHeaders } from 'node:http';
import { objectOf, parseJson } from '../model/json.js';
import { durationMs, identityValue } from './identity-values.js';
import type { PathIdentity } from './routes.js';
import type { WantedField } from './wanted-fields.js';

/** What one source says about who is calling. Every field is optional; the first source that has it wins. */
export interface IdentityClaim {
  workflow?: string | undefined;
  tenant?: string | undefined;
  template?: string | undefined;
  role?: string | undefined;
  agentId?: string | undefined;
  parent?: string | undefined;
  sloClass?: string | undefined;
  /** From the workflow's arrival. */
  deadlineMs?: number | undefined;
  sessionFinal?: boolean | undefined;
}

/** Said by a source that has nothing to say. */
export const NOTHING: IdentityClaim = Object.freeze({});

/** Decodes a top-level field of the body on demand; undefined when absent. */
export type BodyReader = (field: WantedField) => unknown;

function header(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? identityValue(value) : undefined;
}

function firstHeader(headers: IncomingHttpHeaders, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = header(headers, name);
    if (value !== undefined) return value;
  }
  return undefined;
}

function isTruthy(value: unknown): boolean {
  return value === '1' || value === 'true';
}

/** Session headers that agents and load generators send on their own, most specific first. */
const SESSION_HEADERS = [
  'x-session-id',
  'session-id',
  'session_id',
  'x-session-affinity',
  'x-correlation-id',
  'x-smg-routing-key',
  'x-ms-session-id',
] as const;

/** All headers that steps 1, 2, 3 and 5 look at. */
const CLAIM_HEADERS: ReadonlySet<string> = new Set([
  'x-maestro-agent',
  'x-maestro-workflow',
  'x-maestro-tenant',
  'x-maestro-template',
  'x-maestro-role',
  'x-maestro-parent',
  'x-maestro-class',
  'x-maestro-deadline-ms',
  'x-maestro-session-final',
  'x-dynamo-session-id',
  'x-dynamo-parent-session-id',
  'x-dynamo-session-final',
  'x-llm-d-inference-fairness-id',
  'x-gateway-inference-fairness-id',
  'x-llm-d-inference-objective',
  'x-gateway-inference-objective',
  'x-claude-code-session-id',
  'x-claude-code-agent-id',
  'x-claude-code-parent-agent-id',
  ...SESSION_HEADERS,
  'x-parent-session-id',
  'langsmith-trace',
  'baggage',
  'traceparent',
]);

/** Is there any header from which {@link maestroClaim}, {@link routerClaim}, {@link agentClaim} or {@link traceClaim} could learn something? */
export function mayTell(headers: IncomingHttpHeaders): boolean {
  for (const name in headers) if (CLAIM_HEADERS.has(name)) return true;
  return false;
}

/** Step 1: our own headers. */
export function maestroClaim(headers: IncomingHttpHeaders): IdentityClaim {
  const agentId = header(headers, 'x-maestro-agent');
  return {
    workflow: header(headers, 'x-maestro-workflow'),
    tenant: header(headers, 'x-maestro-tenant'),
    template: header(headers, 'x-maestro-template'),
    role: header(headers, 'x-maestro-role') ?? agentId,
    agentId,
    parent: header(headers, 'x-maestro-parent'),
    sloClass: header(headers, 'x-maestro-class'),
    deadlineMs: durationMs(headers['x-maestro-deadline-ms'], 1),
    sessionFinal: isTruthy(headers['x-maestro-session-final']) || undefined,
  };
}

/**
 * Step 2: headers of other routers (Dynamo, llm-d, the Gateway API inference extension). A Dynamo sub-agent has a session of its own
 * and names its parent's: the parent's is the workflow. A fairness id names who shares the fleet, which is our tenant.
 */
export function routerClaim(headers: IncomingHttpHeaders): IdentityClaim {
  const session = header(headers, 'x-dynamo-session-id');
  const parent = header(headers, 'x-dynamo-parent-session-id');
  return {
    workflow: parent ?? session,
    agentId: parent === undefined ? undefined : session,
    parent,
    tenant: firstHeader(headers, ['x-llm-d-inference-fairness-id', 'x-gateway-inference-fairness-id']),
    sloClass: firstHeader(headers, ['x-llm-d-inference-objective', 'x-gateway-inference-objective']),
    sessionFinal: isTruthy(headers['x-dynamo-session-final']) || undefined,
  };
}

/** Step 3: native headers of agents: Claude Code, OpenCode, Codex, AIPerf, Azure OpenAI, LangSmith. */
export function agentClaim(headers: IncomingHttpHeaders): IdentityClaim {
  const claudeSession = header(headers, 'x-claude-code-session-id');
  if (claudeSession !== undefined) {
    return {
      workflow: claudeSession,
      template: 'claude-code',
      agentId: header(headers, 'x-claude-code-agent-id'),
      parent: header(headers, 'x-claude-code-parent-agent-id'),
    };
  }
  const session = firstHeader(headers, SESSION_HEADERS);
  const parent = header(headers, 'x-parent-session-id');
  if (session !== undefined) {
    return { workflow: parent ?? session, agentId: parent === undefined ? undefined : session, parent };
  }
  // A LangSmith dotted order is `<root>.<child>…`; the root is the run.
  const trace = headers['langsmith-trace'];
  return { workflow: typeof trace === 'string' ? identityValue(trace.split('.', 1)[0]) : undefined };
}

/** Top-level fields of a body that {@link bodyClaim} reads. */
export const BODY_CLAIM_FIELDS = [
  'metadata',
  'nvext',
  'vllm_xargs',
  'prompt_cache_key',
  'session_id',
] as const satisfies readonly WantedField[];

/** Step 4: the body. `user` and `safety_identifier` name a person rather than a run; see {@link personClaim}. */
export function bodyClaim(read: BodyReader): IdentityClaim {
  const metadata = objectOf(read('metadata'));
  const nvext = objectOf(read('nvext'));
  const hints = { ...objectOf(nvext['agent_context']), ...objectOf(nvext['agent_hints']) };
  const context = agenticContext(objectOf(read('vllm_xargs'))['agentic_context']);
  return {
    workflow:
      pick(metadata, ['workflow', 'workflow_id', 'run_id', 'session_id', 'conversation_id', 'thread_id', 'trace_id']) ??
      pick(context, ['task_id', 'task', 'session_id', 'session', 'program_id', 'program']) ??
      pick(hints, ['session_id', 'trajectory_id', 'workflow_id']) ??
      identityValue(read('prompt_cache_key')) ??
      identityValue(read('session_id')),
    template:
      pick(metadata, ['template', 'workflow_name', 'application', 'app']) ??
      pick(context, ['workflow_type', 'workflow_profile_id']),
    role:
      pick(metadata, ['role', 'agent', 'agent_name', 'langgraph_node']) ??
      pick(context, ['agent_role', 'role']) ??
      pick(hints, ['agent_role', 'role']),
    agentId: pick(metadata, ['agent_id']) ?? pick(context, ['agent_id', 'agent']) ?? pick(hints, ['agent_id']),
    parent: pick(metadata, ['parent', 'parent_id', 'parent_run_id']) ?? pick(context, ['parent_id', 'parent']),
    sloClass: pick(metadata, ['class', 'slo_class']),
    deadlineMs: durationMs(metadata['deadline_ms'], 1) ?? durationMs(context['deadline_ms'], 1),
  };
}

/** The end of step 4: a person as a workflow is better than none, but traces, paths and keys name a run more closely. */
export function personClaim(read: BodyReader): IdentityClaim {
  return { workflow: identityValue(read('safety_identifier')) ?? identityValue(read('user')) };
}

/** Step 5: W3C trace context. One trace is one run. */
export function traceClaim(headers: IncomingHttpHeaders): IdentityClaim {
  if (headers['baggage'] === undefined && headers['traceparent'] === undefined) return NOTHING;
  const baggage = parseBaggage(headers['baggage']);
  const trace = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(String(headers['traceparent'] ?? ''))?.[1];
  return {
    workflow:
      identityValue(baggage.get('gen_ai.conversation.id')) ??
      (trace === undefined || /^0+$/.test(trace) ? undefined : trace),
    template: identityValue(baggage.get('gen_ai.workflow.name')),
    role: identityValue(baggage.get('gen_ai.agent.name')),
    agentId: identityValue(baggage.get('gen_ai.agent.id')),
  };
}

/** Step 6: the URL path. */
export function pathClaim(path: PathIdentity): IdentityClaim {
  if (path.workflow === undefined && path.agent === undefined) return NOTHING;
  return { workflow: path.workflow, role: path.agent, agentId: path.agent };
}

/** Members of a W3C `baggage` header that begin with `gen_ai.`, percent-decoded. */
function parseBaggage(value: unknown): Map<string, string> {
  const members = new Map<string, string>();
  if (typeof value !== 'string') return members;
  for (const member of value.split(',', 64)) {
    const [pair = ''] = member.split(';', 1);
    const equals = pair.indexOf('=');
    const key = pair.slice(0, equals).trim();
    if (equals < 0 || !key.startsWith('gen_ai.')) continue;
    try {
      members.set(key, decodeURIComponent(pair.slice(equals + 1).trim()));
    } catch {
      // A wrongly escaped member says nothing; the others stand.
    }
  }
  return members;
}

/**
 * The agent identity of vLLM's router (its RFC 285): one task or session has a program for each of its agents. Clients of a bare vLLM send it as
 * text, because vLLM refuses objects in `vllm_xargs`.
 */
function agenticContext(value: unknown): Record<string, unknown> {
  return objectOf(typeof value === 'string' ? parseJson(value) : value);
}

function pick(object: Record<string, unknown>, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = Object.hasOwn(object, name) ? identityValue(object[name]) : undefined;
    if (value !== undefined) return value;
  }
  return undefined;
}
