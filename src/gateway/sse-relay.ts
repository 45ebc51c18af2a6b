import { isObject, parseJson } from '../model/json.js';
import { type AnswerFacts, learnFinish, learnResponse, learnStopReason, learnUsage } from './answer-facts.js';
import type { ApiDialect } from './routes.js';

const LF = 0x0a;
const CR = 0x0d;
/** The ends of `"usage"` and `"error"`: a search looks for the first byte of a word, and an event has more quotes than anything else. */
const USAGE = Buffer.from('usage"');
const ERROR = Buffer.from('rror"');
const MESSAGE_STOP = Buffer.from('message_stop');
/** How the closing event of the Responses API begins; it holds the whole answer and may be longer than what is held. */
const RESPONSE_END = /^event: response\.(completed|incomplete)\r?\n/;
const MAX_HELD_PIECES = 256;

/**
 * Passes an SSE answer on, frame by frame and byte for byte. It holds back only what is not yet a whole frame, so that a client never sees
 * half an event, and looks only into frames that may hold `"usage"` or `"error"` and at the last one. It leaves out:
 * - the usage frame, when the client did not ask for it;
 * - the `[DONE]` that follows an error frame;
 * - an error frame that is not in the shape of the API: the gateway writes one that is.
 * A frame longer than `maxFrameBytes` passes in pieces and uninspected.
 */
export class SseRelay {
  readonly facts: AnswerFacts = {};
  /** The closing `[DONE]`, or whatever event closes a stream of the API, has come. */
  done = false;
  /** The `error` object of an error frame, once one has come. */
  error: Record<string, unknown> | undefined;
  /** The error frame has been handed on: it is in the shape of the API. */
  errorTold = false;
  /** Id of the response, in the Responses API. */
  responseId: string | undefined;
  /** The error frame came first: there was no content at all. */
  errorFirst = false;

  private held: Buffer[] = [];
  private heldBytes = 0;
  /** Inside a frame that is too long to be held. */
  private passing = false;
  /** The last bytes seen, in case a blank line is split. */
  private carry: Buffer = Buffer.alloc(0);
  private lastContent: Buffer | undefined;
  private contentSeen = false;

  constructor(
    private readonly wantsUsage: boolean,
    private readonly maxFrameBytes: number,
    private readonly dialect: ApiDialect = 'openai',
  ) {}

  /** Number of the next event, in the Responses API. */
  nextSequence(): number {
    const text = this.lastContent?.toString('latin1') ?? '';
    const last = [...text.matchAll(/"sequence_number":\s?(\d{1,9})/g)].at(-1)?.[1];
    return last === undefined ? 0 : Number(last) + 1;
  }

  /** Has part of a frame been sent whose rest has not come? */
  get midFrame(): boolean {
    return this.passing;
  }

  /** Takes what the engine sent; returns what the client gets now, if anything. */
  push(chunk: Buffer): Buffer | undefined {
    if (this.passing) return this.pass(chunk);
    const end = this.held.length === 0 ? lastFrameEnd(chunk) : this.lastFrameEndAcross(chunk);
    if (end === 0) {
      this.hold(chunk);
      return this.heldBytes > this.maxFrameBytes ? this.startPassing() : undefined;
    }
    const frames = this.take(end === chunk.length ? chunk : chunk.subarray(0, end));
    if (end < chunk.length) this.hold(chunk.subarray(end));
    const kept = this.inspect(frames);
    if (this.heldBytes <= this.maxFrameBytes) return kept;
    const started = this.startPassing();
    return kept ? Buffer.concat([kept, started]) : started;
  }

  /** The engine's answer ended. Returns a last frame whose blank line is missing, when it is the closing one. */
  end(): Buffer | undefined {
    if (this.held.length === 0) return undefined;
    const rest = this.take(Buffer.alloc(0));
    if (frameData(rest) !== '[DONE]') return undefined;
    return this.inspect(Buffer.concat([rest, Buffer.from('\n\n')]));
  }

