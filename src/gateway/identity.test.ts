import type { IncomingHttpHeaders } from 'node:http';
import { describe, expect, it } from 'vitest';
import type { SloClass } from '../model/stage.js';
import type { ApiKey } from './config.js';
import { type Identity, type IdentityRules, resolveIdentity } from './identity.js';
import {
  agentClaim,
  BODY_CLAIM_FIELDS,
  bodyClaim,
  maestroClaim,
  mayTell,
  routerClaim,
  traceClaim,
} from './identity-claims.js';
import type { PathIdentity } from './routes.js';

const CLASSES: readonly SloClass[] = [
  { name: 'interactive', kind: 'interactive', deadlineMs: 60_000, weight: 1 },
  { name: 'urgent', kind: 'interactive', deadlineMs: 10_000, weight: 5 },
  { name: 'batch', kind: 'batch', deadlineMs: 1_800_000, weight: 0.2 },
];
const RULES: IdentityRules = {
  classes: CLASSES,
  defaultClass: 'interactive',
  templates: { nightly: { class: 'batch' }, quick: { deadlineMs: 5000 } },
};
const TRACE = '0af7651916cd43dd8448eb211c80319c';
const TRACEPARENT = `00-${TRACE}-b7ad6b7169203331-01`;

interface Case {
  headers?: IncomingHttpHeaders;
  body?: Record<string, unknown>;
  path?: PathIdentity;
  key?: ApiKey;
  continued?: string;
  role?: string;
}

function resolve({ headers = {}, body = {}, path = {}, key, continued, role }: Case, rules = RULES): Identity {
  return resolveIdentity(
    {
      ownName: 'auto-req-1',
      headers,
      body: (field) => body[field],
      bodyMayTell: true,
      path,
      key,
      continuedWorkflow: () => continued,
      contentRole: () => role,
    },
    rules,
  );
}

