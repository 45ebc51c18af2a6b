import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { Clock } from '../../src/model/clock.js';
import type { TraceRow } from '../schema.js';
import { classesOf } from './classes.js';
import { chooseModels, fetchServedModels, parseModelMap } from './models.js';
import { runReplay } from './run.js';

/** A wall clock that runs a hundred times faster. */
const clock: Clock = {
  nowMs: () => performance.now() * 100,
  after(delayMs, callback) {
    const handle = setTimeout(callback, Math.max(0, delayMs) / 100);
    return { cancel: () => clearTimeout(handle) };
  },
};

interface Seen {
  readonly headers: IncomingMessage['headers'];
  readonly body: {
    model: string;
    messages: { content: string }[];
    max_tokens: number;
    min_tokens?: number;
    ignore_eos?: boolean;
    stream: boolean;
    vllm_xargs: { maestro_output_tokens: number; maestro_prompt_tokens: number; agentic_context?: string };
  };
}

let server: Server | undefined;
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

/** A tiny OpenAI-like server that answers as `answer` says; returns what it saw. */
async function serve(
  answer: (seen: Seen, response: ServerResponse) => void,
): Promise<{ target: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.url === '/v1/models') return response.end('{"data":[{"id":"small"},{"id":"large"}]}');
      const one: Seen = {
        headers: request.headers,
        body: JSON.parse(Buffer.concat(chunks).toString()) as Seen['body'],
      };
      seen.push(one);
      return answer(one, response);
    });
  });
  await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
  return { target: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

function complete({ body }: Seen, response: ServerResponse): void {
  const tokens = body.vllm_xargs.maestro_output_tokens;
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'x-maestro-queue-ms': '12.5',
    'x-maestro-node': 'node-of-the-head',
    'x-maestro-policy': 'maestro',
  });
  // As Maestro does for a stream that has waited: what it knew too late for the head.
  response.write(': keep-alive\n\n: x-maestro-node: node-a\n: x-maestro-engine: engine-1\n\n');
  response.write('data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n');
  response.write('data: {"choices":[{"delta":{"content":"word "}}]}\n\n');
  response.end(`data: {"choices":[],"usage":{"prompt_tokens":77,"completion_tokens":${tokens}}}\n\ndata: [DONE]\n\n`);
}

const ROWS: TraceRow[] = [
  {
    request_id: 'w/1',
    workflow_id: 'w',
    timestamp: 0,
    input_length: 300,
    output_length: 5,
    template: 'report',
    role: 'planner',
    tenant: 'acme',
    class: 'batch',
    deadline_ms: 90_000,
    model: 'large',
    max_tokens: 64,
    temperature: 0.5,
  },
  {
    request_id: 'w/2',
    workflow_id: 'w',
    wait_for: ['w/1'],
    input_length: 40,
    output_length: 9,
    role: 'a b',
    model: 'small',
  },
];

