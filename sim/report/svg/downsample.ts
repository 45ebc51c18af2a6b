/** A point of a line; x ascending along the line. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * At most about `maxPoints` points that still show every peak and trough: of each equal stretch of x, the first, lowest, highest and
 * last. Short lines come back as they are.
 */
export function downsample(points: readonly Point[], maxPoints: number): readonly Point[] {
  if (points.length <= maxPoints || points.length < 3) return points;
  const buckets = Math.max(1, Math.floor(maxPoints / 4));
  const startX = points[0]!.x;
  const width = (points.at(-1)!.x - startX) / buckets || 1;
  const kept: Point[] = [];
  let from = 0;
  while (from < points.length) {
    const bucket = Math.floor((points[from]!.x - startX) / width);
    let to = from;
    let lowest = from;
    let highest = from;
    while (to < points.length && Math.floor((points[to]!.x - startX) / width) === bucket) {
      if (points[to]!.y < points[lowest]!.y) lowest = to;
      if (points[to]!.y > points[highest]!.y) highest = to;
      to += 1;
    }
    const indices = new Set([from, Math.min(lowest, highest), Math.max(lowest, highest), to - 1]);
    for (const index of indices) kept.push(points[index]!);
    from = to;
  }
  return kept;
}

/** The same steps without points that change nothing: of a run of equal values, the first, and the very last point. */
export function dropRepeats(points: readonly Point[]): Point[] {
  return points.filter(
    (point, index) => index === 0 || index === points.length - 1 || point.y !== points[index - 1]!.y,
  );
}
