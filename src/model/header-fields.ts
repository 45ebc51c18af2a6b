/** A name of token characters and a value without control characters; white space around the value does not belong to it. */
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t\x20-\x7e\x80-\xff]*)$/;
/** Fields of a head that are remembered, and how long such a line may be. */
const MOST_FIELDS = 16;
const LONGEST_KNOWN_LINE = 128;
/** Values that nobody but their reader keeps. */
const SECRET: ReadonlySet<string> = new Set(['authorization', 'proxy-authorization', 'x-api-key', 'cookie']);

/** Fields by name, without what objects inherit, so that no name finds anything there. A bare `Object.create(null)` would be a hash table, which is slow to write. */
class Fields {
  [name: string]: string | string[];
}
Object.setPrototypeOf(Fields.prototype, null);
Reflect.deleteProperty(Fields.prototype, 'constructor');

/** An empty set of header fields by lower-case name. */
export function noFields(): Record<string, string | string[]> {
  return new Fields();
}

export interface HeaderField {
  /** As it came, without its line end. */
  readonly line: string;
  /** In lower case. */
  readonly name: string;
  readonly value: string;
}

/**
 * Takes the lines of HTTP/1.1 heads apart. One peer sends the same few lines in the same order with every head; to take one apart, or to look it up, costs more than to compare it
 * with the one that stood in its place last time.
 */
export class HeaderFieldReader {
  private readonly last: (HeaderField | undefined)[] = [];

  /** The field whose line begins at `from` and is the one at this place of the head; undefined when it is malformed. Lines end with CRLF or with the head. */
  fieldAt(head: string, from: number, place: number): HeaderField | undefined {
    const last = this.last[place];
    if (last !== undefined && head.startsWith(last.line, from)) {
      const end = from + last.line.length;
      if (end === head.length || head.startsWith('\r\n', end)) return last;
    }
    const line = head.slice(from, lineEnd(head, from));
    const match = FIELD_LINE.exec(line);
    if (!match) return undefined;
    const field = { line, name: match[1]!.toLowerCase(), value: match[2]!.trimEnd() };
    if (place < MOST_FIELDS && line.length <= LONGEST_KNOWN_LINE && !SECRET.has(field.name)) this.last[place] = field;
    return field;
  }
}

/** Where the line that begins at `from` ends, its line end not counted. */
export function lineEnd(head: string, from: number): number {
  const end = head.indexOf('\r\n', from);
  return end < 0 ? head.length : end;
}