describe('the nine steps', () => {
  const steps: [string, Case, Partial<Identity>][] = [
    [
      'our headers',
      { headers: { 'x-maestro-workflow': 'w', 'x-maestro-agent': 'coder' } },
      { source: 'maestro-headers', workflowId: 'w', role: 'coder', agentId: 'coder' },
    ],
    [
      'our role beside our agent',
      { headers: { 'x-maestro-workflow': 'w', 'x-maestro-agent': 'coder-3', 'x-maestro-role': 'coder' } },
      { role: 'coder', agentId: 'coder-3' },
    ],
    [
      'Dynamo',
      { headers: { 'x-dynamo-session-id': 's' } },
      { source: 'router-headers', workflowId: 's', parent: undefined },
    ],
    [
      'Dynamo sub-agent',
      { headers: { 'x-dynamo-session-id': 'child', 'x-dynamo-parent-session-id': 'root' } },
      { source: 'router-headers', workflowId: 'root', agentId: 'child', parent: 'root' },
    ],
    [
      'llm-d fairness and objective',
      { headers: { 'x-llm-d-inference-fairness-id': 'team', 'x-llm-d-inference-objective': 'batch' } },
      { source: 'none', tenant: 'team', sloClass: CLASSES[2]! },
    ],
    [
      'Claude Code',
      {
        headers: {
          'x-claude-code-session-id': 'c',
          'x-claude-code-agent-id': 'a',
          'x-claude-code-parent-agent-id': 'p',
        },
      },
      { source: 'agent-headers', workflowId: 'c', agentId: 'a', parent: 'p', template: 'claude-code' },
    ],
    ['Codex', { headers: { 'session-id': 'x' } }, { source: 'agent-headers', workflowId: 'x' }],
    ['old Codex', { headers: { session_id: 'x' } }, { source: 'agent-headers', workflowId: 'x' }],
    [
      'OpenCode child',
      { headers: { 'x-session-id': 'x', 'x-parent-session-id': 'y' } },
      { workflowId: 'y', agentId: 'x' },
    ],
    ['session affinity', { headers: { 'x-session-affinity': 'x' } }, { source: 'agent-headers', workflowId: 'x' }],
    ['AIPerf', { headers: { 'x-correlation-id': 'x' } }, { source: 'agent-headers', workflowId: 'x' }],
    ['Azure', { headers: { 'x-ms-session-id': 'x' } }, { source: 'agent-headers', workflowId: 'x' }],
    [
      'LangSmith root run',
      { headers: { 'langsmith-trace': '20260101T000000Zaaaa.20260101T000001Zbbbb' } },
      { source: 'agent-headers', workflowId: '20260101T000000Zaaaa' },
    ],
    [
      'metadata',
      { body: { metadata: { run_id: 'r', agent: 'critic', app: 'review' } } },
      { source: 'body', workflowId: 'r', role: 'critic', template: 'review' },
    ],
    [
      'agentic context of the vLLM router',
      { body: { vllm_xargs: { agentic_context: { program_id: 'p', agent_role: 'tester', agent_id: 7 } } } },
      { source: 'body', workflowId: 'p', role: 'tester', agentId: '7' },
    ],
    [
      'agentic context as text, which is what vLLM takes; a session has a program for each agent',
      {
        body: {
          vllm_xargs: { agentic_context: '{"session_id":"s","program_id":"s:a","agent_role":"a","workflow_type":"t"}' },
        },
      },
      { source: 'body', workflowId: 's', role: 'a', template: 't' },
    ],
    ['agentic context that is no JSON', { body: { vllm_xargs: { agentic_context: '{' } } }, { source: 'none' }],
    ['nvext', { body: { nvext: { agent_hints: { session_id: 'n', osl: 5 } } } }, { source: 'body', workflowId: 'n' }],
    ['prompt_cache_key', { body: { prompt_cache_key: 'k', user: 'u' } }, { source: 'body', workflowId: 'k' }],
    ['session_id of vLLM', { body: { session_id: 'k' } }, { source: 'body', workflowId: 'k' }],
    ['user', { body: { user: 'u' } }, { source: 'body', workflowId: 'u' }],
    [
      'a trace names a run more closely than a user',
      { body: { user: 'u' }, headers: { traceparent: TRACEPARENT } },
      { source: 'trace', workflowId: TRACE },
    ],
    [
      'baggage',
      {
        headers: {
          baggage: 'a=b, gen_ai.agent.name=web%20surfer;p=1,gen_ai.workflow.name=crew,gen_ai.conversation.id=c1',
          traceparent: TRACEPARENT,
        },
      },
      { source: 'trace', workflowId: 'c1', role: 'web surfer', template: 'crew' },
    ],
    [
      'an all-zero trace id',
      { headers: { traceparent: `00-${'0'.repeat(32)}-b7ad6b7169203331-01` } },
      { source: 'none' },
    ],
    ['path', { path: { workflow: 'w', agent: 'a' } }, { source: 'path', workflowId: 'w', role: 'a' }],
    [
      'key',
      { key: { key: 'k', tenant: 't', workflow: 'kw', template: 'nightly' } },
      { source: 'key', workflowId: 'kw', tenant: 't', template: 'nightly', sloClass: CLASSES[2]! },
    ],
    [
      'content',
      { continued: 'auto-req-0', role: 'prompt-x' },
      { source: 'content', workflowId: 'auto-req-0', role: 'prompt-x' },
    ],
    [
      'nothing',
      {},
      { source: 'none', workflowId: 'auto-req-1', tenant: 'default', role: 'default', template: 'default' },
    ],
  ];
  it.each(steps)('%s', (_name, given, expected) => {
    expect(resolve(given)).toMatchObject(expected);
  });

  it('the first step that knows a thing wins, later ones fill in', () => {
    const identity = resolve({
      headers: { 'x-maestro-workflow': 'mine', 'x-session-id': 'theirs', traceparent: TRACEPARENT },
      body: { metadata: { run_id: 'meta', agent: 'planner' } },
      path: { workflow: 'path', agent: 'path-agent' },
    });
    expect(identity).toMatchObject({ source: 'maestro-headers', workflowId: 'mine', role: 'planner' });
  });

  it('ignores values that are too long, empty or have odd characters', () => {
    for (const value of ['', ' ', 'x'.repeat(129), 'a\nb', 'a"b', '<b>', '\u00e9', '../x', '-x', '{}']) {
      expect(
        resolve({ headers: { 'x-maestro-workflow': value }, body: { metadata: { run_id: value } } }).source,
        value,
      ).toBe('none');
    }
    expect(resolve({ headers: { 'x-maestro-workflow': ` ${'x'.repeat(128)} ` } }).source).toBe('maestro-headers');
    expect(
      resolve({ body: { metadata: ['x'], nvext: 'x', vllm_xargs: { agentic_context: null }, user: { a: 1 } } }).source,
    ).toBe('none');
  });
});

describe('class', () => {
  it.each<[string, Case, string, boolean]>([
    ['default', {}, 'interactive', false],
    ['header', { headers: { 'x-maestro-class': 'batch' } }, 'batch', false],
    ['unknown header value', { headers: { 'x-maestro-class': 'vip' } }, 'interactive', false],
    ['flex tier', { body: { service_tier: 'flex' } }, 'batch', false],
    ['auto tier', { body: { service_tier: 'auto' } }, 'interactive', false],
    [
      'header above tier',
      { headers: { 'x-maestro-class': 'urgent' }, body: { service_tier: 'flex' } },
      'urgent',
      false,
    ],
    ['default of the key', { key: { key: 'k', tenant: 't', defaultClass: 'batch' } }, 'batch', false],
    ['template', { headers: { 'x-maestro-template': 'nightly' } }, 'batch', false],
    [
      'ceiling of the key',
      { headers: { 'x-maestro-class': 'urgent' }, key: { key: 'k', tenant: 't', maxClass: 'interactive' } },
      'interactive',
      true,
    ],
    ['ceiling on the default', { key: { key: 'k', tenant: 't', maxClass: 'batch' } }, 'batch', true],
    [
      'below the ceiling',
      { headers: { 'x-maestro-class': 'batch' }, key: { key: 'k', tenant: 't', maxClass: 'urgent' } },
      'batch',
      false,
    ],
  ])('%s', (_name, given, sloClass, classClamped) => {
    const identity = resolve(given);
    expect([identity.sloClass.name, identity.classClamped]).toEqual([sloClass, classClamped]);
  });
});

