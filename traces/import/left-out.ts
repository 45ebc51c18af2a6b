import type { BadFile } from '../lines.js';
import type { TraceHeader } from '../schema.js';

const LEFT_OUT = 'Left out: ';

/** A note of the header on sound records that make no call: `what` they are, and why. None where there are none. */
export function leftOutNote(count: number, of: number, what: string): string[] {
  return count === 0 ? [] : [`${LEFT_OUT}${count} of ${of} ${what}.`];
}

/** What the header of an imported trace says was left out. */
export function leftOutNotes(header: TraceHeader | undefined): string[] {
  return (header?.notes ?? []).flatMap((note) => (note.startsWith(LEFT_OUT) ? [note.slice(LEFT_OUT.length)] : []));
}

/** Counts the records that an import leaves out, file by file. */
export class LeftOut {
  private readonly files = new Map<string, { readonly first: BadFile; count: number }>();

  add(error: BadFile): void {
    const known = this.files.get(error.path);
    if (known) known.count += 1;
    else this.files.set(error.path, { first: error, count: 1 });
  }

  /** A line for each file: what is wrong with its first such record, and how many there are. */
  describe(): string[] {
    return [...this.files.values()].map(({ first, count }) =>
      count === 1 ? `${first.message} (left out)` : `${first.message} (left out, with ${count - 1} more of this file)`,
    );
  }
}
