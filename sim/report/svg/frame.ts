import { el, escapeXml } from './element.js';
import type { Scale } from './scale.js';

/** Inner edges of a chart, pixels. */
export interface Plot {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export interface Axis {
  readonly scale: Scale;
  readonly label?: string;
  format(value: number): string;
}

/** The whole chart. `summary` is what a screen reader says instead of the picture. */
export function svg(width: number, height: number, summary: string, ...children: readonly string[]): string {
  return el(
    'svg',
    {
      viewBox: `0 0 ${Math.round(width)} ${Math.round(height)}`,
      role: 'img',
      'aria-label': summary,
      'font-size': 12,
    },
    ...children,
  );
}

export function text(x: number, y: number, content: string, classes: string): string {
  return el('text', { x, y, class: classes }, escapeXml(content));
}

/** Horizontal grid lines with their labels at the left, and the axis label above them. */
export function yAxis({ scale, label, format }: Axis, plot: Plot): string {
  const lines = scale.ticks.map((tick) => {
    const y = scale.at(tick);
    const rule = el('line', {
      class: tick === scale.min ? 'axis' : 'grid',
      x1: plot.left,
      x2: plot.right,
      y1: y,
      y2: y,
    });
    return rule + text(plot.left - 8, y + 4, format(tick), 'tick end');
  });
  return lines.join('') + (label === undefined ? '' : text(plot.left, plot.top - 10, label, 'label'));
}

/** Marks below the plot with their labels, and the axis label below them, at the left: it is in view where the page is too narrow for the picture. */
export function xAxis({ scale, label, format }: Axis, plot: Plot, grid = false): string {
  const marks = scale.ticks.map((tick) => {
    const x = scale.at(tick);
    const rule = el('line', {
      class: grid ? 'grid' : 'axis',
      x1: x,
      x2: x,
      y1: grid ? plot.top : plot.bottom,
      y2: plot.bottom + 4,
    });
    // The last label would leave the picture if it were centred under a mark at the very edge.
    const anchor = x > plot.right - 12 ? 'end' : 'middle';
    return rule + text(anchor === 'end' ? plot.right + 8 : x, plot.bottom + 18, format(tick), `tick ${anchor}`);
  });
  const base = el('line', { class: 'axis', x1: plot.left, x2: plot.right, y1: plot.bottom, y2: plot.bottom });
  return marks.join('') + base + (label === undefined ? '' : text(plot.left, plot.bottom + 36, label, 'label'));
}

/** Instants as a clock shows them: "0:30", "12:00", "1:05:00"; plain seconds when the whole axis is short. */
export function clockLabels(maxMs: number): { unit: string; format: (ms: number) => string } {
  if (maxMs < 60_000) return { unit: 's', format: (ms) => String(Number((ms / 1000).toFixed(3))) };
  const two = (value: number): string => String(value).padStart(2, '0');
  return {
    unit: maxMs < 3_600_000 ? 'min:s' : 'h:min:s',
    format: (ms) => {
      const seconds = Math.round(ms / 1000);
      const minutes = Math.floor(seconds / 60);
      if (maxMs < 3_600_000) return `${minutes}:${two(seconds % 60)}`;
      return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
    },
  };
}
