import type { StageHandle, StageListener, StageStart } from '../bus/contract.js';
import { writeBatch } from '../bus/write-batch.js';
import { MaestroError } from '../model/error.js';
import { type Ending, type OutcomeKind, outcomeOf, type StageOutcome } from '../model/stage.js';
import { type AnswerFacts, noFacts } from './answer-facts.js';
import { errorEvent, maestroHeaders, refusalEvent, sendError } from './answers.js';
import type { AnswerWatch, ClientAnswer, ClientRequest } from './client-answer.js';
import type { ApiKey } from './config.js';
import type { GatewayContext } from './context.js';
import { reportEnd } from './ended-request.js';
import { REJECTION_KINDS, refusalAnswer } from './engine-refusal.js';
import { answerHeaders, upstreamHeaders } from './headers.js';
import { HeldAnswer } from './held-answer.js';
import { bodyTooLarge, checkHeaders, type Intake, takeIn } from './intake.js';
import { scanBody } from './json-scan.js';
import { takeRoom } from './open-room.js';
import { nobodyListens, ownShortage } from './own-shortage.js';
import type { RateMeter } from './rate-limits.js';
import { readBody } from './read-body.js';
import type { InferenceRoute, PathIdentity } from './routes.js';
import { submitUnderstood } from './text-vector.js';
import { overdue, type Phase } from './timeouts.js';
import { priorityText, upstreamBody } from './upstream-body.js';
import { UpstreamCall, type UpstreamEnd, type UpstreamSink } from './upstream-call.js';

export interface ExchangeRequest {
  readonly requestId: string;
  readonly route: InferenceRoute;
  readonly path: PathIdentity;
  readonly req: ClientRequest;
  readonly answer: ClientAnswer;
}

/**
 * One inference request from its first byte to its last. Whatever happens, it settles on exactly one outcome, once, and gives back all it
 * holds when the client's answer is closed: the one event that tells a lost client in every phase.
 */
export class Exchange implements StageListener, UpstreamSink, AnswerWatch {
  /** Place in the gateway's list of open requests. */
  slot = 0;
  phase: Phase = 'reading';
  /** Clock times. `quietSinceMs` is when the engine was last heard of. */
  readonly arrivalMs: number;
  leftQueueMs = 0;
  quietSinceMs = 0;
  /** Wall time since which the client takes nothing more; undefined while it does. */
  blockedSinceMs: number | undefined;

  private readonly answer: ClientAnswer;
  private ttftMs: number | undefined;
  private intake: Intake | undefined;
  private sentBody: Buffer | undefined;
  private pooledRoom: Buffer | undefined;
  private handle: StageHandle | undefined;
  private start: StageStart | undefined;
  private call: UpstreamCall | undefined;
  private outcome: StageOutcome | undefined;
  private held: HeldAnswer | undefined;
  private reservedBytes: number | undefined;
  private place: string | undefined;
  private rates: RateMeter | undefined;

  constructor(
    private readonly context: GatewayContext,
    private readonly request: ExchangeRequest,
    private readonly forget: (exchange: Exchange, requestId: string) => void,
  ) {
    this.arrivalMs = context.clock.nowMs();
    this.answer = request.answer;
    context.metrics.requestStarted();
    this.answer.watch(this);
  }

  get streamRequested(): boolean {
    return this.intake?.fields.stream === true;
  }

  /** Checks what can be checked at once, then reads the body. */
  begin(): void {
    const { req } = this.request;
    const { bodyLimitBytes } = this.context.config;
    try {
      const key = this.context.keys.authenticate(req.headers);
      const announcedBytes = checkHeaders(req, bodyLimitBytes);
      this.rates = this.context.rates.meter(key);
      this.place = this.context.places.take(key);
      this.rates?.takeRequest();
      this.reservedBytes = takeRoom(this.context.budget, announcedBytes, undefined);
      readBody(req, announcedBytes, bodyLimitBytes, this.context.rooms, {
        wanted: () => this.phase === 'reading',
        onBody: (body, room, pooled) => {
          if (pooled) this.pooledRoom = room;
          this.bodyRead(body, room, key);
        },
        onTooLarge: () => this.refuse(bodyTooLarge(bodyLimitBytes)),
        onUnannounced: (bytes) => this.takeUnannounced(bytes),
      });
    } catch (thrown) {
      this.refuse(thrown);
    }
  }

