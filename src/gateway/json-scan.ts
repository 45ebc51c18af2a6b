import { MaestroError } from '../model/error.js';
import { isName, WANTED_FIELDS, type WantedField, wantedField, wantedFieldOf } from './wanted-fields.js';

/** Field that holds the conversation: `input` in the Responses API; `none` where a request is no conversation. */
export type MessageList = 'messages' | 'input' | 'none';

/** All fields absent. What is found is written into a copy: objects of one shape, whatever a body has, are read several times as fast. */
const NO_FIELDS = Object.fromEntries(WANTED_FIELDS.map((field) => [field, undefined])) as Record<
  WantedField,
  JsonRange | undefined
>;

/** Where a value lies in the body: `[start, end)` in bytes. */
export interface JsonRange {
  readonly start: number;
  readonly end: number;
  /** Number of elements when the value is an array, else 0. */
  readonly elements: number;
}

export interface BodyScan {
  readonly fields: Readonly<Record<WantedField, JsonRange | undefined>>;
  /** Start and end offset of each element of the list of messages, one after the other. */
  readonly messageOffsets: readonly number[];
  /** Offset of the brace that closes the body; where new fields can be put in. */
  readonly closeOffset: number;
  /** Bytes inside long `data:` strings (images, audio), and how many there are: they are not text. */
  readonly mediaBytes: number;
  readonly mediaCount: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** A string longer than this that begins with `data:` counts as media. */
const MEDIA_STRING_BYTES = 1024;
/** Up to here a loop over the bytes of a string is cheaper than the native search. */
const SHORT_STRING_BYTES = 32;

/** V8 of Node 20 looks up a method of a typed array anew at every call, which costs as much as ten of the bytes that are looked at. */
const { indexOf } = Buffer.prototype;

/** Each message of a conversation is looked at on its own: a body of millions, of a few bytes each, would hold up all others for a second. */
const MAX_MESSAGES = 65_536;

const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

/**
 * Finds the wanted top-level values of a JSON object without decoding it. The whole structure is checked (brackets, commas,
 * colons, literals, numbers), the inside of strings is not: the engine decodes them anyway. Throws `invalid_request` that says
 * where when the body is malformed, nests deeper than `maxDepth`, or names a wanted field twice (parsers differ in which they take).
 * `messageList` is the field whose elements are located.
 */
export function scanBody(body: Buffer, maxDepth: number, messageList: MessageList = 'messages'): BodyScan {
  return new Scanner(body, maxDepth).scanObject(messageList);
}

/** The range of `key`'s value in the object that starts at `start`; undefined when it is absent. The object was scanned before. */
export function findMember(body: Buffer, start: number, key: string): JsonRange | undefined {
  const scanner = new Scanner(body, Number.POSITIVE_INFINITY);
  return scanner.findMember(start, key);
}

/** A field of an object, and where its key begins and its value lies. */
export interface JsonMember {
  readonly key: string;
  readonly keyStart: number;
  readonly start: number;
  readonly end: number;
}

/** All fields of the object that is the body, in their order. The body was scanned before. */
export function membersOf(body: Buffer): JsonMember[] {
  return new Scanner(body, Number.POSITIVE_INFINITY).members();
}

/**
 * Where the value of `key` begins in the object that starts at `start`; -1 when it is absent. Unlike {@link findMember} it does not look for the value's end, which a prompt has far away.
 * The object was scanned before.
 */
export function memberStart(body: Buffer, start: number, key: string): number {
  return new Scanner(body, Number.POSITIVE_INFINITY).memberStart(start, key);
}

/** Where each element of the array that starts at `start` begins. The array was scanned before. */
export function elementsOf(body: Buffer, start: number): number[] {
  return new Scanner(body, Number.POSITIVE_INFINITY).elementsOf(start);
}

/** Is a key its bytes? One with an escape is decoded, so that no spelling of a wanted field escapes notice. */
function isPlainKey(bytes: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index++) if (bytes[index] === BACKSLASH) return false;
  return true;
}

class Scanner {
  private position = 0;
  private keyEnd = 0;
  private mediaBytes = 0;
  private mediaCount = 0;

  constructor(
    private readonly bytes: Buffer,
    private readonly maxDepth: number,
  ) {}

