import { RollingHash, seeded, shortText } from './rolling-hash.js';
import type { ByteRange } from './system-prompt.js';

/** First block boundary in bytes; about 128 tokens. */
const FIRST_BLOCK_BYTES = 512;
/** Steps per doubling of the length: the shared prefix of two prompts is known to an eighth of its length or better. */
const STEPS_PER_DOUBLING = 8;

const NO_OFFSETS: readonly number[] = [];

/** Hashes of a prompt at two kinds of places. */
interface Passed {
  /** At each block boundary, from the beginning of the prompt. */
  readonly blocks: readonly number[];
  /** At the end of each message. */
  readonly messages: readonly number[];
}

/**
 * Hashes of the prompt of one request. A prompt may be long, so it is read once, where both kinds are asked for: the ends of messages first.
 */
export class PromptHashes {
  private passed: Passed | undefined;

  /**
   * `prompt` is where the prompt lies in the body, `system` the system prompt where that stands in a field of its own: engines read it first.
   * `messageOffsets` holds start and end of each message of the prompt, one after the other.
   */
  constructor(
    private readonly body: Buffer,
    private readonly prompt: ByteRange,
    private readonly system: ByteRange | undefined,
    private readonly messageOffsets: readonly number[],
  ) {}

  /** Of the messages, from the first to the end of each. What precedes them in a field of its own does not count. */
  messages(): readonly number[] {
    const passed = pass(this.body, [this.prompt], this.messageOffsets);
    if (!this.system) this.passed = passed;
    return passed.messages;
  }

  /**
   * Of the growing prompt, oldest first, one at each block boundary. Boundaries depend only on the distance from the start, and blocks grow with it (512 bytes up to 8 KiB,
   * then an eighth of the length), so a prompt of 1 MB has some 70 of them. What comes before the prompt (tools) and whatever must keep prompts apart (tenant, model) goes into `seed`,
   * which is asked for only where there are any.
   */
  prefixes(seed: () => RollingHash): string[] {
    const { body, prompt, system } = this;
    const parts = system ? [system, prompt] : [prompt];
    const { blocks } = this.passed ?? pass(body, parts, NO_OFFSETS);
    if (blocks.length === 0) return [];
    const number = seed().value();
    return blocks.map((value) => shortText(seeded(value, number)));
  }
}

/** Reads the parts of a prompt one after the other; `messageOffsets` are starts and ends of messages in the last of them. */
function pass(body: Buffer, parts: readonly ByteRange[], messageOffsets: readonly number[]): Passed {
  const hash = new RollingHash();
  const blocks: number[] = [];
  const messages: number[] = [];
  let messageEnd = messageOffsets[1];
  let step = FIRST_BLOCK_BYTES;
  let offset = 0;
  let missing = step;
  let left = 0;
  for (const { start, end } of parts) left += end - start;
  for (const { start, end } of parts) {
    let at = start;
    while (at < end) {
      // What comes after the last boundary is in no hash.
      if (missing > left && messageEnd === undefined) return { blocks, messages };
      const next = Math.min(end, at + missing, messageEnd ?? end);
      hash.update(body, at, next);
      missing -= next - at;
      left -= next - at;
      at = next;
      if (missing === 0) {
        blocks.push(hash.value());
        offset += step;
        if (offset >= 2 * STEPS_PER_DOUBLING * step) step *= 2;
        missing = step;
      }
      if (at === messageEnd) {
        messages.push(hash.value());
        messageEnd = messageOffsets[2 * messages.length + 1];
      }
    }
  }
  return { blocks, messages };
}