  /** A body whose length nobody announced counts as it comes. */
  private takeUnannounced(bytes: number): void {
    try {
      this.reservedBytes = takeRoom(this.context.budget, bytes, this.reservedBytes);
    } catch (thrown) {
      this.refuse(thrown);
    }
  }

  /** Understands the request once its body is there. `room` begins with the body. */
  private bodyRead(body: Buffer, room: Buffer, key: ApiKey | undefined): void {
    const { arrivalMs } = this;
    const { requestId, route, path, req } = this.request;
    try {
      const intake = takeIn(this.context, { requestId, req, route, path, key, arrivalMs }, body, room);
      submitUnderstood(this.context.textVectors, intake, this);
    } catch (thrown) {
      this.refuse(thrown);
    }
  }

  submit(intake: Intake): void {
    const { length } = intake.body;
    if (length !== this.reservedBytes) this.reservedBytes = takeRoom(this.context.budget, length, this.reservedBytes);
    this.rates?.takePrompt(intake.stage.promptTokens);
    this.intake = intake;
    this.phase = 'queued';
    this.handle = this.context.scheduling.submit(intake.stage, intake.identity.source, this);
    // The levels may have answered before the handle was there.
    if (this.outcome) this.handle.finish(this.outcome);
    else if (this.start) this.send(this.start);
  }

  onStart(start: StageStart): void {
    if (this.phase !== 'queued') return;
    this.start = start;
    if (this.handle) this.send(start);
  }

  onReject(error: MaestroError): void {
    this.fail(error, REJECTION_KINDS[error.code] ?? 'rejected', error.reason ?? error.code);
  }

  onRequeue(): boolean {
    if (this.phase !== 'waiting') return false;
    this.abortUpstream('requeued');
    this.phase = 'queued';
    this.start = undefined;
    this.call = undefined;
    return true;
  }

  private send(start: StageStart): void {
    this.phase = 'waiting';
    this.leftQueueMs = this.context.clock.nowMs();
    this.quietSinceMs = this.leftQueueMs;
    try {
      const body = this.bodyFor(start);
      const { req, requestId, route } = this.request;
      const priority = route.priorityHeader ? priorityText(start.priority) : undefined;
      const headers = upstreamHeaders(req.headers, requestId, start.authorization, priority, start.rank);
      const { wantsUsage } = this.intake!.fields;
      this.call = new UpstreamCall(this, wantsUsage, this.context.config.maxFrameBytes, route.dialect);
      this.call.send(start, route.upstreamPath, headers, body);
    } catch (thrown) {
      this.refuse(thrown);
    }
  }

  /** The body for an engine. At a second place, the one that was made for the first is made over. */
  private bodyFor(start: StageStart): Buffer {
    const intake = this.intake!;
    const body = this.sentBody;
    const scan = body && scanBody(body, this.context.config.maxJsonDepth);
    this.sentBody = upstreamBody(body && scan ? { ...intake, body, scan } : intake, start, this.request.route);
    return this.sentBody;
  }

  onActivity(): void {
    this.quietSinceMs = this.context.clock.nowMs();
  }

  onContent(bytes: Buffer): void {
    if (this.settled || this.answer.destroyed) return;
    if (this.phase === 'waiting') {
      // An error that comes before any content becomes our own answer; its event is not needed then.
      if (this.call?.errorFirst || !this.beginAnswer(this.quietSinceMs)) return;
      this.handle?.firstToken();
    }
    if (this.call?.head?.streamed) this.rates?.sawContent(bytes);
    if (this.answer.write(bytes)) return;
    this.call?.pause();
    this.blockedSinceMs = this.context.wallClock.nowMs();
  }

  onDrain(): void {
    this.blockedSinceMs = undefined;
    this.call?.resume();
  }

