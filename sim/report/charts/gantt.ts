import { PHASE_LABELS, phaseSpans } from '../breakdown.js';
import { formatMs } from '../format.js';
import { groupBy } from '../measured.js';
import { isCompleted } from '../request-stats.js';
import type { Report } from '../schema.js';
import { el, shortened, tooltip } from '../svg/element.js';
import { clockLabels, svg, text, xAxis } from '../svg/frame.js';
import { bar } from '../svg/marks.js';
import { linearScale, type Scale } from '../svg/scale.js';
import type { ReportInput, StageRecord, WorkflowRecord } from '../types.js';
import { isMet } from '../workflow-stats.js';
import { type Figure, type LegendItem, seriesClass, WIDE_WIDTH } from './figure.js';

const MAX_WORKFLOWS = 22;
const MAX_BARS = 900;
const ROW_HEIGHT = 15;
const ROW_GAP = 5;
/** Stages of one workflow drawn above each other when they overlap; further ones share the last line. */
const MAX_SUBROWS = 3;
const LEFT = 190;
const RIGHT = WIDE_WIDTH - 78;

/** One busy stretch of the run, workflow by workflow. */
export function ganttFigure(report: Report, input: ReportInput): Figure | undefined {
  const stagesByWorkflow = groupBy(input.stages, (stage) => stage.workflowId);
  const started = input.workflows.filter((workflow) => stagesByWorkflow.has(workflow.workflowId));
  const window = busiestStretch(started, input);
  if (window === undefined) return undefined;
  const { startMs, endMs, workflows } = window;
  const clock = clockLabels(input.durationMs);
  const x = {
    scale: linearScale([startMs, endMs], [LEFT, RIGHT], { count: 10, time: true }),
    label: `time since start (${clock.unit})`,
    format: clock.format,
  };
  const colours = new Map(report.models.map((model, index) => [model.name, seriesClass(index)]));
  let y = 8;
  let bars = 0;
  const rows = workflows.map((workflow) => {
    const stages = (stagesByWorkflow.get(workflow.workflowId) ?? [])
      .filter((stage) => stage.endMs > startMs && stage.startMs < endMs)
      .slice(0, MAX_BARS - bars);
    bars += stages.length;
    const row = drawRow(workflow, stages, { x: x.scale, y, startMs, endMs, runEndMs: input.durationMs, colours });
    y += row.height + ROW_GAP;
    return row.markup;
  });
  const plot = { left: LEFT, right: RIGHT, top: 4, bottom: y };
  const used = new Set(
    workflows.flatMap((workflow) => stagesByWorkflow.get(workflow.workflowId) ?? []).map((stage) => stage.model),
  );
  const models = [...colours].filter(([name]) => used.has(name));
  return {
    title: 'A busy stretch',
    caption:
      'Workflows by arrival; a bar is one stage, coloured by its model: pale while it waits in the queue, hatched while weights are ' +
      'woken, full while it is served. The tick is the deadline; the grey line spans the workflow from arrival to end.',
    legend: [
      ...models.map(([label, swatch]): LegendItem => ({ label, swatch })),
      { label: 'queue', swatch: 'ink', shape: 'soft' },
      { label: 'failed stage', swatch: 'st-failed' },
    ],
    svg: svg(
      WIDE_WIDTH,
      y + 44,
      `${workflows.length} workflows with their stages between ${clock.format(startMs)} and ${clock.format(endMs)}.`,
      xAxis(x, plot, true),
      ...rows,
    ),
    wide: true,
  };
}

interface RowContext {
  readonly x: Scale;
  readonly y: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly runEndMs: number;
  readonly colours: ReadonlyMap<string, string>;
}

