import type { BadFile } from '../lines.js';
import type { TraceHeader } from '../schema.js';

/** What the header says of sound records that make no call: `count` of `of`, which they are, and why. Nothing where there are none. */
export function leftOutField(
  ...records: readonly (readonly [count: number, of: number, what: string])[]
): Pick<TraceHeader, 'left_out'> {
  const told = records.flatMap(([count, of, what]) => (count === 0 ? [] : [`${count} of ${of} ${what}.`]));
  return told.length === 0 ? {} : { left_out: told };
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