  scanObject(messageList: MessageList): BodyScan {
    const fields = { ...NO_FIELDS };
    const messageOffsets: number[] = [];
    if (this.next() !== OPEN_BRACE) this.fail('expected a JSON object');
    this.position++;
    if (this.next() !== CLOSE_BRACE) {
      for (;;) {
        const field = this.readField();
        const start = this.position;
        const elements =
          this.bytes[start] === OPEN_BRACKET
            ? this.skipArray(1, field === messageList ? messageOffsets : undefined)
            : this.skipValue(1);
        if (field) {
          if (fields[field]) this.fail(`"${field}" is given twice`, field, start);
          fields[field] = { start, end: this.position, elements };
        }
        if (this.next() !== COMMA) break;
        this.position++;
      }
    }
    const closeOffset = this.position;
    if (this.next() !== CLOSE_BRACE) this.fail("expected ',' or '}' after a value");
    this.position++;
    if (this.next() !== -1) this.fail('expected nothing after the closing brace');
    return { fields, messageOffsets, closeOffset, mediaBytes: this.mediaBytes, mediaCount: this.mediaCount };
  }

  findMember(start: number, wanted: string): JsonRange | undefined {
    const valueStart = this.memberStart(start, wanted);
    if (valueStart < 0) return undefined;
    const elements = this.skipValue(1);
    return { start: valueStart, end: this.position, elements };
  }

  /** The position is then at the value. */
  memberStart(start: number, wanted: string): number {
    this.position = start;
    if (this.next() !== OPEN_BRACE) return -1;
    this.position++;
    if (this.next() === CLOSE_BRACE) return -1;
    for (;;) {
      if (this.readKeyIs(wanted)) return this.position;
      this.skipValue(1);
      if (this.next() !== COMMA) return -1;
      this.position++;
    }
  }

  members(): JsonMember[] {
    const members: JsonMember[] = [];
    this.next();
    this.position++;
    if (this.next() === CLOSE_BRACE) return members;
    for (;;) {
      this.next();
      const keyStart = this.position;
      const key = this.readKey();
      const start = this.position;
      this.skipValue(1);
      members.push({ key, keyStart, start, end: this.position });
      if (this.next() !== COMMA) return members;
      this.position++;
    }
  }

  elementsOf(start: number): number[] {
    this.position = start;
    const offsets: number[] = [];
    this.skipArray(0, offsets);
    return offsets.filter((_, index) => index % 2 === 0);
  }

  /** Skips white space; the byte that stands there, or -1 at the end. */
  private next(): number {
    const { bytes } = this;
    for (;;) {
      const byte = bytes[this.position];
      if (byte === undefined) return -1;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte;
      this.position++;
    }
  }

  /** Reads a key and its colon; the position is then at the value. */
  private readKey(): string {
    const start = this.skipKey();
    return isPlainKey(this.bytes, start, this.keyEnd)
      ? this.bytes.toString('latin1', start, this.keyEnd)
      : this.decodeKey(start);
  }

  /** The same, where only some keys matter; undefined for any other. */
  private readField(): WantedField | undefined {
    const start = this.skipKey();
    const field = wantedField(this.bytes, start, this.keyEnd);
    if (field || isPlainKey(this.bytes, start, this.keyEnd)) return field;
    return wantedFieldOf(this.decodeKey(start));
  }

  /** The same, where only one key matters. */
  private readKeyIs(wanted: string): boolean {
    const start = this.skipKey();
    if (isName(this.bytes, start, this.keyEnd, wanted)) return true;
    return !isPlainKey(this.bytes, start, this.keyEnd) && this.decodeKey(start) === wanted;
  }

  /** Passes a key and its colon; returns where the key begins, behind its quote, and notes where it ends. */
  private skipKey(): number {
    if (this.next() !== QUOTE) this.fail('expected a field name in double quotes');
    const start = this.position + 1;
    this.skipString();
    this.keyEnd = this.position - 1;
    if (this.next() !== COLON) this.fail("expected ':' after a field name");
    this.position++;
    this.next();
    return start;
  }

  private decodeKey(start: number): string {
    try {
      return JSON.parse(this.bytes.toString('utf8', start - 1, this.keyEnd + 1)) as string;
    } catch {
      return this.fail('a field name has a wrong escape', undefined, start - 1);
    }
  }

  /** Skips one value; returns the number of elements when it is an array, else 0. The position is at its first byte. */
  private skipValue(depth: number): number {
    const byte = this.bytes[this.position];
    switch (byte) {
      case QUOTE:
        this.skipString();
        return 0;
      case OPEN_BRACE:
        this.skipObject(depth);
        return 0;
      case OPEN_BRACKET:
        return this.skipArray(depth, undefined);
      case 0x74:
        this.skipLiteral('true');
        return 0;
      case 0x66:
        this.skipLiteral('false');
        return 0;
      case 0x6e:
        this.skipLiteral('null');
        return 0;
      default:
        this.skipNumber();
        return 0;
    }
  }