  onUpstreamEnd(end: UpstreamEnd): void {
    switch (end.kind) {
      case 'complete':
        this.complete(end.facts, end.rest);
        break;
      case 'unsent':
        this.placeAgain(end.cause);
        break;
      case 'refusal': {
        const { dialect } = this.request.route;
        const { kind, reason, passed, error } = refusalAnswer(end.status, end.headers, end.body, dialect);
        if (!passed) this.fail(error, kind, reason);
        else this.passRefusal(passed.body, passed.headers, end.status, kind, reason);
        break;
      }
      case 'broken': {
        const error = new MaestroError('engine_failed', 'The engine failed before its answer was complete.', {
          reason: end.reason,
          cause: end.cause,
        });
        if (end.rest) this.onContent(end.rest);
        if (end.told && this.phase === 'flowing') this.answer.end();
        this.fail(error, 'engine_failed', end.reason, end.facts);
      }
    }
  }

  private placeAgain(cause: Error): void {
    const shortage = ownShortage(cause);
    if (shortage) {
      this.fail(shortage, 'rejected', shortage.reason!);
      return;
    }
    this.phase = 'queued';
    this.start = undefined;
    this.call = undefined;
    if (this.handle!.placeAgain(nobodyListens(cause))) return;
    this.fail(
      new MaestroError('engine_failed', 'No engine took the request.', { reason: 'refused', cause }),
      'engine_failed',
      'refused',
    );
  }

  private complete(readFacts: () => AnswerFacts, rest: Buffer | undefined): void {
    const nowMs = this.context.clock.nowMs();
    if (this.phase === 'waiting' && !this.beginAnswer(nowMs)) return;
    this.answer.end(rest);
    // An engine that has answered in full has read the whole request, so nothing holds on to its bytes.
    if (this.pooledRoom) this.context.rooms.give(this.pooledRoom);
    this.pooledRoom = undefined;
    this.settle('completed', undefined, this.answer.statusCode, readFacts, nowMs);
  }

  private passRefusal(body: Buffer, headers: string[], status: number, kind: OutcomeKind, reason: string): void {
    if (this.held?.begun) this.answer.end(refusalEvent(status, body, this.request.route.dialect));
    else {
      this.rates?.settle(true, kind);
      this.answer.writeHead(status, [...this.maestroHeaders(), ...headers]);
      this.answer.end(body);
    }
    this.settle(kind, reason, this.answer.statusCode);
  }

  /** Sends the head of the answer, unless a heartbeat has. False when the request has failed, because what comes is not the stream that has begun. */
  private beginAnswer(nowMs: number): boolean {
    const { status, headers, streamed } = this.call!.head!;
    if (this.held?.begun && !streamed) {
      const error = new MaestroError('engine_failed', 'The engine did not answer with a stream.');
      this.fail(error, 'engine_failed', 'no-stream');
      return false;
    }
    this.phase = 'flowing';
    this.ttftMs = nowMs - this.arrivalMs;
    this.rememberResponse();
    const own = this.maestroHeaders();
    if (this.held?.begun) this.held.goOn(this.answer, own);
    else this.answer.begin(status, answerHeaders(own, headers, streamed), streamed);
    return true;
  }

  /** A response can be asked for and stopped by its id as soon as the client has that. */
  private rememberResponse(): void {
    const id = this.call?.responseId;
    if (id === undefined) return;
    const { tenant, workflowId } = this.intake!.stage;
    this.context.responses.remember(id, { tenant, workflowId, start: this.start! });
  }

  private maestroHeaders(): string[] {
    const { intake } = this;
    const headers = maestroHeaders(this.request.requestId, intake?.identity, this.start, intake?.changed);
    this.rates?.addHeaders(headers);
    return headers;
  }

  /** Ends what has taken too long. Called every now and then. */
  checkTimeouts(nowMs: number, wallMs: number): void {
    // An answer that waits for those before it on its connection is not what the client fails to take.
    if (this.blockedSinceMs !== undefined && this.answer.waits) this.blockedSinceMs = wallMs;
    const late = overdue(this, this.context.config.timeouts, nowMs, wallMs);
    if (late === undefined) {
      if (this.phase === 'queued' || this.phase === 'waiting') this.keepAlive(wallMs);
    } else if (late.kind === 'idle-client') {
      this.abortUpstream('client');
      if (!this.settled) this.settle('client_cancelled', 'idle-write', 499);
      this.answer.destroy();
    } else {
      this.fail(late.error, late.outcome, late.error.code);
    }
  }

