/** The live page's own script, in a document of a few lines: what a browser would show of a fleet. How it looks is for eyes. */
import { Script } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { FleetSnapshot } from '../src/bus/contract.js';
import { PAGE_FILES, PAGE_HEADERS } from '../src/observe/live-page.js';

class FakeElement {
  hidden = false;
  value = '';
  className = '';
  readonly style: Record<string, string> = {};
  readonly attributes: Record<string, string> = {};
  readonly listeners: Record<string, (event: { preventDefault(): void }) => void> = {};
  private children: (FakeElement | string)[] = [];

  constructor(readonly name: string) {}

  set textContent(text: string) {
    this.children = [text];
  }

  get textContent(): string {
    return this.children.map((each) => (typeof each === 'string' ? each : each.textContent)).join(' ');
  }

  append(...children: (FakeElement | string)[]): void {
    this.children.push(...children);
  }

  replaceChildren(...children: (FakeElement | string)[]): void {
    this.children = children;
  }

  setAttribute(name: string, value: string): void {
    this.attributes[name] = value;
  }

  addEventListener(name: string, listener: (event: { preventDefault(): void }) => void): void {
    this.listeners[name] = listener;
  }

  all(name: string): FakeElement[] {
    return this.children.flatMap((each) =>
      typeof each === 'string' ? [] : [...(each.name === name ? [each] : []), ...each.all(name)],
    );
  }
}

const FLEET: FleetSnapshot = {
  atMs: 1,
  policy: 'maestro:edf',
  openWorkflows: 7,
  floods: {},
  queued: { 'llama-3.1-8b': 3, '<b>other</b>': 1 },
  engines: [
    {
      ...{ nodeId: 'node-a', engineId: 'a1', model: 'llama-3.1-8b', state: 'running', weights: 'running' },
      ...{ leases: 5, running: 4, waiting: 1 },
      ...{ kvReservedTokens: 1_200, kvKeptTokens: 300, kvUsedTokens: 900, kvPoolTokens: 6_000 },
    },
    {
      ...{ nodeId: 'node-a', engineId: 'a2', model: 'qwen3-14b', state: 'sleeping', weights: 'sleeping' },
      ...{ leases: 0, running: undefined, waiting: undefined },
      ...{ kvReservedTokens: 0, kvKeptTokens: 0, kvUsedTokens: 0, kvPoolTokens: 6_000 },
    },
  ],
  gpus: [{ nodeId: 'node-a', gpu: 0, usedBytes: 40 * 2 ** 30, totalBytes: 80 * 2 ** 30 }],
  kv: { unit: 'bytes', reservedByteSeconds: 30, maxTokenByteSeconds: 100, usedByteSeconds: 20 },
  moves: { sleeps: 1, wakes: 1, failures: 0 },
  coldStarts: { count: 2, requestSeconds: 61 },
  preemptions: 0,
  outcomes: {},
};
const METRICS = (inTime: number, late: number) =>
  `# HELP x\nmaestro_workflows_total{class="interactive",result="in_time"} ${inTime}\nmaestro_workflows_total{class="batch",result="in_time"} 1\nmaestro_workflows_total{class="batch",result="late"} ${late}\nmaestro_workflows_total{class="batch",result="cancelled"} 9\n`;

/** Opens the page on a gateway that answers so. */
function open(answers: Record<string, () => { status: number; text: string }>) {
  const elements = new Map<string, FakeElement>();
  const byId = (id: string) => {
    const known = elements.get(id) ?? new FakeElement(id);
    elements.set(id, known);
    return known;
  };
  byId('key-form').hidden = true;
  byId('live').hidden = true;
  const store = new Map<string, string>();
  const asked: { path: string; authorization: string | undefined }[] = [];
  let next: (() => Promise<void>) | undefined;
  let now = 1_000_000;
  const globals = {
    Node: FakeElement,
    document: {
      visibilityState: 'visible',
      getElementById: byId,
      createElement: (name: string) => new FakeElement(name),
      createElementNS: (_: string, name: string) => new FakeElement(name),
      addEventListener: () => undefined,
    },
    sessionStorage: {
      getItem: (name: string) => store.get(name) ?? null,
      setItem: (name: string, value: string) => store.set(name, value),
      removeItem: (name: string) => store.delete(name),
    },
    fetch: async (path: string, { headers }: { headers: { authorization?: string } }) => {
      asked.push({ path, authorization: headers.authorization });
      const answer = answers[path];
      if (!answer) throw new Error('refused');
      const { status, text } = answer();
      return { status, text: async () => text };
    },
    setTimeout: (run: () => Promise<void>) => {
      next = run;
    },
    Date: { now: () => now },
  };
  new Script(`(() => {${PAGE_FILES.get('/live.js')!.text}\n})();`).runInNewContext(globals);
  const settle = async () => {
    for (let turn = 0; turn < 50 && next === undefined; turn++) await new Promise(setImmediate);
  };
  return {
    text: (id: string) => byId(id).textContent,
    element: byId,
    asked,
    settle,
    read: async () => {
      now += 2_000;
      const run = next!;
      next = undefined;
      await run();
      await settle();
    },
  };
}

