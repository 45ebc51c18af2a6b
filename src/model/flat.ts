/** Places that there is room for at first; doubled whenever they are used up. */
const FIRST_ROOM = 8;

/** A column of a flat table, with room for the place: itself, or a larger copy. */
export function floatsWithRoom(column: Float64Array<ArrayBuffer>, place: number): Float64Array<ArrayBuffer> {
  if (place < column.length) return column;
  const larger = new Float64Array(roomFor(place, column.length));
  larger.set(column);
  return larger;
}

/** The same of whole numbers. */
export function intsWithRoom(column: Int32Array<ArrayBuffer>, place: number): Int32Array<ArrayBuffer> {
  if (place < column.length) return column;
  const larger = new Int32Array(roomFor(place, column.length));
  larger.set(column);
  return larger;
}

function roomFor(place: number, before: number): number {
  let room = Math.max(FIRST_ROOM, before);
  while (room <= place) room *= 2;
  return room;
}

/** Hands out the places of flat tables; those that are given back come first again. */
export class FreePlaces {
  private readonly free: number[] = [];
  private used = 0;

  take(): number {
    return this.free.pop() ?? this.used++;
  }

  give(place: number): void {
    this.free.push(place);
  }
}
