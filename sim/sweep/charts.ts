import { type Figure, HALF_HEIGHT, HALF_PLOT, HALF_WIDTH } from '../report/charts/figure.js';
import { formatPercent, trimmed } from '../report/format.js';
import { el, tooltip } from '../report/svg/element.js';
import { svg, xAxis, yAxis } from '../report/svg/frame.js';
import { line, linePath } from '../report/svg/marks.js';
import { linearScale, logScale, type Scale } from '../report/svg/scale.js';
import { policyColours } from './policy-colours.js';
import type { Estimate } from './summary.js';
import { BOUND, type CellGroup } from './tables.js';

/** Coloured policies stand so many pixels beside each other, so that their intervals can be told apart. */
const DODGE = 4;
/** Half the width of the stroke that ends an interval; where the interval goes on beyond the plot it has none. */
const CAP = 2;

/** Attainment against load, one line for each policy, with 95 % intervals, and what no policy can exceed. */
export function loadFigure(group: CellGroup): Figure {
  const plot = HALF_PLOT;
  const loads = group.loads;
  const spread = loads.length > 1 ? 0.06 * (loads.at(-1)! - loads[0]!) : 0.1;
  const x = linearScale([loads[0]! - spread, loads.at(-1)! + spread], [plot.left, plot.right], { count: 6 });
  const lowest = shareFloor(group);
  const y = linearScale([lowest, 1], [plot.bottom, plot.top], { count: 4 });
  const { coloured, colourOf, styleOf, legend } = policyColours(group.policies);
  const aside = (policy: string) =>
    coloured.includes(policy) ? DODGE * (coloured.indexOf(policy) - (coloured.length - 1) / 2) : 0;
  const drawn = [...group.policies].reverse().map((policy) => {
    const colour = colourOf(policy);
    const points = loads.flatMap((load) => {
      const cell = group.cell(policy, load);
      return cell ? [{ x: x.at(load) + aside(policy), y: y.at(cell.attainment.mean), cell }] : [];
    });
    const marks = points.map((point) => {
      const { mean, ci95 } = point.cell.attainment;
      const label = `${policy}, load ${trimmed(point.cell.load, 2)}: ${formatPercent(mean)} ± ${trimmed(ci95 * 100, 1)} points`;
      const bars = coloured.includes(policy) ? interval(point.x, point.cell.attainment, y, colour) : '';
      return bars + el('circle', { class: `dot ${colour}`, cx: point.x, cy: point.y, r: 3 }, tooltip(label));
    });
    return line(linePath(points), colour, policy, styleOf(policy)) + marks.join('');
  });
  const bounds = loads.flatMap((load) => {
    const bound = group.bound(load);
    return bound ? [{ x: x.at(load), y: y.at(bound.mean) }] : [];
  });
  return {
    title: `${group.workload}, deadlines ${group.deadlineRule}`,
    caption: `Share of workflows in time against the load; bars are 95 % intervals over the seeds, without an end where they leave the picture. Dashed: with foresight, and the bound that no policy can exceed.${lowest > 0 ? ` The axis begins at ${formatPercent(lowest, 0)}.` : ''}`,
    legend: [...legend, { label: BOUND, swatch: 'ink', shape: 'dashed' }],
    svg: svg(
      HALF_WIDTH,
      HALF_HEIGHT,
      `Attainment against load for ${group.workload}. ${group.policies
        .map((policy) => `${policy} ${formatPercent(group.cell(policy, loads.at(-1)!)?.attainment.mean)}`)
        .join(', ')} at load ${loads.at(-1)}.`,
      yAxis({ scale: y, format: (value) => formatPercent(value, 0) }, plot),
      xAxis({ scale: x, label: 'load, 1 = capacity', format: (value) => trimmed(value, 2) }, plot),
      line(linePath(bounds), 'ink', BOUND, 'thin dashed'),
      ...drawn,
    ),
  };
}

/** Where the axis begins: at 0, or where all policies have most in time, in the tenth below the lowest, so that they can be told apart. */
function shareFloor(group: CellGroup): number {
  const means = group.policies.flatMap((policy) =>
    group.loads.flatMap((load) => group.cell(policy, load)?.attainment.mean ?? []),
  );
  const lowest = Math.min(1, ...means);
  return lowest < 0.5 ? 0 : Math.floor(lowest * 10 - 0.5) / 10;
}

function interval(x: number, { mean, ci95 }: Estimate, y: Scale, colour: string): string {
  if (ci95 === 0) return '';
  const ends = [mean - ci95, mean + ci95];
  const [low, high] = ends.map((value) => y.at(value));
  const stroke = (x1: number, x2: number, y1: number, y2: number) =>
    el('line', { class: `line thin ${colour}`, x1, x2, y1, y2 });
  const caps = ends.map((value) =>
    value >= y.min && value <= y.max ? stroke(x - CAP, x + CAP, y.at(value), y.at(value)) : '',
  );
  return stroke(x, x, low!, high!) + caps.join('');
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
  const x = logScale([points[0]!, far], [plot.left, plot.right], { maxTicks: 9 });
  const shown = points.filter((point) => point <= x.max);
  const y = linearScale([0, 1], [plot.bottom, plot.top], { count: 4 });
  const { colourOf, styleOf, legend } = policyColours(group.policies);
  const drawn = [...curves].reverse().map(({ policy, cdf }) => {
    const path = linePath(shown.map((point, at) => ({ x: x.at(point), y: y.at(cdf[at]!) })));
    return line(path, colourOf(policy), `${policy}: ${formatPercent(cdf.at(-1))} ended`, styleOf(policy));
  });
  return {
    title: `${group.workload}, deadlines ${group.deadlineRule}, load ${trimmed(load, 2)}`,
    caption:
      'Share of workflows that took at most so many times as long as alone on an idle fleet; further left is faster. Those that never ended keep a line below 100 %. Dashed: with foresight.',
    legend,
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
