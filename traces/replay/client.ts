import { type buildConnector, type Dispatcher, Pool } from 'undici';
import type { StageRecord } from '../../sim/report/types.js';
import type { Clock } from '../../src/model/clock.js';
import { limitAbove } from '../limit.js';
import { AnswerReader, type StageAnswer } from './answer.js';
import { promptText } from './prompt.js';
import type { StageRequest } from './scheduler.js';

export interface StageClientOptions {
  /** Base URL of the endpoint, with or without `/v1`. */
  readonly target: string;
  /** How to connect to it, where it speaks TLS with a certificate of its own authority. */
  readonly connect?: buildConnector.BuildOptions | undefined;
  readonly clock: Clock;
  /** Clock time at which the run began; all record times count from it. */
  readonly startedMs: number;
  /** `max_tokens` of rows that have none; doubled until the recorded answer fits. */
  readonly defaultMaxTokens: number;
  /** More headers for every request, for example `authorization`. */
  readonly headers: Readonly<Record<string, string>>;
  /** Put before every workflow and request id, so that two runs against one server do not meet. */
  readonly runId: string | undefined;
  /** Gives up on a stage after so many clock milliseconds. */
  readonly stageTimeoutMs: number;
  /** Tells the workflow in `vllm_xargs.agentic_context` too, for routers that read it there. */
  readonly agenticContext: boolean;
  /** Makes a real engine answer with exactly the recorded number of tokens, which tells the server the length in `max_tokens`. */
  readonly recordedLengths: boolean;
}

/** Sends stages as streamed chat completions over one connection pool and tells how each of them went. Retries nothing. */
export class StageClient {
  private readonly pool: Pool;
  private readonly path: string;
  private readonly cancels = new Set<() => void>();

  constructor(private readonly options: StageClientOptions) {
    const url = new URL(options.target);
    this.path = `${url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')}/v1/chat/completions`;
    // Timeouts are the scheduler's business: it knows emulated time, undici only knows wall time.
    this.pool = new Pool(url.origin, {
      headersTimeout: 0,
      bodyTimeout: 0,
      pipelining: 1,
      connect: options.connect ?? {},
    });
  }

  async send(stage: StageRequest): Promise<StageRecord> {
    const { clock, startedMs } = this.options;
    const { recordedLengths, defaultMaxTokens } = this.options;
    const { output_length: outputTokens, max_tokens: limit = limitAbove(defaultMaxTokens, outputTokens) } = stage.row;
    const maxTokens = recordedLengths ? Math.max(1, outputTokens) : limit;
    const stageId = this.wireId(stage.row.request_id);
    const body = this.body(stage, maxTokens);
    const startMs = clock.nowMs();
    const { answer, headers, told } = await this.exchange(body, this.headers(stage, stageId));
    const answered = (name: string) => {
      const value = told.get(name) ?? headers[name];
      return typeof value === 'string' && value !== '' ? value : undefined;
    };
    const numeric = (name: string) => {
      const value = Number(answered(name) ?? Number.NaN);
      return Number.isFinite(value) ? value : undefined;
    };
    return {
      stageId,
      workflowId: stage.workflow.workflowId,
      role: stage.row.role ?? 'default',
      model: stage.model,
      sloClass: stage.sloClass,
      startMs: startMs - startedMs,
      firstTokenMs: answer.firstTokenMs === undefined ? undefined : answer.firstTokenMs - startedMs,
      endMs: clock.nowMs() - startedMs,
      promptTokens: answer.promptTokens ?? stage.row.input_length,
      outputTokens: answer.outputTokens ?? 0,
      cachedTokens: answer.cachedTokens,
      maxTokens,
      queueMs: numeric('x-maestro-queue-ms'),
      coldStartMs: numeric('x-maestro-cold-start-ms'),
      node: answered('x-maestro-node'),
      engine: answered('x-maestro-engine'),
      policy: answered('x-maestro-policy'),
      outcome: answer.outcome,
      httpStatus: answer.httpStatus,
      error: answer.error,
      itlMs: answer.itlMs,
    };
  }

  /** Breaks off every open request; each of them ends as `client_cancelled`. */
  cancelAll(): void {
    for (const cancel of [...this.cancels]) cancel();
  }

  async close(): Promise<void> {
    this.cancelAll();
    await this.pool.destroy();
  }