const ok = (text: string) => () => ({ status: 200, text });
const READY = ok('{"status":"ready"}');

describe('the live page', () => {
  it('shows the fleet as the gateway tells it', async () => {
    let page = METRICS(2, 1);
    const { text, element, settle, read } = open({
      'v1/maestro/fleet': ok(JSON.stringify(FLEET)),
      readyz: READY,
      metrics: () => ({ status: 200, text: page }),
    });
    await settle();
    expect(text('state')).toBe('ready');
    expect(text('order')).toBe('order: maestro:edf');
    expect(element('live').hidden).toBe(false);
    expect(text('tiles')).toContain('in time, since start 75.0 % 4 runs ended');
    expect(text('tiles')).toContain('in time, lately –');
    expect(text('tiles')).toContain('runs open 7');
    expect(text('tiles')).toContain('calls waiting 4');
    expect(text('tiles')).toContain('calls at engines 5');
    expect(text('tiles')).toContain('30.0 %');
    expect(text('tiles')).toContain('61 s all calls in sum; 2 wakes');
    expect(text('classes')).toContain('interactive 100 % 2 0 0 0');
    expect(text('classes')).toContain('batch 50.0 % 1 1 0 9');
    expect(text('models')).toContain('llama-3.1-8b 1 of 1 5 3');
    expect(text('nodes')).toContain('a1 llama-3.1-8b awake 5 4 1');
    expect(text('nodes')).toContain('1,200 + 300 kept of 6,000 tokens');
    expect(text('nodes')).toContain('a2 qwen3-14b asleep, weights in host memory 0 – – –');
    expect(text('nodes')).toContain('GPU 0: 40.0 GiB of 80.0 GiB');
    // The share of the last minutes counts from the first reading.
    page = METRICS(4, 1);
    await read();
    expect(text('tiles')).toContain('in time, last 2 s 100 % 2 runs ended');
    expect(element('calls').all('polyline')).toHaveLength(2);
  });

  it('sets what it is told as text only', async () => {
    const { element, text, settle } = open({
      'v1/maestro/fleet': ok(JSON.stringify(FLEET)),
      readyz: READY,
      metrics: ok(''),
    });
    await settle();
    expect(text('models')).toContain('<b>other</b>');
    expect(element('models').all('b')).toEqual([]);
    expect(PAGE_FILES.get('/live.js')!.text).not.toMatch(/innerHTML|insertAdjacentHTML|document\.write/);
  });

  it('says why it is not ready, and when nobody answers', async () => {
    const answers: Parameters<typeof open>[0] = {
      'v1/maestro/fleet': ok(JSON.stringify(FLEET)),
      readyz: () => ({ status: 503, text: '{"status":"not ready","reason":"no engine answers"}' }),
      metrics: ok(''),
    };
    const { text, settle, read } = open(answers);
    await settle();
    expect(text('state')).toBe('not ready: no engine answers');
    delete answers['readyz'];
    await read();
    expect(text('state')).toBe('the gateway does not answer');
  });

  it('asks for a key where one is needed, and again for a wrong one', async () => {
    let known = false;
    const { element, text, asked, settle, read } = open({
      'v1/maestro/fleet': () => (known ? { status: 200, text: JSON.stringify(FLEET) } : { status: 401, text: '{}' }),
      readyz: READY,
      metrics: ok(''),
    });
    const enter = (key: string) => {
      element('key').value = key;
      element('key-form').listeners['submit']!({ preventDefault: () => undefined });
    };
    await settle();
    expect([element('key-form').hidden, text('state')]).toEqual([false, 'a key is needed']);
    enter('wrong');
    await read();
    expect([element('key-form').hidden, text('state')]).toEqual([false, 'this key is not known here']);
    known = true;
    enter('right');
    await read();
    expect([element('key-form').hidden, element('live').hidden, text('state')]).toEqual([true, false, 'ready']);
    expect(asked.at(-1)?.authorization).toBe('Bearer right');
  });

  it('may run its own files and talk to its own gateway, and no more', () => {
    const policy = PAGE_HEADERS[PAGE_HEADERS.indexOf('content-security-policy') + 1];
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
    const html = PAGE_FILES.get('/')!.text;
    expect(html).not.toMatch(/\son\w+=|<script(?![^>]*src)|<style|style=/);
    const named = [...html.matchAll(/(?:src|href)="(live\.[a-z]+)"/g)].map(([, name]) => `/${name}`);
    expect(named.sort()).toEqual([...PAGE_FILES.keys()].filter((path) => path !== '/').sort());
  });
});
