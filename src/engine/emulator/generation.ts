import { randomBytes } from 'node:crypto';
import type { EndKind, EngineLoop, LiveSequence, SequenceListener } from './engine-loop.js';
import type { AnswerFrames, BodyChoice, FinishWord, RequestMetrics, TotalUsage } from './frames.js';
import type { GenerationRequest } from './generation-request.js';
import { ENGINE_DEAD } from './http-error.js';
import type { Ledger, LedgerEntry } from './ledger.js';
import type { VllmMetrics } from './metrics.js';
import type { OutputScript } from './output.js';

/** Where an answer goes: an HTTP response. */
export interface AnswerSink {
  /** Starts an event stream: status and headers leave at once. */
  startStream(): void;
  write(frame: string): void;
  endStream(): void;
  json(status: number, body: string): void;
  /** Ends the connection in the middle. */
  cut(): void;
}

export interface ChoicePlan {
  readonly index: number;
  readonly externalId: string;
  readonly script: OutputScript;
  readonly promptTokens: number;
  readonly promptIds: Uint32Array;
  readonly blockHashes: readonly (string | number)[];
}

export interface GenerationSettings {
  /** With a usage on every frame, whatever the client asked for. */
  readonly forceUsage: boolean;
  readonly promptTokensDetails: boolean;
  readonly perRequestMetrics: boolean;
  /** Tokens that fell due together share a frame; false: each has its own. */
  readonly mergeFrames: boolean;
  readonly blockSize: number;
  readonly adapter: string | undefined;
}

interface ChoiceState extends ChoicePlan {
  readonly sequence: LiveSequence;
  readonly toolCallId: string;
  /** Tokens that have been written. */
  written: number;
  opened: boolean;
  finish: FinishWord | undefined;
}

/** One request on its way through the engine, and the answer it becomes. */
export class Generation implements SequenceListener {
  private readonly choices: ChoiceState[];
  private readonly usageOnFrames: boolean;
  private readonly usageFrame: boolean;
  /** The headers of its stream have left. */
  private begun = false;
  private over = false;

  constructor(
    private readonly request: GenerationRequest,
    private readonly frames: AnswerFrames,
    plans: readonly ChoicePlan[],
    private readonly settings: GenerationSettings,
    private readonly sink: AnswerSink,
    private readonly parts: {
      readonly loop: EngineLoop;
      readonly metrics: VllmMetrics;
      readonly ledger: Ledger;
      readonly entry: LedgerEntry;
      /** Ledger time. */
      nowMs(): number;
      onOver(): void;
    },
  ) {
    this.usageOnFrames = settings.forceUsage || request.continuousUsage;
    this.usageFrame = settings.forceUsage || request.includeUsage;
    const arrivalMs = parts.loop.nowMs();
    this.choices = plans.map((plan) => ({
      ...plan,
      written: 0,
      opened: false,
      finish: undefined,
      toolCallId: `chatcmpl-tool-${randomBytes(8).toString('hex')}`,
      sequence: {
        // Clients may repeat their request ids; the engine needs its own.
        engineId: `${plan.externalId}-${plan.index}-${randomBytes(4).toString('hex')}`,
        externalId: plan.externalId,
        promptTokens: plan.promptTokens,
        outputTokens: Math.max(1, plan.script.tokens),
        maxTokens: request.maxTokens,
        priority: request.priority,
        blockHashes: plan.blockHashes,
        promptIds: plan.promptIds,
        salt: request.cacheSalt,
        adapter: this.settings.adapter,
        flows: request.stream,
        arrivalMs,
        tokens: 0,
        cachedTokens: 0,
        queueMs: 0,
        rank: request.rank,
        firstTokenMs: undefined,
        endMs: undefined,
        listener: this,
      },
    }));
  }

  start(): void {
    this.parts.metrics.accepted(this.request.n);
    for (const choice of this.choices) this.parts.loop.submit(choice.sequence);
  }

  /** vLLM has tokenised the prompt by the time that it sends the headers of a stream. */
  queued(): void {
    if (!this.over) this.begin();
  }

  /** The client has gone: nothing is written any more, and the engine drops what is left. */
  disconnected(): void {
    if (this.over) return;
    this.finishAll('disconnected');
    for (const choice of this.choices) this.parts.loop.withdraw(choice.sequence);
  }

