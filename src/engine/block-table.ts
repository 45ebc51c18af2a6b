/** No slot; a key that is not there. */
export const NO_SLOT = -1;

const FIRST_ROOM = 64;
/** Keys that follow each other stand in one row, so many of them: prompts are walked block by block, and their blocks come and go together. */
const ROW = 16;

/**
 * Slots of cached blocks by the hash of their content. Long prompts look up and store thousands of blocks, each for a moment: numbers, as the simulator has them, lie in rows of neighbours in
 * flat arrays, without an object for each; rows are probed linearly, at most half of them in use, with deletion by shifting back. Strings, as the emulated server has them, stand in a map.
 */
export class BlockTable {
  /** By place: the row's number, how many of its keys are there, and their slots. */
  private rows = new Float64Array(FIRST_ROOM);
  private counts = new Uint8Array(FIRST_ROOM);
  private members = new Int32Array(ROW * FIRST_ROOM).fill(NO_SLOT);
  private rowsInUse = 0;
  /** Where the last row was found. */
  private lastPlace = 0;
  private numbers = new Float64Array(FIRST_ROOM);
  /** Undefined for a slot whose key is a number. */
  private readonly strings: (string | undefined)[] = [];
  private readonly byString = new Map<string, number>();
  private readonly free: number[] = [];
  private slots = 0;

  /** Slots are below this. */
  get room(): number {
    return this.numbers.length;
  }

  find(key: string | number): number {
    if (typeof key === 'string') return this.byString.get(key) ?? NO_SLOT;
    const row = Math.floor(key / ROW);
    const place = this.placeOf(row);
    return this.counts[place] === 0 ? NO_SLOT : this.members[ROW * place + key - ROW * row]!;
  }

  /** A slot for a key that is new; {@link NO_SLOT} where it is known. */
  add(key: string | number): number {
    if (typeof key === 'string') {
      if (this.byString.has(key)) return NO_SLOT;
      const slot = this.takeSlot();
      this.byString.set(key, slot);
      this.strings[slot] = key;
      return slot;
    }
    const row = Math.floor(key / ROW);
    let place = this.placeOf(row);
    if (this.counts[place] === 0) place = this.beginRow(row, place);
    const index = ROW * place + key - ROW * row;
    if (this.members[index] !== NO_SLOT) return NO_SLOT;
    const slot = this.takeSlot();
    this.members[index] = slot;
    this.counts[place]! += 1;
    this.numbers[slot] = key;
    this.strings[slot] = undefined;
    return slot;
  }

  keyOf(slot: number): string | number {
    return this.strings[slot] ?? this.numbers[slot]!;
  }

  remove(slot: number): void {
    this.free.push(slot);
    const text = this.strings[slot];
    if (text !== undefined) {
      this.byString.delete(text);
      return;
    }
    const key = this.numbers[slot]!;
    const row = Math.floor(key / ROW);
    const place = this.placeOf(row);
    this.members[ROW * place + key - ROW * row] = NO_SLOT;
    this.counts[place]! -= 1;
    if (this.counts[place] === 0) this.endRow(place);
  }

  clear(): void {
    this.counts.fill(0);
    this.members.fill(NO_SLOT);
    this.rowsInUse = 0;
    this.byString.clear();
    this.free.length = 0;
    this.slots = 0;
  }

  private takeSlot(): number {
    const slot = this.free.pop() ?? this.slots++;
    if (slot === this.room) {
      const numbers = new Float64Array(2 * slot);
      numbers.set(this.numbers);
      this.numbers = numbers;
    }
    return slot;
  }

  /** The place of the row, or the empty one where it would stand. */
  private placeOf(row: number): number {
    const { rows, counts, lastPlace } = this;
    if (rows[lastPlace] === row && counts[lastPlace] !== 0) return lastPlace;
    const mask = rows.length - 1;
    let place = hashOf(row) & mask;
    while (counts[place] !== 0 && rows[place] !== row) place = (place + 1) & mask;
    this.lastPlace = place;
    return place;
  }

  /** The caller puts a key into the row at once. */
  private beginRow(row: number, place: number): number {
    this.rowsInUse += 1;
    let found = place;
    if (2 * this.rowsInUse > this.rows.length) {
      this.grow();
      found = this.placeOf(row);
    }
    this.rows[found] = row;
    return found;
  }

  /** The row has lost its last key. What was pushed past its place moves back, so that no search ends early. */
  private endRow(place: number): void {
    const { rows, counts, members } = this;
    const mask = rows.length - 1;
    this.rowsInUse -= 1;
    let hole = place;
    for (let next = (hole + 1) & mask; counts[next] !== 0; next = (next + 1) & mask) {
      const home = hashOf(rows[next]!) & mask;
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      rows[hole] = rows[next]!;
      counts[hole] = counts[next]!;
      members.copyWithin(ROW * hole, ROW * next, ROW * (next + 1));
      hole = next;
    }
    counts[hole] = 0;
    members.fill(NO_SLOT, ROW * hole, ROW * (hole + 1));
  }

  private grow(): void {
    const { rows, counts, members } = this;
    this.rows = new Float64Array(2 * rows.length);
    this.counts = new Uint8Array(2 * counts.length);
    this.members = new Int32Array(2 * members.length).fill(NO_SLOT);
    for (let old = 0; old < rows.length; old++) {
      if (counts[old] === 0) continue;
      const place = this.placeOf(rows[old]!);
      this.rows[place] = rows[old]!;
      this.counts[place] = counts[old]!;
      this.members.set(members.subarray(ROW * old, ROW * (old + 1)), ROW * place);
    }
  }
}

function hashOf(row: number): number {
  const mixed = Math.imul(row, 0x9e3779b1) ^ Math.imul(row / 2 ** 32, 0x85ebca77);
  return mixed ^ (mixed >>> 15);
}
