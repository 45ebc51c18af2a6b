import { formatMs, formatPercent, formatRatio } from '../format.js';
import { cutWarmup } from '../measured.js';
import { e2elOf, tpotOf, ttftOf } from '../request-stats.js';
import type { ClassReport, Report } from '../schema.js';
import { quantileSorted, sortedFinite } from '../stats.js';
import { el, tooltip } from '../svg/element.js';
import { svg, xAxis, yAxis } from '../svg/frame.js';
import { line, linePath } from '../svg/marks.js';
import { linearScale, logScale } from '../svg/scale.js';
import type { ReportInput, StageRecord, WorkflowRecord } from '../types.js';
import { durationOf, slowdownOf } from '../workflow-stats.js';
import { type Figure, HALF_HEIGHT, HALF_PLOT, HALF_WIDTH, type LegendItem, seriesClass } from './figure.js';

interface CdfSpec {
  readonly title: string;
  readonly caption: string;
  readonly valuesOf: (sloClass: ClassReport) => readonly number[];
  /** Where the class is expected to stay below. */
  readonly targetOf?: (sloClass: ClassReport) => number | null;
  readonly targetName?: string;
  readonly unit: 'time' | 'ratio';
}

/** Points of a distribution curve: every percent, and finer in the tail. */
const CURVE_QUANTILES = [...Array.from({ length: 100 }, (_, percent) => percent / 100), 0.995, 0.999, 1];

/** Spread (largest over 5th percentile) from which a logarithmic axis reads better. */
const LOG_SPREAD = 12;

/** Distributions of workflows and requests by class, those that were measured. */
export function cdfFigures(report: Report, input: ReportInput): Figure[] {
  const { workflows, stages } = cutWarmup(input);
  const ofWorkflows = (measure: (workflow: WorkflowRecord) => number | undefined) => (sloClass: ClassReport) =>
    workflows.filter((workflow) => workflow.sloClass === sloClass.name).flatMap((workflow) => measure(workflow) ?? []);
  const ofStages = (measure: (stage: StageRecord) => number | undefined) => (sloClass: ClassReport) =>
    stages.filter((stage) => stage.sloClass === sloClass.name).flatMap((stage) => measure(stage) ?? []);
  const specs: CdfSpec[] = [
    {
      title: 'Workflow duration',
      caption: 'Share of completed workflows that took at most this long. Dashed: the deadline of the class.',
      valuesOf: ofWorkflows(durationOf),
      targetOf: (sloClass) => sloClass.deadlineMs,
      targetName: 'deadline',
      unit: 'time',
    },
    {
      title: 'Slowdown',
      caption: 'Workflow duration over that of the same workflow alone on an idle, warm fleet.',
      valuesOf: ofWorkflows(slowdownOf),
      unit: 'ratio',
    },
    {
      title: 'Time to first token',
      caption: 'From the request being sent to its first content token; waits included. Dashed: the target.',
      valuesOf: ofStages(ttftOf),
      targetOf: (sloClass) => sloClass.ttftTargetMs,
      targetName: 'TTFT target',
      unit: 'time',
    },
    {
      title: 'Time per output token',
      caption: '(E2EL − TTFT) / (output tokens − 1) of completed requests. Dashed: the target.',
      valuesOf: ofStages(tpotOf),
      targetOf: (sloClass) => sloClass.tpotTargetMs,
      targetName: 'TPOT target',
      unit: 'time',
    },
    {
      title: 'End-to-end latency of a request',
      caption: 'From the request being sent to its last byte; completed requests.',
      valuesOf: ofStages(e2elOf),
      unit: 'time',
    },
  ];
  return specs.flatMap((spec) => cdfFigure(spec, report) ?? []);
}

function cdfFigure(spec: CdfSpec, report: Report): Figure | undefined {
  const curves = report.classes.flatMap((sloClass, index) => {
    const sorted = sortedFinite(spec.valuesOf(sloClass));
    return sorted.length === 0 ? [] : [{ sloClass, sorted, colour: seriesClass(index) }];
  });
  if (curves.length === 0) return undefined;
  const plot = HALF_PLOT;
  const targets = curves.flatMap(({ sloClass, colour }) => {
    const target = spec.targetOf?.(sloClass) ?? null;
    return target === null ? [] : [{ target, colour, name: sloClass.name }];
  });
  const low = Math.min(...curves.map(({ sorted }) => quantileSorted(sorted, 0.05)!));
  const high = Math.max(...curves.map(({ sorted }) => sorted.at(-1)!));
  // A target far beyond everything measured would squeeze the curves; it is then named below the title.
  const shown = targets.filter(({ target }) => target <= high * 4);
  const far = Math.max(high, ...shown.map(({ target }) => target));
  const range = [plot.left, plot.right] as const;
  const format = spec.unit === 'time' ? formatMs : formatRatio;
  const scale =
    low > 0 && far / low > LOG_SPREAD
      ? logScale([low, far], range, { maxTicks: 7, time: spec.unit === 'time' })
      : linearScale([spec.unit === 'ratio' ? Math.min(1, low) : 0, far * 1.02], range, {
          count: 5,
          time: spec.unit === 'time',
        });
  const y = linearScale([0, 1], [plot.bottom, plot.top], { count: 4 });

  const lines = curves.map(({ sloClass, sorted, colour }) => {
    const points = CURVE_QUANTILES.map((q) => ({ x: scale.at(quantileSorted(sorted, q)!), y: y.at(q) }));
    const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => format(quantileSorted(sorted, q)));
    const label = `${sloClass.name}: p50 ${p50}, p95 ${p95}, p99 ${p99}, max ${format(sorted.at(-1))}, n = ${sorted.length}`;
    return line(linePath(points), colour, label);
  });
  const targetLines = shown.map(({ target, colour, name }) =>
    el(
      'line',
      { class: `target ${colour}`, x1: scale.at(target), x2: scale.at(target), y1: plot.top, y2: plot.bottom },
      tooltip(`${name}: ${spec.targetName ?? 'target'} ${format(target)}`),
    ),
  );
  const legend = curves.map(({ sloClass, sorted, colour }): LegendItem => {
    const median = format(quantileSorted(sorted, 0.5));
    return {
      label: `${sloClass.name} (p50 ${median}, p95 ${format(quantileSorted(sorted, 0.95))})`,
      swatch: colour,
      shape: 'line',
    };
  });
  return {
    title: spec.title,
    caption:
      spec.caption +
      offScale(
        targets.filter((target) => !shown.includes(target)),
        format,
      ),
    legend,
    svg: svg(
      HALF_WIDTH,
      HALF_HEIGHT,
      `${spec.title}, cumulative distribution. ${legend.map(({ label }) => label).join('; ')}.`,
      yAxis({ scale: y, format: (value) => formatPercent(value, 0) }, plot),
      xAxis(
        { scale, format, label: spec.unit === 'time' ? spec.title.toLowerCase() : 'times its idle duration' },
        plot,
        true,
      ),
      ...targetLines,
      ...lines,
    ),
  };
}

function offScale(targets: readonly { target: number; name: string }[], format: (value: number) => string): string {
  if (targets.length === 0) return '';
  return ` Off the scale: ${targets.map(({ target, name }) => `${name} ${format(target)}`).join(', ')}.`;
}
