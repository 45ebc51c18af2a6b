import { formatMs } from '../format.js';
import type { Report } from '../schema.js';
import { quantile } from '../stats.js';
import { el, tooltip } from '../svg/element.js';
import { clockLabels, svg, xAxis, yAxis } from '../svg/frame.js';
import { line, linePath } from '../svg/marks.js';
import { linearScale } from '../svg/scale.js';
import type { ReportInput } from '../types.js';
import { type Figure, HALF_HEIGHT, HALF_PLOT, HALF_WIDTH, runAxis, seriesClass, warmupShade } from './figure.js';

/** Most stretches of the run that a line has a point for. */
const MAX_BINS = 60;

/** Queue wait of requests by class, by when they were sent. */
export function queueFigure(report: Report, input: ReportInput): Figure | undefined {
  const stages = input.stages.filter((stage) => stage.queueMs !== undefined);
  if (stages.length === 0) return undefined;
  const plot = HALF_PLOT;
  const x = runAxis(input, plot, 6);
  const classes = report.classes.filter(({ name }) => stages.some((stage) => stage.sloClass === name));
  const bins = Math.min(MAX_BINS, Math.max(1, Math.round(stages.length / (8 * Math.max(1, classes.length)))));
  const binMs = Math.max(1, input.durationMs / bins);
  const binned = classes.map(({ name }) => {
    const waits = Array.from({ length: bins }, (): number[] => []);
    for (const stage of stages) {
      if (stage.sloClass !== name) continue;
      waits[Math.min(bins - 1, Math.max(0, Math.floor(stage.startMs / binMs)))]!.push(stage.queueMs!);
    }
    return waits;
  });
  const highest = Math.max(1, ...binned.flat().map((waits) => quantile(waits, 0.95) ?? 0));
  const y = linearScale([0, highest], [plot.bottom, plot.top], { count: 4, time: true, roundMax: true });
  const clock = clockLabels(input.durationMs);

  const lines = binned.map((waits, index) => {
    const colour = seriesClass(index);
    const name = classes[index]!.name;
    const at = (q: number) =>
      waits.flatMap((some, bin) => {
        const value = quantile(some, q);
        return value === undefined
          ? []
          : [{ x: x.scale.at((bin + 0.5) * binMs), y: y.at(value), bin, value, n: some.length }];
      });
    const tail = at(0.95);
    const dots = tail.map((point) => {
      const [from, to] = [clock.format(point.bin * binMs), clock.format((point.bin + 1) * binMs)];
      const label = `${name}, sent ${from}–${to}: p95 ${formatMs(point.value)} of ${point.n} requests`;
      return el('circle', { class: 'touch', cx: point.x, cy: point.y, r: 6 }, tooltip(label));
    });
    return (
      line(linePath(at(0.5)), colour, `${name}, p50`, 'thin dashed') +
      line(linePath(tail), colour, `${name}, p95`) +
      dots.join('')
    );
  });
  // As on a clock: "1 min 30 s" is wider than the margin.
  const wait = clockLabels(y.max);
  return {
    title: 'Queue wait over time',
    caption:
      "Wait in Maestro's queue until an engine was chosen, by when the request was sent. Solid: p95; dashed: p50.",
    legend: classes.map(({ name }, index) => ({ label: name, swatch: seriesClass(index), shape: 'line' })),
    svg: svg(
      HALF_WIDTH,
      HALF_HEIGHT,
      `Queue wait over time. ${classes.map(({ name, requests }) => `${name} p95 ${formatMs(requests.queueMs.p95)}`).join(', ')}.`,
      warmupShade(input, x.scale, plot),
      yAxis({ scale: y, format: wait.format, label: wait.unit }, plot),
      xAxis(x, plot),
      ...lines,
    ),
  };
}
