/** Rows remembered. A row of forty features and what was predicted of it take half a kilobyte. */
const PLACES = 64;

type Evaluate = (row: Float64Array, first: number, template: string) => Float64Array | undefined;

/**
 * Remembers what a model said of the last rows of features, with the template they are of, each in the one place that its numbers point to: many calls of one kind look alike, because statistics come in steps, and
 * to compare a row costs a tenth of walking down hundreds of trees. The answer is the same list that is kept here.
 */
export function rememberRows(evaluate: Evaluate): Evaluate {
  const rows = new Array<Float64Array | undefined>(PLACES).fill(undefined);
  const said = new Array<Float64Array | undefined>(PLACES).fill(undefined);
  const firsts = new Int32Array(PLACES);
  const templates = new Array<string | undefined>(PLACES).fill(undefined);
  return (row, first, template) => {
    const place = placeOf(row);
    const known = rows[place];
    if (known && firsts[place] === first && templates[place] === template && isSame(known, row)) return said[place];
    const predicted = evaluate(row, first, template);
    if (!predicted) return undefined;
    if (known?.length === row.length) known.set(row);
    else rows[place] = row.slice();
    firsts[place] = first;
    templates[place] = template;
    said[place] = predicted.slice();
    return said[place];
  };
}

function placeOf(row: Float64Array): number {
  let mixed = 0;
  // A missing value counts as 0.
  for (let index = 0; index < row.length; index++) mixed = Math.imul(mixed ^ (row[index]! * 1024), 0x01000193);
  return (mixed ^ (mixed >>> 16)) & (PLACES - 1);
}

function isSame(a: Float64Array, b: Float64Array): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) {
    const one = a[index]!;
    const other = b[index]!;
    if (one !== other && !(Number.isNaN(one) && Number.isNaN(other))) return false;
  }
  return true;
}
