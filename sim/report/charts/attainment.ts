import { formatPercent } from '../format.js';
import { cutWarmup } from '../measured.js';
import type { Report } from '../schema.js';
import { largest } from '../stats.js';
import { el, tooltip } from '../svg/element.js';
import { clockLabels, svg, xAxis, yAxis } from '../svg/frame.js';
import { line, linePath } from '../svg/marks.js';
import { linearScale } from '../svg/scale.js';
import type { ReportInput } from '../types.js';
import { isMet } from '../workflow-stats.js';
import { type Figure, HALF_HEIGHT, HALF_PLOT, HALF_WIDTH, runAxis, seriesClass, warmupShade } from './figure.js';

/** Attainment by class, workflows grouped by when they arrived. */
export function attainmentFigure(report: Report, input: ReportInput): Figure | undefined {
  const { workflows } = cutWarmup(input);
  if (workflows.length < 2) return undefined;
  const plot = HALF_PLOT;
  const x = runAxis(input, plot, 6);
  const y = linearScale([0, 1], [plot.bottom, plot.top], { count: 4 });
  const lastArrivalMs = largest(
    workflows.map((workflow) => workflow.arrivalMs),
    input.warmupMs,
  );
  const classes = report.classes.filter((sloClass) => sloClass.workflows > 0);
  // About ten workflows of each class to a point, so that one workflow does not move it across the picture; short runs get a
  // few points all the same.
  const bins = Math.min(
    24,
    Math.max(Math.min(6, workflows.length), Math.round(workflows.length / (10 * classes.length))),
  );
  const binMs = Math.max(1, (lastArrivalMs - input.warmupMs) / bins);
  const { format } = clockLabels(input.durationMs);

  const series = classes.map((sloClass, index) => {
    const met = new Array<number>(bins).fill(0);
    const all = new Array<number>(bins).fill(0);
    for (const workflow of workflows) {
      if (workflow.sloClass !== sloClass.name) continue;
      const bin = Math.min(bins - 1, Math.floor((workflow.arrivalMs - input.warmupMs) / binMs));
      all[bin]! += 1;
      if (isMet(workflow)) met[bin]! += 1;
    }
    const points = all.flatMap((total, bin) => {
      if (total === 0) return [];
      const startMs = input.warmupMs + bin * binMs;
      const value = met[bin]! / total;
      const label = `${sloClass.name}, arrived ${format(startMs)}–${format(startMs + binMs)}: ${met[bin]} of ${total} in time (${formatPercent(value, 0)})`;
      return [{ x: x.scale.at(startMs + binMs / 2), y: y.at(value), label }];
    });
    const colour = seriesClass(index);
    // Classes often lie on each other at 100 %: all but the last are drawn wider, so that both are seen.
    const under = index < classes.length - 1;
    const dots = points.map((point) =>
      el('circle', { class: `dot ${colour}`, cx: point.x, cy: point.y, r: under ? 5 : 3 }, tooltip(point.label)),
    );
    return line(linePath(points), colour, sloClass.name, under ? 'under' : '') + dots.join('');
  });

  return {
    title: 'Attainment over time',
    caption: 'Share of workflows that finished within their deadline, by arrival time.',
    legend: classes.map(({ name }, index) => ({ label: name, swatch: seriesClass(index), shape: 'line' })),
    svg: svg(
      HALF_WIDTH,
      HALF_HEIGHT,
      `Attainment over time. ${classes.map(({ name, attainment }) => `${name} ${formatPercent(attainment)}`).join(', ')}.`,
      warmupShade(input, x.scale, plot),
      yAxis({ scale: y, format: (value) => formatPercent(value, 0) }, plot),
      xAxis(x, plot),
      ...series,
    ),
  };
}
