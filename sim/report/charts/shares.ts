import { PHASE_LABELS, PHASES, type Phase } from '../breakdown.js';
import { formatMs, formatNumber, formatPercent } from '../format.js';
import type { Report } from '../schema.js';
import { shortened } from '../svg/element.js';
import { type Plot, svg, text, xAxis } from '../svg/frame.js';
import { type StackPart, stackedBar } from '../svg/marks.js';
import { linearScale } from '../svg/scale.js';
import { type Figure, HALF_WIDTH, type LegendItem } from './figure.js';

export const PHASE_CLASSES: Readonly<Record<Phase, string>> = {
  queue: 'c1',
  coldStart: 'c5',
  prefill: 'c3',
  decode: 'c2',
  outside: 'c7',
};

const BAR_HEIGHT = 24;
const ROW_HEIGHT = 38;
const LEFT = 108;

/** Legend of everything that is cut into phases. */
export const PHASE_LEGEND: readonly LegendItem[] = PHASES.map((phase) => ({
  label: PHASE_LABELS[phase],
  swatch: PHASE_CLASSES[phase],
}));

/** Mean workflow of each class, cut into phases. */
export function phaseFigure(report: Report): Figure | undefined {
  const rows = report.classes.flatMap(({ name, meanPhasesMs }) =>
    meanPhasesMs ? [{ name, times: meanPhasesMs }] : [],
  );
  if (rows.length === 0) return undefined;
  const totals = rows.map(({ times }) => PHASES.reduce((sum, phase) => sum + times[phase], 0));
  const plot: Plot = { left: LEFT, right: HALF_WIDTH - 20, top: 10, bottom: 10 + rows.length * ROW_HEIGHT };
  const scale = linearScale([0, Math.max(...totals)], [plot.left, plot.right], { count: 4, time: true });
  const perUnit = (plot.right - plot.left) / (scale.max - scale.min);
  const bars = rows.map(({ name, times }, index) => {
    const y = plot.top + index * ROW_HEIGHT + 4;
    const parts = PHASES.map(
      (phase): StackPart => ({
        value: times[phase],
        classes: `fill ${PHASE_CLASSES[phase]}`,
        label: `${name}: ${PHASE_LABELS[phase]} ${formatMs(times[phase])} (${formatPercent(times[phase] / totals[index]!)})`,
      }),
    );
    return (
      text(LEFT - 8, y + BAR_HEIGHT / 2 + 4, shortened(name, 15), 'lane end') +
      stackedBar(parts, { x0: LEFT, y, height: BAR_HEIGHT, perUnit })
    );
  });
  return {
    title: 'Where the time goes',
    caption: 'Mean workflow of each class, from arrival to end. Stages that overlap share the moment.',
    legend: PHASE_LEGEND,
    svg: svg(
      HALF_WIDTH,
      plot.bottom + 44,
      `Mean workflow by phase. ${rows.map(({ name }, index) => `${name} ${formatMs(totals[index])}`).join(', ')}.`,
      xAxis({ scale, format: formatMs, label: 'mean time of a workflow' }, plot, true),
      ...bars,
    ),
  };
}

const RESULT_PARTS = [
  { key: 'met', label: 'in time', classes: 'fill st-running' },
  { key: 'late', label: 'late', classes: 'fill c4' },
  { key: 'failed', label: 'failed', classes: 'fill st-failed' },
  { key: 'unfinished', label: 'unfinished', classes: 'fill st-sleeping' },
] as const;

/** Workflows by result and requests by outcome, each as one whole. */
export function outcomeFigure(report: Report): Figure | undefined {
  const outcomes = Object.entries(report.outcomes);
  const total = outcomes.reduce((sum, [, count]) => sum + count, 0);
  const workflowRows = [...report.classes, { ...report.overall, name: 'all' }].filter(({ workflows }) => workflows > 0);
  if (total === 0 && workflowRows.length === 0) return undefined;
  const rows: { name: string; parts: StackPart[]; total: number }[] = workflowRows.map((stats) => {
    const counts = {
      met: stats.met,
      late: stats.completed - stats.met,
      failed: stats.failed,
      unfinished: stats.unfinished,
    };
    return {
      name: stats.name,
      total: stats.workflows,
      parts: RESULT_PARTS.map(({ key, label, classes }) => ({
        value: counts[key],
        classes,
        label: `${stats.name}: ${formatNumber(counts[key])} of ${formatNumber(stats.workflows)} workflows ${label}`,
      })),
    };
  });
  const outcomeClasses = new Map(outcomes.map(([name], index) => [name, outcomeClass(name, index)]));
  if (total > 0) {
    rows.push({
      name: 'requests',
      total,
      parts: outcomes.map(([name, count]) => ({
        value: count,
        classes: `fill ${outcomeClasses.get(name)!}`,
        label: `${name}: ${formatNumber(count)} of ${formatNumber(total)} requests (${formatPercent(count / total)})`,
      })),
    });
  }
  const plot: Plot = { left: LEFT, right: HALF_WIDTH - 20, top: 10, bottom: 10 + rows.length * ROW_HEIGHT };
  const scale = linearScale([0, 1], [plot.left, plot.right], { count: 4 });
  const bars = rows.map((row, index) => {
    const y = plot.top + index * ROW_HEIGHT + 4;
    return (
      text(LEFT - 8, y + BAR_HEIGHT / 2 + 4, shortened(row.name, 15), 'lane end') +
      stackedBar(row.parts, { x0: LEFT, y, height: BAR_HEIGHT, perUnit: (plot.right - plot.left) / row.total })
    );
  });
  const legend: LegendItem[] = [
    ...RESULT_PARTS.filter(({ label }) =>
      rows.some(({ parts }) => parts.some((part) => part.value > 0 && part.label.endsWith(`workflows ${label}`))),
    ).map(({ label, classes }) => ({ label, swatch: classes.replace('fill ', '') })),
    ...outcomes.map(([name, count]) => ({
      label: `request ${name} (${formatNumber(count)})`,
      swatch: outcomeClasses.get(name)!,
    })),
  ];
  return {
    title: 'Outcomes',
    caption: 'Workflows of each class by result, and requests by outcome; every bar is 100 %.',
    legend,
    svg: svg(
      HALF_WIDTH,
      plot.bottom + 26,
      `Outcomes of requests: ${outcomes.map(([name, count]) => `${name} ${formatNumber(count)}`).join(', ')}.`,
      xAxis({ scale, format: (value) => formatPercent(value, 0) }, plot, true),
      ...bars,
    ),
  };
}

function outcomeClass(outcome: string, index: number): string {
  if (outcome === 'completed') return 'st-running';
  if (outcome === 'engine_failed' || outcome === 'internal') return 'st-failed';
  if (outcome.startsWith('rejected')) return 'c4';
  if (outcome === 'deadline') return 'c3';
  return index % 2 === 0 ? 'c7' : 'c5';
}