  private hold(piece: Buffer): void {
    if (piece.length === 0) return;
    // A frame that comes in crumbs is joined now and then, so that it costs bytes and not objects.
    if (this.held.length >= MAX_HELD_PIECES) this.held = [Buffer.concat(this.held)];
    this.held.push(piece);
    this.heldBytes += piece.length;
  }

  /** Everything held, followed by `rest`. */
  private take(rest: Buffer): Buffer {
    if (this.held.length === 0) return rest;
    this.held.push(rest);
    const taken = Buffer.concat(this.held);
    this.held = [];
    this.heldBytes = 0;
    return taken;
  }

  /** Like {@link lastFrameEnd}, where the blank line may have begun in what is held. The result is an offset in `chunk`. */
  private lastFrameEndAcross(chunk: Buffer): number {
    const before = lastBytes(this.held);
    return Math.max(0, lastFrameEnd(Buffer.concat([before, chunk])) - before.length);
  }

  private startPassing(): Buffer {
    this.carry = lastBytes(this.held);
    this.passing = true;
    const begun = this.take(Buffer.alloc(0));
    if (this.dialect === 'responses' && RESPONSE_END.test(begun.toString('latin1', 0, 64))) this.done = true;
    return begun;
  }

  private pass(chunk: Buffer): Buffer | undefined {
    const { carry } = this;
    const end = firstFrameEnd(Buffer.concat([carry, chunk]), 0) - carry.length;
    if (end <= 0) {
      this.carry = lastBytes([carry, chunk]);
      return chunk;
    }
    this.passing = false;
    if (end === chunk.length) return chunk;
    const more = this.push(chunk.subarray(end));
    return more ? Buffer.concat([chunk.subarray(0, end), more]) : chunk.subarray(0, end);
  }

  /** Looks at whole frames, if there is reason to, and returns those that go on. */
  private inspect(frames: Buffer): Buffer | undefined {
    const marks = this.marksIn(frames);
    if (!marks) {
      this.lastContent = frames;
      this.contentSeen = true;
      return frames;
    }
    const kept: Buffer[] = [];
    let keptFrom = 0;
    for (let start = 0; start < frames.length; ) {
      const end = firstFrameEnd(frames, start) || frames.length;
      // Of many events that come together few are more than content.
      if (!mayEndWithDone(frames, start, end) && !marks.some((mark) => mark.isWithin(start, end))) {
        this.contentSeen = true;
      } else if (!this.keeps(frames.subarray(start, end))) {
        if (keptFrom < start) kept.push(frames.subarray(keptFrom, start));
        keptFrom = end;
      }
      start = end;
    }
    if (this.dialect === 'openai') {
      if (this.lastContent) learnFinish(this.facts, this.lastContent);
      learnFinish(this.facts, frames);
      this.lastContent = undefined;
    } else this.lastContent = frames;
    if (keptFrom === 0) return frames;
    if (keptFrom < frames.length) kept.push(frames.subarray(keptFrom));
    return kept.length < 2 ? kept[0] : Buffer.concat(kept);
  }

  /** A cheap look: where the frames hold what may be more than content; undefined where none of them can be. */
  private marksIn(frames: Buffer): Mark[] | undefined {
    const usageAt = frames.indexOf(USAGE);
    const errorAt = frames.indexOf(ERROR);
    const stopAt = this.dialect === 'anthropic' ? frames.indexOf(MESSAGE_STOP) : -1;
    if (usageAt < 0 && errorAt < 0 && stopAt < 0 && !mayEndWithDone(frames, 0, frames.length)) return undefined;
    return [new Mark(frames, USAGE, usageAt), new Mark(frames, ERROR, errorAt), new Mark(frames, MESSAGE_STOP, stopAt)];
  }