describe('classes with names of their own', () => {
  const rules: IdentityRules = {
    classes: [
      { name: 'gold', kind: 'interactive', deadlineMs: 10_000, weight: 5 },
      { name: 'silver', kind: 'interactive', deadlineMs: 60_000, weight: 1 },
      { name: 'bulk', kind: 'batch', deadlineMs: 1_800_000, weight: 0.2 },
    ],
    defaultClass: 'silver',
    templates: {},
  };
  const asked = (name: string) => resolve({ headers: { 'x-maestro-class': name } }, rules);

  it.each([
    ['gold', 'gold'],
    ['batch', 'bulk'],
    ['interactive', 'silver'],
  ])('%s gets %s', (name, sloClass) => {
    expect(asked(name)).toMatchObject({ sloClass: { name: sloClass }, ignored: [] });
  });

  it('a name that is none gets the default, and is told', () => {
    expect(asked('vip')).toMatchObject({ sloClass: { name: 'silver' }, ignored: ['x-maestro-class'] });
  });
});

describe('our own headers that say nothing', () => {
  it.each<[string, string]>([
    ['x-maestro-wrkflow', 'w'],
    ['x-maestro-workflow', 'a%0Ab'],
    ['x-maestro-workflow', ''],
    ['x-maestro-role', 'r'.repeat(200)],
    ['x-maestro-deadline-ms', '5s'],
    ['x-maestro-deadline-ms', '0'],
    ['x-maestro-session-final', 'maybe'],
    [`x-maestro-${'y'.repeat(54)}`, 'z'],
  ])('%s: %s is told', (name, value) => {
    expect(resolve({ headers: { [name]: value, 'x-maestro-agent': 'coder', accept: '*/*' } }).ignored).toEqual([name]);
  });

  it('those that can be used are not, nor any of others', () => {
    const headers = {
      'x-maestro-workflow': 'w',
      'x-maestro-tenant': 't',
      'x-maestro-class': 'batch',
      'x-maestro-deadline-ms': '5000',
      'x-maestro-session-final': 'false',
      'x-session-id': '%%',
    };
    expect(resolve({ headers }).ignored).toEqual([]);
  });

  it('are told in few words however many they are', () => {
    const headers = Object.fromEntries(
      Array.from({ length: 20 }, (_, index) => [`x-maestro-${index}${'x'.repeat(99)}`, '']),
    );
    const { ignored } = resolve({ headers });
    expect(ignored).toHaveLength(8);
    expect(Math.max(...ignored.map((name) => name.length))).toBe(64);
  });
});

describe('deadline', () => {
  it.each<[string, Case, number]>([
    ['class default', {}, 60_000],
    ['header', { headers: { 'x-maestro-deadline-ms': '1234' } }, 1234],
    ['wrong header', { headers: { 'x-maestro-deadline-ms': '-5' } }, 60_000],
    ['metadata', { body: { metadata: { deadline_ms: '9000' } } }, 9000],
    ['template', { headers: { 'x-maestro-template': 'quick' } }, 5000],
    ['a client that gives up earlier', { headers: { 'x-stainless-read-timeout': '20' } }, 20_000],
    ['a client that waits longer', { headers: { 'x-stainless-timeout': '600' } }, 60_000],
    [
      'a class that was asked for',
      { headers: { 'x-maestro-class': 'batch', 'x-stainless-timeout': '600' } },
      1_800_000,
    ],
  ])('%s', (_name, given, deadlineMs) => {
    expect(resolve(given).deadlineMs).toBe(deadlineMs);
  });
});

it('a key owns its tenant, a header does not', () => {
  const headers = { 'x-maestro-tenant': 'other' };
  expect(resolve({ headers }).tenant).toBe('other');
  expect(resolve({ headers, key: { key: 'k', tenant: 'mine' } }).tenant).toBe('mine');
});

it('looks into a body that has any of the fields which tell, and into no other', () => {
  const asked = new Set<string>();
  bodyClaim((field) => void asked.add(field));
  expect([...asked].sort()).toEqual([...BODY_CLAIM_FIELDS].sort());
});

describe('mayTell', () => {
  it('says yes to every header that a step looks at', () => {
    const asked = new Set<string>();
    for (const value of [undefined, 'x']) {
      const headers = new Proxy<IncomingHttpHeaders>(
        {},
        {
          get: (_, name) => {
            asked.add(String(name));
            return value;
          },
        },
      );
      for (const step of [maestroClaim, routerClaim, agentClaim, traceClaim]) step(headers);
    }
    expect(asked.size).toBeGreaterThan(25);
    expect([...asked].filter((name) => !mayTell({ [name]: 'x' }))).toEqual([]);
  });

  it('says no to what clients send of their own accord', () => {
    expect(mayTell({ host: 'x', authorization: 'x', 'user-agent': 'x', 'x-stainless-lang': 'js' })).toBe(false);
  });
});