  private exchange(
    body: string,
    headers: Record<string, string>,
  ): Promise<{
    answer: StageAnswer;
    headers: Record<string, string | string[] | undefined>;
    told: ReadonlyMap<string, string>;
  }> {
    const { clock, stageTimeoutMs } = this.options;
    return new Promise((resolve) => {
      const reader = new AnswerReader();
      let answerHeaders: Record<string, string | string[] | undefined> = {};
      let controller: Dispatcher.DispatchController | undefined;
      let gaveUp: string | undefined;
      const giveUp = (why: string) => {
        gaveUp ??= why;
        controller?.abort(new Error(why));
      };
      const cancel = () => giveUp('the run was stopped');
      const timer = clock.after(stageTimeoutMs, () => giveUp(`no end within ${stageTimeoutMs} ms`));
      this.cancels.add(cancel);
      const settle = (answer: StageAnswer) => {
        timer.cancel();
        this.cancels.delete(cancel);
        resolve({ answer, headers: answerHeaders, told: reader.told });
      };
      this.pool.dispatch(
        { path: this.path, method: 'POST', headers, body },
        {
          onRequestStart(started) {
            controller = started;
            if (gaveUp !== undefined) started.abort(new Error(gaveUp));
          },
          onResponseStart(_controller, httpStatus, received) {
            reader.onStart(httpStatus);
            answerHeaders = received;
          },
          onResponseData: (_controller, chunk) => reader.onData(chunk, clock.nowMs()),
          onResponseEnd: () => settle(reader.finish()),
          onResponseError: (_controller, error) =>
            settle(
              gaveUp === undefined
                ? reader.fail('engine_failed', error.message)
                : reader.fail('client_cancelled', gaveUp),
            ),
        },
      );
    });
  }

  private body(stage: StageRequest, maxTokens: number): string {
    const { row, model } = stage;
    return JSON.stringify({
      model,
      messages: [{ role: 'user', content: promptText(row) }],
      stream: true,
      stream_options: { include_usage: true },
      max_tokens: maxTokens,
      ...(this.options.recordedLengths && { min_tokens: maxTokens, ignore_eos: true }),
      ...(row.temperature !== undefined && { temperature: row.temperature }),
      ...(row.response_format === 'json_object' && { response_format: { type: 'json_object' } }),
      // An emulated engine answers with exactly so many tokens and counts the prompt as recorded; a real one ignores both.
      vllm_xargs: {
        maestro_output_tokens: Math.max(1, row.output_length),
        maestro_prompt_tokens: Math.max(1, row.input_length),
        ...(this.options.agenticContext && { agentic_context: this.agenticContext(stage) }),
      },
    });
  }

  /**
   * What the headers say, as vLLM's router names it (its RFC 285): a program is the chain of calls of one agent in one session. As text, because vLLM
   * refuses objects in `vllm_xargs`; the router reads both.
   */
  private agenticContext({ workflow, row, deadlineMs, arrivalMs, final }: StageRequest): string {
    const { clock, startedMs } = this.options;
    const session = this.wireId(workflow.workflowId);
    const leftSeconds = (arrivalMs + deadlineMs - (clock.nowMs() - startedMs)) / 1000;
    const agent = wireSafe(row.role ?? 'default');
    return JSON.stringify({
      task_id: session,
      session_id: session,
      agent_id: agent,
      agent_role: agent,
      workflow_type: wireSafe(workflow.template ?? 'default'),
      expected_resume: !final,
      ...(leftSeconds > 0 && { deadline: leftSeconds }),
    });
  }

  private headers(stage: StageRequest, stageId: string): Record<string, string> {
    const { workflow, row, sloClass, deadlineMs, final } = stage;
    return {
      ...this.options.headers,
      'content-type': 'application/json',
      accept: 'text/event-stream',
      'x-request-id': stageId,
      'x-maestro-workflow': this.wireId(workflow.workflowId),
      'x-maestro-agent': wireSafe(row.role ?? 'default'),
      'x-maestro-template': wireSafe(workflow.template ?? 'default'),
      'x-maestro-class': sloClass,
      'x-maestro-deadline-ms': String(Math.round(deadlineMs)),
      'x-maestro-tenant': wireSafe(workflow.tenant ?? 'default'),
      ...(final && { 'x-maestro-session-final': 'true' }),
    };
  }

  private wireId(id: string): string {
    return wireSafe(this.options.runId === undefined ? id : `${this.options.runId}.${id}`);
  }
}

/** Identity values are letters, digits and a few signs on the wire, and not long. */
function wireSafe(id: string): string {
  return id.replace(/[^\w.:@/+-]/g, '-').slice(0, 128);
}