describe('runReplay', () => {
  it('sends chat completions with identity, limits and lengths, and records what came back', async () => {
    const { target, seen } = await serve(complete);
    const { workflows, stages } = await runReplay({
      trace: ROWS,
      target: `${target}/v1/`,
      clock,
      runId: 'run7',
      headers: { authorization: 'Bearer k' },
    });
    expect(seen).toHaveLength(2);
    expect(seen[0]!.headers).toMatchObject({
      'x-request-id': 'run7.w/1',
      'x-maestro-workflow': 'run7.w',
      'x-maestro-agent': 'planner',
      'x-maestro-template': 'report',
      'x-maestro-tenant': 'acme',
      'x-maestro-class': 'batch',
      'x-maestro-deadline-ms': '90000',
      authorization: 'Bearer k',
    });
    expect(seen[0]!.headers).not.toHaveProperty('x-maestro-session-final');
    expect(seen[0]!.body).toMatchObject({
      model: 'large',
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: 64,
      temperature: 0.5,
      vllm_xargs: { maestro_output_tokens: 5, maestro_prompt_tokens: 300 },
    });
    expect(seen[0]!.body.messages[0]!.content.length).toBe(4 * 296);
    expect(seen[1]!.headers).toMatchObject({ 'x-maestro-agent': 'a-b', 'x-maestro-session-final': 'true' });
    expect(seen[1]!.body).toMatchObject({ model: 'small', max_tokens: 2048 });
    expect(workflows).toMatchObject([{ workflowId: 'w', completed: true, met: true, stages: 2 }]);
    expect(stages[0]).toMatchObject({
      stageId: 'run7.w/1',
      workflowId: 'w',
      outcome: 'completed',
      promptTokens: 77,
      outputTokens: 5,
      queueMs: 12.5,
      node: 'node-a',
      engine: 'engine-1',
      policy: 'maestro',
      coldStartMs: undefined,
    });
    expect(stages[0]!.firstTokenMs!).toBeGreaterThanOrEqual(stages[0]!.startMs);
    expect(stages[1]!.startMs).toBeGreaterThanOrEqual(stages[0]!.endMs);
  });

  it('tells the workflow in the body too when asked, as text that vLLM takes', async () => {
    const { target, seen } = await serve(complete);
    await runReplay({ trace: ROWS, target, clock, runId: 'run7', agenticContext: true });
    const contexts = seen.map(({ body }) => JSON.parse(body.vllm_xargs.agentic_context!) as Record<string, unknown>);
    expect(contexts[0]).toMatchObject({
      task_id: 'run7.w',
      session_id: 'run7.w',
      agent_id: 'planner',
      agent_role: 'planner',
      workflow_type: 'report',
      expected_resume: true,
    });
    expect(contexts[0]!['deadline']).toBeGreaterThan(80);
    expect(contexts[0]!['deadline']).toBeLessThanOrEqual(90);
    expect(contexts[1]).toMatchObject({ session_id: 'run7.w', agent_id: 'a-b', expected_resume: false });
  });

  it('makes a real engine answer as long as recorded when asked', async () => {
    const { target, seen } = await serve(complete);
    await runReplay({ trace: ROWS, target, clock, recordedLengths: true });
    expect(seen.length).toBeGreaterThan(0);
    for (const { body } of seen) {
      const tokens = body.vllm_xargs.maestro_output_tokens;
      expect(body).toMatchObject({ max_tokens: tokens, min_tokens: tokens, ignore_eos: true });
    }
  });

  it('records refusals and cut streams as failures and sends each stage once', async () => {
    const { target, seen } = await serve((one, response) => {
      if (one.headers['x-maestro-workflow'] === 'full') {
        response.writeHead(429).end('{"error":{"message":"no room","code":"queue_full"}}');
      } else {
        response.writeHead(200).write('data: {"choices":[{"delta":{"content":"w"}}]}\n\n', () => response.destroy());
      }
    });
    const { workflows, stages } = await runReplay({
      trace: ['full', 'cut'].map((id, index) => ({
        ...ROWS[1]!,
        request_id: id,
        workflow_id: id,
        wait_for: [],
        timestamp: index,
      })),
      target,
      clock,
    });
    const outcomes = new Map(
      stages.map(({ workflowId, outcome, httpStatus }) => [workflowId, `${httpStatus} ${outcome}`]),
    );
    expect(outcomes).toEqual(
      new Map([
        ['full', '429 rejected:queue_full'],
        ['cut', '200 engine_failed'],
      ]),
    );
    expect(workflows.every(({ met, completed }) => !met && !completed)).toBe(true);
    expect(workflows.find(({ workflowId }) => workflowId === 'full')?.error).toContain('no room');
    expect(seen).toHaveLength(2);
  });

  it('gives up on a stage that never ends, and on everything when it is told to stop', async () => {
    const hanging = await serve(() => undefined);
    const late = await runReplay({ trace: ROWS, target: hanging.target, clock, stageTimeoutMs: 2000 });
    expect(late.stages).toMatchObject([{ outcome: 'client_cancelled', error: 'no end within 2000 ms' }]);
    const stop = new AbortController();
    const { target } = await serve(() => stop.abort());
    const stopped = await runReplay({ trace: ROWS, target, clock, signal: stop.signal });
    expect(stopped.stages).toMatchObject([{ outcome: 'client_cancelled' }]);
    expect(stopped.workflows).toMatchObject([{ completed: false, met: false }]);
  });

  it('survives a target that is not there', async () => {
    const { stages } = await runReplay({ trace: ROWS, target: 'http://127.0.0.1:1', clock });
    expect(stages).toMatchObject([{ outcome: 'engine_failed', httpStatus: 0 }]);
  });

  it('refuses a trace without arrivals', async () => {
    const [first] = ROWS;
    const { timestamp: _, ...timeless } = first!;
    await expect(runReplay({ trace: [timeless], target: 'http://127.0.0.1:1', clock })).rejects.toThrow(
      'records no arrivals',
    );
  });
});

describe('models', () => {
  const rows = ROWS.slice(0, 2);
  it('maps, falls back to the star, and keeps served names', async () => {
    const { target } = await serve(complete);
    const served = await fetchServedModels(target, {});
    expect(served).toEqual(['small', 'large']);
    const choose = chooseModels(rows, parseModelMap('large=small, *=large'), served);
    expect(rows.map(choose)).toEqual(['small', 'large']);
    const { model: _, ...unnamed } = rows[0]!;
    expect(chooseModels([unnamed], new Map(), ['only'])(unnamed)).toBe('only');
  });

  it('refuses models that nobody serves before anything is sent', () => {
    expect(() => chooseModels(rows, new Map(), ['other'])).toThrow(/asks for large, small; the target serves other/);
    expect(() => parseModelMap('a=b=c')).toThrow('"a=b=c" is not RECORDED=SERVED');
  });
});

describe('classesOf', () => {
  it('takes the usual deadline of each class', () => {
    const workflow = (sloClass: string, allowance: number) =>
      ({ sloClass, arrivalMs: 10, deadlineMs: 10 + allowance }) as Parameters<typeof classesOf>[0][number];
    const classes = classesOf([
      workflow('batch', 9),
      workflow('interactive', 5),
      workflow('interactive', 7),
      workflow('interactive', 7),
    ]);
    expect(classes).toEqual([
      { name: 'interactive', kind: 'interactive', deadlineMs: 7, ttftMs: 2000, tpotMs: 100 },
      { name: 'batch', kind: 'batch', deadlineMs: 9 },
    ]);
  });
});