  progressed(sequence: LiveSequence): void {
    const choice = this.choiceOf(sequence);
    const { entry, ledger } = this.parts;
    if (entry.startedMs === null) {
      entry.startedMs = this.parts.nowMs();
      ledger.totals.started += 1;
    }
    entry.cachedTokens = Math.max(entry.cachedTokens, sequence.cachedTokens);
    if (this.over || !this.request.stream) return;
    this.open(choice);
    const interval = this.request.streamInterval;
    // The last token belongs to the frame that ends the choice.
    const ready = Math.min(sequence.tokens, choice.script.tokens - 1);
    while (choice.written < ready) {
      const size = choice.written === 0 ? 1 : interval;
      const next = this.settings.mergeFrames && interval === 1 ? ready : choice.written + size;
      if (next > ready) break;
      this.writeTokens(choice, next);
    }
  }

  ended(sequence: LiveSequence, how: EndKind): void {
    if (this.over) return;
    const choice = this.choiceOf(sequence);
    const { script } = choice;
    choice.finish = how === 'own-end' ? finishWord(this.request, script) : 'abort';
    this.parts.entry.finishReasons.push(choice.finish);
    if (how !== 'abort-by-id') this.recordEnd(choice, how);
    if (this.request.stream) {
      this.begin();
      this.writeEnd(choice, how);
    }
    if (this.choices.every((each) => each.finish !== undefined)) this.complete();
  }

  failed(_sequence: LiveSequence, how: 'cut' | 'error'): void {
    if (this.over) return;
    const unstarted = this.choices.filter((choice) => choice.finish === undefined);
    this.finishAll('failed');
    for (const choice of unstarted) this.parts.loop.withdraw(choice.sequence);
    if (how === 'cut') this.sink.cut();
    else if (!this.begun) this.sink.json(500, this.frames.errorBody(ENGINE_DEAD));
    else {
      const last = this.frames.broken(ENGINE_DEAD);
      if (last === undefined) this.sink.cut();
      else {
        this.write(last);
        this.sink.endStream();
      }
    }
  }

  /** Sends the headers of a stream, once. */
  private begin(): void {
    if (this.begun || !this.request.stream) return;
    this.begun = true;
    this.sink.startStream();
    this.write(this.frames.begin());
  }

  private choiceOf(sequence: LiveSequence): ChoiceState {
    return this.choices.find((choice) => choice.sequence === sequence)!;
  }

  private open(choice: ChoiceState): void {
    if (choice.opened) return;
    choice.opened = true;
    this.write(this.frames.role(choice.index, this.usageNow(choice, 0)));
  }

  private writeTokens(choice: ChoiceState, upTo: number): void {
    const { script, index } = choice;
    const from = choice.written;
    choice.written = upTo;
    this.parts.entry.tokens += upTo - from;
    const usage = this.usageNow(choice, upTo);
    let text = script.text(from, upTo);
    if (script.kind === 'tool-call') {
      if (from === 0) this.write(this.frames.toolCallOpening(index, choice.toolCallId, script.toolName, usage));
      if (text !== '') this.write(this.frames.toolCallArguments(index, text, usage));
      return;
    }
    const echoes = from === 0 && this.request.echo;
    if (echoes) text = script.echoed + text;
    if (text !== '') this.write(this.frames.content(index, text, usage, echoes ? [...choice.promptIds] : undefined));
  }

  private writeEnd(choice: ChoiceState, how: EndKind): void {
    const { script, index, sequence } = choice;
    if (how !== 'own-end') {
      this.open(choice);
      // A stream that has had no token ends without a finish frame.
      if (sequence.tokens === 0) return;
      this.progressed(sequence);
      this.write(this.frames.closing(index, '', 'abort', null, this.usageNow(choice, choice.written)));
      return;
    }
    this.open(choice);
    if (script.kind === 'tool-call') {
      if (choice.written < script.tokens) this.writeTokens(choice, script.tokens);
      this.write(this.frames.toolCallClosing(index, choice.finish!, this.usageNow(choice, script.tokens)));
      return;
    }
    if (!this.settings.mergeFrames && choice.written < script.tokens - 1) this.progressed(sequence);
    const from = choice.written;
    choice.written = script.tokens;
    this.parts.entry.tokens += script.tokens - from;
    const text = (from === 0 && this.request.echo ? script.echoed : '') + script.text(from, script.tokens);
    this.write(
      this.frames.closing(index, text, choice.finish!, script.stopReason, this.usageNow(choice, script.tokens)),
    );
  }

