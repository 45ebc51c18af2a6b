import type { Point } from './downsample.js';
import { el, px, tooltip } from './element.js';

/** Path data through pixel points, straight from one to the next. */
export function linePath(points: readonly Point[]): string {
  return points.map(({ x, y }, index) => `${index === 0 ? 'M' : 'L'}${px(x)} ${px(y)}`).join('');
}

/** Path data that holds each value until the next point. */
export function stepPath(points: readonly Point[]): string {
  return points.map(({ x, y }, index) => (index === 0 ? `M${px(x)} ${px(y)}` : `H${px(x)}V${px(y)}`)).join('');
}

/** The surface between a path's points and a base line. */
export function areaPath(points: readonly Point[], baseY: number, path: (points: readonly Point[]) => string): string {
  if (points.length === 0) return '';
  return `${path(points)}V${px(baseY)}H${px(points[0]!.x)}Z`;
}

/** A line in series colour `index`, with a tooltip. */
export function line(data: string, colourClass: string, text: string, extraClass = ''): string {
  if (data === '') return '';
  return el(
    'path',
    { class: `line ${colourClass}${extraClass === '' ? '' : ` ${extraClass}`}`, d: data },
    tooltip(text),
  );
}

export function area(data: string, colourClass: string, text: string): string {
  return data === '' ? '' : el('path', { class: `area ${colourClass}`, d: data }, tooltip(text));
}

/** A filled rectangle with a tooltip; drawn at least `minWidth` wide so that short things can be seen. */
export function bar(
  box: { x: number; y: number; width: number; height: number },
  classes: string,
  text: string,
  minWidth = 0.8,
): string {
  const { x, y, height } = box;
  return el('rect', { class: classes, x, y, width: Math.max(box.width, minWidth), height }, tooltip(text));
}

export interface StackPart {
  readonly value: number;
  readonly classes: string;
  readonly label: string;
}

/** Parts laid end to end from `x0`, `perUnit` pixels to a unit of value. */
export function stackedBar(
  parts: readonly StackPart[],
  at: { x0: number; y: number; height: number; perUnit: number },
): string {
  let x = at.x0;
  let markup = '';
  for (const { value, classes, label } of parts) {
    if (value <= 0) continue;
    const width = value * at.perUnit;
    markup += bar({ x, y: at.y, width, height: at.height }, classes, label, 0);
    x += width;
  }
  return markup;
}
