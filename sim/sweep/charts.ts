import { type Figure, HALF_HEIGHT, HALF_PLOT, HALF_WIDTH, seriesClass } from '../report/charts/figure.js';
import { formatPercent, trimmed } from '../report/format.js';
import { el, tooltip } from '../report/svg/element.js';
import { svg, xAxis, yAxis } from '../report/svg/frame.js';
import { line, linePath } from '../report/svg/marks.js';
import { linearScale, logScale } from '../report/svg/scale.js';
import { type CellGroup, hasForesight } from './tables.js';

/** At most so many policies have a colour of their own; the others are drawn thin and grey, with their names in tooltips. */
const COLOURED = 7;
/** Those that a reader looks for get the first colours, in every chart the same. */
const KNOWN = ['maestro', 'edf', 'fcfs', 'srtf', 'llf', 'plas', 'fcfs-workflow'];

/** Attainment against load, one line for each policy, with 95 % intervals. */
export function loadFigure(group: CellGroup): Figure {
  const plot = HALF_PLOT;
  const loads = group.loads;
  const spread = loads.length > 1 ? 0.06 * (loads.at(-1)! - loads[0]!) : 0.1;
  const x = linearScale([loads[0]! - spread, loads.at(-1)! + spread], [plot.left, plot.right], { count: 6 });
  const y = linearScale([0, 1], [plot.bottom, plot.top], { count: 4 });
  const colours = coloursOf(group.policies);
  const drawn = [...group.policies].reverse().map((policy) => {
    const colour = colours.get(policy) ?? seriesClass(7);
    const thin = colours.has(policy) ? '' : 'thin';
    const style = hasForesight(policy) ? 'thin dashed' : thin;
    const points = loads.flatMap((load) => {
      const cell = group.cell(policy, load);
      return cell ? [{ x: x.at(load), y: y.at(cell.attainment.mean), cell }] : [];
    });
    const marks = points.map((point) => {
      const { mean, ci95 } = point.cell.attainment;
      const label = `${policy}, load ${trimmed(point.cell.load, 2)}: ${formatPercent(mean)} ± ${trimmed(ci95 * 100, 1)} points`;
      const interval =
        ci95 > 0 && colours.has(policy)
          ? el('line', {
              class: `line thin ${colour}`,
              x1: point.x,
              x2: point.x,
              y1: y.at(Math.min(1, mean + ci95)),
              y2: y.at(Math.max(0, mean - ci95)),
            })
          : '';
      return interval + el('circle', { class: `dot ${colour}`, cx: point.x, cy: point.y, r: 3 }, tooltip(label));
    });
    return line(linePath(points), colour, policy, style) + marks.join('');
  });
  return {
    title: `${group.workload}, deadlines ${group.deadlineRule}`,
    caption:
      'Share of workflows in time against the load; bars are 95 % intervals over the seeds. Dashed: with foresight. Grey: other policies.',
    legend: [...colours].map(([label, swatch]) => ({ label, swatch, shape: 'line' as const })),
    svg: svg(
      HALF_WIDTH,
      HALF_HEIGHT,
      `Attainment against load for ${group.workload}. ${group.policies
        .map((policy) => `${policy} ${formatPercent(group.cell(policy, loads.at(-1)!)?.attainment.mean)}`)
        .join(', ')} at load ${loads.at(-1)}.`,
      yAxis({ scale: y, format: (value) => formatPercent(value, 0) }, plot),
      xAxis({ scale: x, label: 'load, 1 = capacity', format: (value) => trimmed(value, 2) }, plot),
      ...drawn,
    ),
  };
}

/** Distribution of slowdowns at the highest load, one line for each policy: the mean over the seeds. */
export function slowdownFigure(group: CellGroup, points: readonly number[]): Figure {
  const plot = HALF_PLOT;
  const load = group.loads.at(-1)!;
  const curves = group.policies.flatMap((policy) => {
    const cdf = group.cell(policy, load)?.slowdownCdf;
    return cdf ? [{ policy, cdf }] : [];
  });
  // The axis ends where no curve rises any more.
  const still = points.findIndex((_, at) => curves.every(({ cdf }) => cdf.at(-1)! - cdf[at]! < 0.002));
  const far = points[Math.max(1, still)]!;
  const x = logScale([points[0]!, far], [plot.left, plot.right], { maxTicks: 10 });
  const shown = points.filter((point) => point <= x.max);
  const y = linearScale([0, 1], [plot.bottom, plot.top], { count: 4 });
  const colours = coloursOf(group.policies);
  const drawn = [...curves].reverse().map(({ policy, cdf }) => {
    const style = hasForesight(policy) ? 'thin dashed' : colours.has(policy) ? '' : 'thin';
    const path = linePath(shown.map((point, at) => ({ x: x.at(point), y: y.at(cdf[at]!) })));
    return line(path, colours.get(policy) ?? seriesClass(7), `${policy}: ${formatPercent(cdf.at(-1))} ended`, style);
  });
  return {
    title: `${group.workload}, deadlines ${group.deadlineRule}, load ${trimmed(load, 2)}`,
    caption:
      'Share of workflows that took at most so many times as long as alone on an idle fleet; further left is faster. Those that never ended keep a line below 100 %. Dashed: with foresight. Grey: other policies.',
    legend: [...colours].map(([label, swatch]) => ({ label, swatch, shape: 'line' as const })),
    svg: svg(
      HALF_WIDTH,
      HALF_HEIGHT,
      `Distribution of slowdown for ${group.workload} at load ${load}. ${curves
        .map(({ policy, cdf }) => `${policy} ${formatPercent(cdf[points.indexOf(2)])}`)
        .join(', ')} within twice the isolated time.`,
      yAxis({ scale: y, format: (value) => formatPercent(value, 0) }, plot),
      xAxis({ scale: x, label: 'slowdown', format: (value) => `${trimmed(value, 1)}×` }, plot),
      ...drawn,
    ),
  };
}

function coloursOf(policies: readonly string[]): Map<string, string> {
  const wanted = [
    ...KNOWN.filter((name) => policies.includes(name)),
    ...policies.filter((name) => !KNOWN.includes(name)),
  ]
    .filter((name) => !hasForesight(name))
    .slice(0, COLOURED);
  // The colour follows the policy, not its rank.
  return new Map(
    wanted.map((name, index) => [name, seriesClass(KNOWN.includes(name) ? KNOWN.indexOf(name) : index)] as const),
  );
}