  private skipObject(depth: number): void {
    if (depth >= this.maxDepth) this.fail(`nested deeper than ${this.maxDepth} levels`);
    this.position++;
    if (this.next() === CLOSE_BRACE) {
      this.position++;
      return;
    }
    for (;;) {
      if (this.next() !== QUOTE) this.fail('expected a field name in double quotes');
      this.skipString();
      if (this.next() !== COLON) this.fail("expected ':' after a field name");
      this.position++;
      this.next();
      this.skipValue(depth + 1);
      const byte = this.next();
      this.position++;
      if (byte === COMMA) continue;
      if (byte === CLOSE_BRACE) return;
      this.position--;
      this.fail("expected ',' or '}' after a value");
    }
  }

  private skipArray(depth: number, offsets: number[] | undefined): number {
    if (depth >= this.maxDepth) this.fail(`nested deeper than ${this.maxDepth} levels`);
    this.position++;
    if (this.next() === CLOSE_BRACKET) {
      this.position++;
      return 0;
    }
    for (let count = 1; ; count++) {
      this.next();
      if (offsets && count > MAX_MESSAGES) this.fail(`more than ${MAX_MESSAGES} messages`);
      offsets?.push(this.position);
      this.skipValue(depth + 1);
      offsets?.push(this.position);
      const byte = this.next();
      this.position++;
      if (byte === COMMA) continue;
      if (byte === CLOSE_BRACKET) return count;
      this.position--;
      this.fail("expected ',' or ']' after an element");
    }
  }

  private skipString(): void {
    const { bytes } = this;
    const start = this.position;
    const { length } = bytes;
    let index = start + 1;
    for (;;) {
      const shortEnd = Math.min(index + SHORT_STRING_BYTES, length);
      while (index < shortEnd) {
        const byte = bytes[index];
        if (byte === QUOTE) {
          this.position = index + 1;
          return;
        }
        index += byte === BACKSLASH ? 2 : 1;
      }
      const quote = indexOf.call(bytes, QUOTE, index);
      if (quote < 0) this.fail('a string that begins here has no end', undefined, start);
      let before = quote - 1;
      while (before >= index && bytes[before] === BACKSLASH) before--;
      if (((quote - 1 - before) & 1) === 0) {
        this.position = quote + 1;
        if (quote - start > MEDIA_STRING_BYTES && bytes.toString('latin1', start + 1, start + 6) === 'data:') {
          this.mediaBytes += quote - start;
          this.mediaCount++;
        }
        return;
      }
      index = quote + 1;
    }
  }

  private skipLiteral(word: string): void {
    for (let index = 0; index < word.length; index++) {
      if (this.bytes[this.position + index] !== word.charCodeAt(index)) this.fail('expected a value');
    }
    this.position += word.length;
  }

  private skipNumber(): void {
    const { bytes } = this;
    const start = this.position;
    let index = start;
    let plain = true;
    for (;;) {
      const byte = bytes[index];
      if (byte === undefined) break;
      if (byte >= 0x30 && byte <= 0x39) index++;
      else if (byte === 0x2d || byte === 0x2b || byte === 0x2e || byte === 0x65 || byte === 0x45) {
        plain = false;
        index++;
      } else break;
    }
    if (index === start) this.fail('expected a value');
    const leadingZero = bytes[start] === 0x30 && index > start + 1;
    if ((!plain || leadingZero) && (index - start > 400 || !NUMBER.test(bytes.toString('latin1', start, index)))) {
      this.fail('this is not a JSON number');
    }
    this.position = index;
  }

  private fail(problem: string, param?: string, offset = this.position): never {
    const ahead = this.bytes.subarray(0, offset);
    let line = 1;
    for (let at = ahead.indexOf(0x0a); at >= 0; at = ahead.indexOf(0x0a, at + 1)) line++;
    const column = offset - ahead.lastIndexOf(0x0a);
    const where = offset >= this.bytes.length ? `the end (byte ${offset})` : `byte ${offset}`;
    throw new MaestroError(
      'invalid_request',
      `The request body is not usable JSON at ${where}, line ${line}, column ${column}: ${problem}.`,
      { param },
    );
  }
}