function drawRow(
  workflow: WorkflowRecord,
  stages: readonly StageRecord[],
  row: RowContext,
): { markup: string; height: number } {
  const placed = stackStages(stages);
  const height = ROW_HEIGHT * Math.max(1, ...placed.map(({ subrow }) => subrow + 1));
  const workflowEndMs = workflow.endMs ?? row.runEndMs;
  const middle = row.y + height / 2;
  const span = el('line', {
    class: 'span',
    x1: row.x.at(workflow.arrivalMs),
    x2: row.x.at(workflowEndMs),
    y1: middle,
    y2: middle,
  });
  const stageBars = placed.map(({ stage, subrow }) => {
    const top = row.y + subrow * ROW_HEIGHT + 1.5;
    const colour = isCompleted(stage) ? (row.colours.get(stage.model) ?? 'c7') : 'st-failed';
    const result = isCompleted(stage) ? `${stage.outputTokens} tokens` : stage.outcome;
    const parts = phaseSpans(stage).map(
      ({ phase, startMs, endMs }) => `${PHASE_LABELS[phase]} ${formatMs(endMs - startMs)}`,
    );
    const title = `${stage.role} on ${stage.model}: ${parts.join(', ')}; ${result}`;
    // Prefill and decode are drawn as one bar, so that a stage reads as one thing.
    const pieces = new Map<string, { startMs: number; endMs: number }>();
    for (const { phase, startMs, endMs } of phaseSpans(stage)) {
      const kind = phase === 'queue' ? 'wait' : phase === 'coldStart' ? 'cold' : 'serve';
      const piece = pieces.get(kind);
      if (piece) piece.endMs = endMs;
      else pieces.set(kind, { startMs, endMs });
    }
    return [...pieces].map(([kind, { startMs, endMs }]) => {
      const from = row.x.at(startMs);
      return bar(
        { x: from, y: top, width: row.x.at(endMs) - from, height: ROW_HEIGHT - 3 },
        `${kind} ${colour}`,
        title,
      );
    });
  });
  const deadlineShown = workflow.deadlineMs > row.startMs && workflow.deadlineMs <= row.endMs;
  const deadlineX = row.x.at(workflow.deadlineMs);
  const deadline = deadlineShown
    ? el(
        'line',
        {
          class: `deadline${isMet(workflow) ? '' : ' over'}`,
          x1: deadlineX,
          x2: deadlineX,
          y1: row.y - 1,
          y2: row.y + height + 1,
        },
        tooltip(`deadline, ${formatMs(workflow.deadlineMs - workflow.arrivalMs)} after the arrival`),
      )
    : '';
  const result = isMet(workflow)
    ? 'in time'
    : workflow.completed
      ? 'late'
      : workflow.endMs === undefined
        ? 'unfinished'
        : 'failed';
  const name = text(
    LEFT - 8,
    middle + 4,
    `${shortened(workflow.workflowId, 13)} · ${shortened(workflow.sloClass, 12)}`,
    'lane end',
  );
  const label = el(
    'g',
    {},
    tooltip(
      `${workflow.workflowId} (${workflow.template}): ${workflow.stages} stages, ${formatMs(workflowEndMs - workflow.arrivalMs)}`,
    ),
    name,
  );
  const verdict = text(RIGHT + 8, middle + 4, result, isMet(workflow) ? 'tick' : 'tick bad');
  return { markup: span + stageBars.flat().join('') + deadline + label + verdict, height };
}

/** Puts stages that overlap into lines of their own, first fit by start. */
function stackStages(stages: readonly StageRecord[]): { stage: StageRecord; subrow: number }[] {
  const freeAtMs: number[] = [];
  return [...stages]
    .sort((a, b) => a.startMs - b.startMs || (a.stageId < b.stageId ? -1 : 1))
    .map((stage) => {
      let subrow = freeAtMs.findIndex((freeMs) => freeMs <= stage.startMs);
      if (subrow < 0) subrow = Math.min(freeAtMs.length, MAX_SUBROWS - 1);
      freeAtMs[subrow] = Math.max(freeAtMs[subrow] ?? 0, stage.endMs);
      return { stage, subrow };
    });
}

/**
 * The stretch in which most workflows are under way, as long as a typical workflow and a half, widened to whole workflows where that
 * keeps it readable; with the workflows in it by arrival.
 */
function busiestStretch(
  workflows: readonly WorkflowRecord[],
  input: ReportInput,
): { startMs: number; endMs: number; workflows: WorkflowRecord[] } | undefined {
  if (workflows.length === 0) return undefined;
  const endOf = (workflow: WorkflowRecord): number => workflow.endMs ?? input.durationMs;
  const durations = workflows.map((workflow) => endOf(workflow) - workflow.arrivalMs).sort((a, b) => a - b);
  const typicalMs = durations[Math.floor(durations.length / 2)]!;
  const lengthMs = Math.max(1, Math.min(input.durationMs, typicalMs * 2));
  const arrivals = workflows.map((workflow) => workflow.arrivalMs).sort((a, b) => a - b);
  const ends = workflows.map(endOf).sort((a, b) => a - b);
  let bestStartMs = arrivals[0]!;
  let most = 0;
  let arrived = 0;
  let ended = 0;
  for (const arrivalMs of arrivals) {
    while (arrived < arrivals.length && arrivals[arrived]! < arrivalMs + lengthMs) arrived += 1;
    while (ended < ends.length && ends[ended]! <= arrivalMs) ended += 1;
    if (arrived - ended > most) {
      most = arrived - ended;
      bestStartMs = arrivalMs;
    }
  }
  const chosen = workflows
    .filter((workflow) => workflow.arrivalMs < bestStartMs + lengthMs && endOf(workflow) > bestStartMs)
    // Those that arrive inside the stretch tell their whole story; older ones fill up.
    .sort((a, b) => Number(a.arrivalMs < bestStartMs) - Number(b.arrivalMs < bestStartMs) || a.arrivalMs - b.arrivalMs)
    .slice(0, MAX_WORKFLOWS)
    .sort((a, b) => a.arrivalMs - b.arrivalMs || (a.workflowId < b.workflowId ? -1 : 1));
  const firstMs = Math.min(...chosen.map((workflow) => workflow.arrivalMs));
  const lastMs = Math.max(...chosen.map(endOf));
  return {
    startMs: Math.max(firstMs, bestStartMs - lengthMs * 0.5),
    endMs: Math.min(Math.max(lastMs, bestStartMs + 1), bestStartMs + lengthMs * 1.5),
    workflows: chosen,
  };
}
