import type { ClientAnswer } from './client-answer.js';
import { UNBUFFERED } from './headers.js';

/** A line that begins with a colon is a comment: clients skip it (WHATWG HTML, "Interpreting an event stream"). vLLM 0.32 writes the same on request. */
const COMMENT = Buffer.from(': keep-alive\n\n');

/**
 * A request whose client has nothing to read yet: it waits in the queue, for a model to wake, or for its engine. It is made when the gateway's sweep finds it waiting, so a
 * request that waits for nothing has none. While it waits, comments of a stream, or interim responses where the answer comes whole, keep clients and proxies from giving the
 * connection up.
 */
export class HeldAnswer {
  /** The client has got the head of its answer: what fails from now on is told by an event. */
  begun = false;
  private dueMs: number;
  /** Names and values in turn that stand in the head. */
  private told: readonly string[] = [];

  /**
   * @param wallMs When it was found waiting, wall milliseconds.
   * @param everyMs Wait before the first sign of life and between two, wall milliseconds.
   */
  constructor(
    wallMs: number,
    private readonly everyMs: number,
  ) {
    this.dueMs = wallMs + everyMs;
  }

  /**
   * Sends a sign of life if one is due; true when it did. To the client of a stream that is a comment, and before the first one the head of the answer. Where the answer
   * comes whole, an interim response leaves its status open (RFC 9110, section 15.2).
   */
  beat(wallMs: number, answer: ClientAnswer, streamed: boolean, headers: () => string[]): boolean {
    if (wallMs < this.dueMs) return false;
    this.dueMs = wallMs + this.everyMs;
    // A client that has not taken the last one needs no further one.
    if (answer.destroyed || answer.writableLength > 0) return false;
    if (!streamed) return answer.writeInterim();
    if (!this.begun) {
      this.begun = true;
      this.told = headers();
      answer.begin(200, [...this.told, 'content-type', 'text/event-stream; charset=utf-8', ...UNBUFFERED], true);
    }
    answer.write(COMMENT);
    return true;
  }

  /** The engine's stream begins: what `headers` say by now and the head did not, such as the engine, goes before it as a comment. */
  goOn(answer: ClientAnswer, headers: readonly string[]): void {
    let comment = '';
    for (let index = 0; index < headers.length; index += 2) {
      const [name, value] = [headers[index]!, headers[index + 1]!];
      const at = this.told.indexOf(name);
      if (at < 0 || this.told[at + 1] !== value) comment += `: ${name}: ${value}\n`;
    }
    if (comment) answer.write(Buffer.from(`${comment}\n`, 'latin1'));
  }
}