  private complete(): void {
    const usage = this.totalUsage();
    const metrics = this.settings.perRequestMetrics ? requestMetrics(this.choices[0]!.sequence) : undefined;
    if (this.request.stream) {
      this.write(this.frames.end(usage, this.usageFrame, metrics));
      this.sink.endStream();
    } else {
      const choices = this.choices.map((choice) => bodyChoice(choice, this.request.echo));
      const body = this.frames.body(choices, usage, metrics);
      this.parts.entry.tokens = usage.completionTokens;
      this.parts.entry.bytesSent += Buffer.byteLength(body);
      this.sink.json(200, body);
    }
    this.finishAll(this.choices.some((choice) => choice.finish === 'abort') ? 'aborted' : 'finished');
  }

  private finishAll(state: 'finished' | 'aborted' | 'disconnected' | 'failed'): void {
    this.over = true;
    this.parts.ledger.close(this.parts.entry, state, this.parts.nowMs());
    this.parts.onOver();
  }

  /** Writes frames, each in a chunk of its own, as uvicorn does. */
  private write(frames: string): void {
    this.parts.entry.bytesSent += Buffer.byteLength(frames);
    for (let start = 0; start < frames.length; ) {
      const end = frames.indexOf('\n\n', start) + 2;
      this.sink.write(start === 0 && end === frames.length ? frames : frames.slice(start, end));
      start = end;
    }
  }

  private usageNow(choice: ChoiceState, completionTokens: number) {
    return this.usageOnFrames ? { promptTokens: choice.promptTokens, completionTokens } : undefined;
  }

  private totalUsage(): TotalUsage {
    const { n } = this.request;
    // Each prompt counts once, however many choices it has.
    const prompts = this.choices.filter((choice) => choice.index % n === 0);
    const sum = (value: (choice: ChoiceState) => number, of = prompts) =>
      of.reduce((total, each) => total + value(each), 0);
    const { blockSize } = this.settings;
    const cachedTokens = sum((choice) => choice.sequence.cachedTokens);
    const fullBlocks = sum((choice) => Math.floor(choice.promptTokens / blockSize) * blockSize);
    return {
      promptTokens: sum((choice) => choice.promptTokens),
      completionTokens: sum((choice) => Math.min(choice.sequence.tokens, choice.script.tokens || 1), this.choices),
      ...(this.settings.promptTokensDetails
        ? { cachedTokens, createdCacheTokens: Math.max(0, fullBlocks - cachedTokens) }
        : {}),
    };
  }

  private recordEnd(choice: ChoiceState, how: EndKind): void {
    const { sequence, script } = choice;
    const endMs = sequence.endMs ?? this.parts.loop.nowMs();
    this.parts.metrics.finished({
      reason: how === 'abort' ? 'abort' : script.finishReason,
      promptTokens: sequence.promptTokens,
      cachedTokens: sequence.cachedTokens,
      outputTokens: sequence.tokens,
      maxTokens: sequence.maxTokens,
      arrivalMs: sequence.arrivalMs,
      queueMs: sequence.queueMs,
      firstTokenMs: sequence.firstTokenMs ?? endMs,
      endMs,
      rank: sequence.rank,
    });
  }
}

/** `auto` and `required` calls end with `tool_calls`; a named one, like OpenAI's, with `stop`. */
function finishWord(request: GenerationRequest, script: OutputScript): FinishWord {
  const called = script.kind === 'tool-call' && script.finishReason === 'stop' && request.toolChoice.kind !== 'named';
  return called ? 'tool_calls' : script.finishReason;
}

function bodyChoice(choice: ChoiceState, echo: boolean): BodyChoice {
  const { script, sequence } = choice;
  const text = script.text(0, Math.min(sequence.tokens, script.tokens));
  return {
    index: choice.index,
    text: echo ? script.echoed + text : text,
    toolCall:
      script.kind === 'tool-call' && sequence.tokens > 0 ? { id: choice.toolCallId, name: script.toolName } : undefined,
    finish: choice.finish!,
    stopReason: choice.finish === 'abort' ? null : script.stopReason,
  };
}

function requestMetrics(sequence: LiveSequence): RequestMetrics {
  const { arrivalMs, queueMs, tokens } = sequence;
  const endMs = sequence.endMs ?? arrivalMs;
  const firstTokenMs = sequence.firstTokenMs ?? endMs;
  const generationMs = endMs - firstTokenMs;
  const totalMs = Math.max(endMs - arrivalMs - queueMs, Number.MIN_VALUE);
  return {
    time_to_first_token_ms: firstTokenMs - arrivalMs - queueMs,
    generation_time_ms: generationMs,
    queue_time_ms: queueMs,
    mean_itl_ms: tokens > 1 ? generationMs / (tokens - 1) : null,
    tokens_per_second: (tokens / totalMs) * 1000,
  };
}