  /** Shows a client who has nothing to read yet that somebody is there. */
  private keepAlive(wallMs: number): void {
    const { config, metrics } = this.context;
    const everyMs = this.streamRequested ? config.heartbeatMs : config.heartbeatWholeMs;
    if (everyMs === 0) return;
    this.held ??= new HeldAnswer(wallMs, everyMs);
    const told = this.held.beat(wallMs, this.answer, this.streamRequested, () => this.maestroHeaders());
    if (told) metrics.heartbeatSent();
  }

  /** Ends the request because the gateway closes. */
  terminate(): void {
    this.abortUpstream('shutdown');
    if (this.settled) this.answer.destroy();
    else this.fail(new MaestroError('shutting_down', 'This gateway is closing.'), 'rejected', 'shutting_down');
  }

  refuse(thrown: unknown): void {
    const error = MaestroError.from(thrown);
    if (error.code === 'internal') this.context.logger.error({ err: error.cause, requestId: this.request.requestId });
    this.fail(error, error.code === 'internal' ? 'internal' : 'rejected', error.reason ?? error.code);
  }

  /** Ends the request with an error, in whatever form the client can still be told. */
  private fail(error: MaestroError, kind: OutcomeKind, reason: string, facts: AnswerFacts = {}): void {
    if (this.settled) return;
    const { answer, call } = this;
    this.abortUpstream('timeout');
    if (!answer.headersSent) {
      this.rates?.settle(this.start !== undefined, kind, facts);
      sendError(answer, error, this.maestroHeaders(), this.request.route.dialect);
    } else if (!this.answer.ended) {
      // A JSON answer that stops halfway can only be cut, so that nobody takes it for whole.
      if (this.held?.begun || call?.head?.streamed) {
        this.answer.end(errorEvent(error, this.request.route.dialect, call?.stream));
      } else answer.destroy();
    }
    this.settle(kind, reason, answer.statusCode, () => facts);
  }

  private abortUpstream(cause: string): void {
    const { call } = this;
    if (!call || call.over) return;
    this.context.metrics.upstreamAborted(cause, this.phase);
    call.abort();
  }

  onClosed(): void {
    if (!this.settled) {
      this.abortUpstream('client');
      this.settle('client_cancelled', undefined, 499);
    }
    if (this.reservedBytes !== undefined) this.context.budget.remove(this.reservedBytes);
    this.context.places.give(this.place);
    this.forget(this, this.request.requestId);
  }

  private get settled(): boolean {
    return this.phase === 'sending';
  }

  /** Fixes how the request ends: once. Where all went well the client's last bytes leave before the others hear of it. */
  private settle(kind: OutcomeKind, reason: string | undefined, status: number, facts = noFacts, atMs?: number): void {
    const nowMs = atMs ?? this.context.clock.nowMs();
    this.phase = 'sending';
    if (this.answer.writableLength > 0) this.blockedSinceMs ??= this.context.wallClock.nowMs();
    const serviceMs = this.start ? nowMs - this.leftQueueMs : undefined;
    const { arrivalMs, ttftMs } = this;
    const ending = { kind, reason, httpStatus: status, ttftMs, durationMs: nowMs - arrivalMs, serviceMs };
    if (kind === 'completed') writeBatch.afterwards(() => this.account(ending, facts()));
    else this.account(ending, facts());
  }

  /** Tells the levels, the counters and the log how the request ended. */
  private account(ending: Ending, facts: AnswerFacts): void {
    const { context, intake, start } = this;
    if (facts.promptTokens !== undefined && ending.kind === 'completed' && intake!.scan.mediaCount === 0) {
      context.tokens.observe(intake!.stage.model, intake!.fields.promptBytes, facts.promptTokens);
    }
    this.rates?.settle(start !== undefined, ending.kind, facts);
    this.outcome = outcomeOf(ending, facts);
    this.handle?.finish(this.outcome);
    const { requestId, route } = this.request;
    reportEnd(context, { requestId, route, sloClass: intake?.stage.sloClass, start }, this.outcome);
  }
}
