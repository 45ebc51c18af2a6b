import { MINUTE_MS } from '../../src/model/units.js';
import { type Figure, HALF_HEIGHT, HALF_PLOT, WIDE_WIDTH } from '../report/charts/figure.js';
import { formatPercent, trimmed } from '../report/format.js';
import { el, tooltip } from '../report/svg/element.js';
import { clockLabels, svg, xAxis, yAxis } from '../report/svg/frame.js';
import { line, linePath } from '../report/svg/marks.js';
import { linearScale } from '../report/svg/scale.js';
import { SETTLED_MINUTES } from './changes.js';
import { policyColours } from './policy-colours.js';
import type { SweepReport } from './report.js';
import type { CellGroup, TextTable } from './tables.js';

/** Attainment by minute of arrival, all seeds together, with the moments at which the traffic changes. */
export function changeFigure(report: SweepReport, { workload, deadlineRule, policies }: CellGroup): Figure {
  const plot = { ...HALF_PLOT, right: WIDE_WIDTH - 14 };
  const phases = report.workloads.find(({ name }) => name === workload)?.phases ?? [];
  const minutes = phases.at(-1)?.toMinute ?? 1;
  const x = linearScale([0, minutes * MINUTE_MS], [plot.left, plot.right], { count: 12, time: true });
  const y = linearScale([0, 1], [plot.bottom, plot.top], { count: 4 });
  const { coloured, colourOf, legend } = policyColours(policies);
  const rows = report.runs.filter((row) => row.workload === workload && row.deadlineRule === deadlineRule);
  const drawn = [...coloured].reverse().map((policy) => {
    const own = rows.flatMap((row) => (row.policy === policy ? (row.minutes ?? []) : []));
    const points = Array.from({ length: minutes }, (_, minute) => {
      const sum = (part: 'arrived' | 'inTime') => own.reduce((total, each) => total + (each[part][minute] ?? 0), 0);
      return { minute, arrived: sum('arrived'), inTime: sum('inTime') };
    }).filter(({ arrived }) => arrived > 0);
    const path = linePath(
      points.map(({ minute, arrived, inTime }) => ({
        x: x.at((minute + 0.5) * MINUTE_MS),
        y: y.at(inTime / arrived),
      })),
    );
    return line(path, colourOf(policy), policy);
  });
  const edges = phases.map(({ about, load, fromMinute }) =>
    el(
      'line',
      {
        class: 'deadline',
        x1: x.at(fromMinute * MINUTE_MS),
        x2: x.at(fromMinute * MINUTE_MS),
        y1: plot.top - 6,
        y2: plot.bottom,
      },
      tooltip(`from minute ${fromMinute}: ${about} at ${trimmed(load, 2)} of the capacity for it`),
    ),
  );
  const clock = clockLabels(minutes * MINUTE_MS);
  return {
    title: `${workload}, deadlines ${deadlineRule}: attainment by minute of arrival`,
    caption: `Traffic: ${phases.map(({ about, load, fromMinute }) => `from minute ${fromMinute} ${about} at load ${trimmed(load, 2)}`).join('; ')}. Share of the workflows of each minute that were in time, all seeds together.`,
    legend: legend.filter(({ label }) => coloured.includes(label)),
    svg: svg(
      WIDE_WIDTH,
      HALF_HEIGHT,
      `Attainment by minute for ${workload}.`,
      yAxis({ scale: y, format: (value) => formatPercent(value, 0) }, plot),
      xAxis({ scale: x, label: `time since start (${clock.unit})`, format: clock.format }, plot),
      ...edges,
      ...drawn,
    ),
    wide: true,
  };
}

/** Each policy in each phase: how it began, how it went on, and when it was as good as the best. */
export function changeTable(report: SweepReport, { workload, deadlineRule, policies }: CellGroup): TextTable {
  const changes = report.changes.filter((each) => each.workload === workload && each.deadlineRule === deadlineRule);
  const phases = [...new Set(changes.map(({ phase }) => phase))];
  return {
    columns: [
      'policy',
      ...phases.flatMap((phase) =>
        phase === 1
          ? ['phase 1']
          : [`phase ${phase}, first ${SETTLED_MINUTES} min`, 'then', 'within a point of the best after'],
      ),
    ],
    rows: policies.map((policy) => {
      const own = changes.filter((each) => each.policy === policy);
      return {
        cells: [
          policy,
          ...own.flatMap(({ phase, attainment, attainmentAtFirst, attainmentLater, backAfterMinutes }) =>
            phase === 1
              ? [formatPercent(attainment)]
              : [
                  formatPercent(attainmentAtFirst),
                  attainmentLater === null ? '–' : formatPercent(attainmentLater),
                  backAfterMinutes === null ? '–' : `${backAfterMinutes} min`,
                ],
          ),
        ],
        best: own.flatMap(({ phase, best, attainmentLater }) => {
          const first = 2 + 3 * (phase - 2);
          return phase > 1 && best === policy ? [attainmentLater === null ? first : first + 1] : [];
        }),
      };
    }),
  };
}
