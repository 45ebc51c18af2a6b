import type { ServerResponse } from 'node:http';
import type { AnswerWriter } from './answer-writer.js';
import { UNBUFFERED } from './headers.js';

/** A line that begins with a colon is a comment: clients skip it (WHATWG HTML, "Interpreting an event stream"). vLLM 0.32 writes the same on request. */
const COMMENT = Buffer.from(': keep-alive\n\n');

/**
 * A streamed request whose client has nothing to read yet: it waits in the queue, for a model to wake, or for its engine's first event. It is made when the gateway's
 * sweep finds it waiting, so a request that waits for nothing has none. While it waits, comments keep clients and proxies from giving the connection up.
 */
export class HeldStream {
  /** The client has got the head of its answer: what fails from now on is told by an event. */
  begun = false;
  private dueMs: number;
  /** Names and values in turn that stand in the head. */
  private told: readonly string[] = [];

  /**
   * @param wallMs When it was found waiting, wall milliseconds.
   * @param everyMs Wait before the first comment and between two, wall milliseconds.
   */
  constructor(
    wallMs: number,
    private readonly everyMs: number,
  ) {
    this.dueMs = wallMs + everyMs;
  }

  /** Sends a comment if one is due, and before the first one the head of the answer. True when it did. */
  beat(wallMs: number, res: ServerResponse, writer: AnswerWriter, headers: () => string[]): boolean {
    if (wallMs < this.dueMs) return false;
    this.dueMs = wallMs + this.everyMs;
    // A client that has not taken the last one needs no further one.
    if (res.destroyed || res.writableLength > 0) return false;
    if (!this.begun) {
      this.begun = true;
      this.told = headers();
      writer.begin(200, [...this.told, 'content-type', 'text/event-stream; charset=utf-8', ...UNBUFFERED], true);
    }
    writer.write(COMMENT);
    return true;
  }

  /** The engine's stream begins: what `headers` say by now and the head did not, such as the engine, goes before it as a comment. */
  goOn(writer: AnswerWriter, headers: readonly string[]): void {
    let comment = '';
    for (let index = 0; index < headers.length; index += 2) {
      const [name, value] = [headers[index]!, headers[index + 1]!];
      const at = this.told.indexOf(name);
      if (at < 0 || this.told[at + 1] !== value) comment += `: ${name}: ${value}\n`;
    }
    if (comment) writer.write(Buffer.from(`${comment}\n`, 'latin1'));
  }
}
