/** Replaces the bytes `[start, end)` of a body with `text`; an insertion when both are equal. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** The body with the edits carried out, everything between them byte for byte. Edits are in ascending order and do not overlap. */
export function splice(body: Buffer, edits: readonly Edit[]): Buffer {
  if (edits.length === 0) return body;
  let length = body.length;
  for (const edit of edits) length += Buffer.byteLength(edit.text) - (edit.end - edit.start);
  const spliced = Buffer.allocUnsafe(length);
  let from = 0;
  let to = 0;
  for (const edit of edits) {
    to += body.copy(spliced, to, from, edit.start);
    to += spliced.write(edit.text, to);
    from = edit.end;
  }
  body.copy(spliced, to, from);
  return spliced;
}
