import { type Figure, HALF_HEIGHT, HALF_PLOT, HALF_WIDTH, seriesClass } from '../report/charts/figure.js';
import { formatPercent, trimmed } from '../report/format.js';
import { el, tooltip } from '../report/svg/element.js';
import { svg, xAxis, yAxis } from '../report/svg/frame.js';
import { line, linePath } from '../report/svg/marks.js';
import { linearScale } from '../report/svg/scale.js';
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