  /** Understands a frame that may be more than content; false where it does not go on. */
  private keeps(frame: Buffer): boolean {
    const data = frameData(frame);
    if (data === '[DONE]') {
      this.done = true;
      return this.error === undefined;
    }
    const content = parseJson(data);
    const error = isObject(content) ? content['error'] : undefined;
    if (isObject(error) || typeof error === 'string') {
      this.error = isObject(error) ? error : { message: error };
      this.errorFirst = !this.contentSeen;
      this.errorTold = this.dialect === 'openai' || (isObject(content) && content['type'] === 'error');
      return this.errorTold;
    }
    this.contentSeen = true;
    if (isObject(content) && this.dialect !== 'openai') this.learnEvent(content);
    if (!isObject(content) || !isObject(content['usage'])) return true;
    learnUsage(this.facts, content['usage']);
    const { choices } = content;
    return this.wantsUsage || !Array.isArray(choices) || choices.length > 0;
  }

  /** An event of the Responses or the Messages API. */
  private learnEvent(event: Record<string, unknown>): void {
    const { type, response, message, delta } = event;
    if (type === 'message_stop') this.done = true;
    if (isObject(message)) learnUsage(this.facts, message['usage']);
    if (isObject(delta)) learnStopReason(this.facts, delta['stop_reason']);
    if (!isObject(response)) return;
    if (typeof response['id'] === 'string') this.responseId = response['id'];
    if (type === 'response.completed' || type === 'response.incomplete') {
      this.done = true;
      learnResponse(this.facts, response);
    } else if (type === 'response.failed') {
      this.error = isObject(response['error']) ? response['error'] : {};
      this.errorTold = true;
    }
  }
}

/** The `data` of a frame as the SSE specification reads it. */
function frameData(frame: Buffer): string {
  let data: string | undefined;
  for (const line of frame.toString('utf8').split(/\r?\n/)) {
    if (!line.startsWith('data:')) continue;
    const value = line.startsWith(' ', 5) ? line.slice(6) : line.slice(5);
    data = data === undefined ? value : `${data}\n${value}`;
  }
  return data ?? '';
}

/** Where a word stands in bytes that are looked through from the beginning to the end. */
class Mark {
  /** @param at The first place; -1: it stands nowhere. */
  constructor(
    private readonly bytes: Buffer,
    private readonly word: Buffer,
    private at: number,
  ) {}

  /** Does it stand in `[start, end)`? Later calls ask for later bytes. */
  isWithin(start: number, end: number): boolean {
    if (this.at >= 0 && this.at < start) this.at = this.bytes.indexOf(this.word, start);
    return this.at >= 0 && this.at < end;
  }
}

/** A cheap look at the end: could the last frame of `[start, end)` be `[DONE]`? */
function mayEndWithDone(bytes: Buffer, start: number, end: number): boolean {
  let index = end - 1;
  while (index > start && (bytes[index] === LF || bytes[index] === CR)) index--;
  return index > start && bytes[index] === 0x5d && bytes[index - 1] === 0x45;
}

/** The last two bytes of the pieces: enough to recognise a blank line that is split. */
function lastBytes(pieces: readonly Buffer[]): Buffer {
  const last = pieces[pieces.length - 1]!;
  if (last.length >= 2 || pieces.length === 1) return last.subarray(-2);
  return Buffer.concat(pieces.slice(-3)).subarray(-2);
}

/** Offset after the last blank line in `bytes`; 0 when there is none. */
function lastFrameEnd(bytes: Buffer): number {
  for (let at = bytes.lastIndexOf(LF); at > 0; at = bytes.lastIndexOf(LF, at - 1)) {
    if (bytes[at - 1] === LF || (bytes[at - 1] === CR && bytes[at - 2] === LF)) return at + 1;
  }
  return 0;
}

/** Offset after the first blank line at or behind `from`; 0 when there is none. */
function firstFrameEnd(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(LF, from); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return 0;
}
