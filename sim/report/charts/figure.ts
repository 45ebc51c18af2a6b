import { el, tooltip } from '../svg/element.js';
import { type Axis, clockLabels, type Plot } from '../svg/frame.js';
import { linearScale, type Scale } from '../svg/scale.js';
import type { ReportInput } from '../types.js';

/** One entry of a legend; `swatch` is a class of the page's style. */
export interface LegendItem {
  readonly label: string;
  readonly swatch: string;
  readonly shape?: 'fill' | 'line' | 'dashed' | 'soft';
}

/** A chart with what stands around it. */
export interface Figure {
  readonly title: string;
  /** What is drawn and how to read it. */
  readonly caption: string;
  readonly legend: readonly LegendItem[];
  readonly svg: string;
  /** Takes the whole width of the page. */
  readonly wide?: boolean;
}

/** Widths of the two sizes of charts; the page shows them at about this size, so that text keeps its own. */
export const HALF_WIDTH = 520;
export const WIDE_WIDTH = 1088;

/** The plot of a half-width chart with axes at the left and below. */
export const HALF_PLOT: Plot = { left: 62, right: HALF_WIDTH - 14, top: 22, bottom: 202 };
export const HALF_HEIGHT = 246;

/** Series colours; later series share the last, grey one. */
export const SERIES_COLOURS = 8;

/** Class of the colour of series `index`. */
export function seriesClass(index: number): string {
  return `c${Math.min(index, SERIES_COLOURS - 1)}`;
}

/** The time axis that all charts over the run share. */
export function runAxis(run: Pick<ReportInput, 'durationMs'>, plot: Plot, count: number): Axis & { scale: Scale } {
  const labels = clockLabels(run.durationMs);
  return {
    scale: linearScale([0, Math.max(1, run.durationMs)], [plot.left, plot.right], { count, time: true }),
    label: `time since start (${labels.unit})`,
    format: labels.format,
  };
}

/** Shade over the part of the run that is not counted. */
export function warmupShade(run: Pick<ReportInput, 'warmupMs'>, scale: Scale, plot: Plot): string {
  if (run.warmupMs <= 0) return '';
  const width = scale.at(run.warmupMs) - plot.left;
  return el(
    'rect',
    { class: 'warmup', x: plot.left, y: plot.top, width, height: plot.bottom - plot.top },
    tooltip('warm-up, not counted'),
  );
}
