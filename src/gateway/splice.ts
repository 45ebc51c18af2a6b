/** Replaces the bytes `[start, end)` of a body with `text`; an insertion when both are equal. */
export interface Edit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/**
 * The body with the edits carried out, everything between them byte for byte. Edits are in ascending order and do not overlap. `room` is a
 * buffer that may be written over, at whose beginning the body mostly lies: where it suffices, the edits are made there, in place, and `body` is changed; a second
 * buffer for every large body would set off full garbage collections. Otherwise a new buffer is made.
 */
export function splice(body: Buffer, room: Buffer, edits: readonly Edit[]): Buffer {
  if (edits.length === 0) return body;
  let length = body.length;
  for (const edit of edits) length += Buffer.byteLength(edit.text) - (edit.end - edit.start);
  const target = length <= room.length ? room : Buffer.allocUnsafe(length);
  // A body that was made over before may have left its room.
  const inPlace = target.buffer === body.buffer && target.byteOffset === body.byteOffset;
  if (edits.length === 1) moveAround(body, target, edits[0]!, length, inPlace);
  else moveKept(body, target, edits, inPlace);
  let shift = 0;
  for (const edit of edits) {
    const written = target.write(edit.text, edit.start + shift);
    shift += written - (edit.end - edit.start);
  }
  return target.length === length ? target : target.subarray(0, length);
}

/** The same as {@link moveKept} for the single edit that most requests get. */
function moveAround(body: Buffer, target: Buffer, { start, end }: Edit, length: number, inPlace: boolean): void {
  body.copy(target, length - (body.length - end), end, body.length);
  if (!inPlace) body.copy(target, 0, 0, start);
}

/** Copies the bytes that stay to where they will be. Within one buffer the order keeps them from overwriting each other. */
function moveKept(body: Buffer, target: Buffer, edits: readonly Edit[], inPlace: boolean): void {
  const segments: { start: number; end: number; shift: number }[] = [];
  let start = 0;
  let shift = 0;
  for (const edit of edits) {
    segments.push({ start, end: edit.start, shift });
    shift += Buffer.byteLength(edit.text) - (edit.end - edit.start);
    start = edit.end;
  }
  segments.push({ start, end: body.length, shift });
  const move = ({ start, end, shift }: (typeof segments)[number]) => {
    if (end > start && (shift !== 0 || !inPlace)) body.copy(target, start + shift, start, end);
  };
  // To the right from the last on, to the left from the first on.
  for (let index = segments.length - 1; index >= 0; index--) if (segments[index]!.shift > 0) move(segments[index]!);
  for (const segment of segments) if (segment.shift <= 0) move(segment);
}
