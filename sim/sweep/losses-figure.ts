import { type Figure, WIDE_WIDTH } from '../report/charts/figure.js';
import { formatMs, trimmed } from '../report/format.js';
import { el, shortened, tooltip } from '../report/svg/element.js';
import { clockLabels, svg, text, xAxis } from '../report/svg/frame.js';
import { bar } from '../report/svg/marks.js';
import { linearScale, type Scale } from '../report/svg/scale.js';
import type { Losses, LossSide, WorkflowBars } from './losses.js';

const LEFT = 190;
const RIGHT = WIDE_WIDTH - 78;
const ROW_HEIGHT = 12;
const ROW_GAP = 4;
const TITLE_HEIGHT = 26;
const NAME_CHARS = 13;

/** The same workflows under both policies, one above the other on one axis of time. */
export function lossesFigure(losses: Losses): Figure {
  const { workload, deadlineRule, load, seed, minute, arrived, sides } = losses;
  const drawn = sides.flatMap(({ workflows }) => workflows);
  const startMs = drawn.reduce((first, { arrivalMs }) => Math.min(first, arrivalMs), Number.POSITIVE_INFINITY);
  const lastMs = drawn.reduce(
    (last, { calls, deadlineMs }) => Math.max(last, deadlineMs, calls.at(-1)?.[3] ?? 0),
    startMs + 1,
  );
  const clock = clockLabels(lastMs);
  const scale = linearScale([startMs, lastMs], [LEFT, RIGHT], { count: 10, time: true });
  const height = (ROW_HEIGHT + ROW_GAP) * (sides[0]?.workflows.length ?? 0) + TITLE_HEIGHT;
  const bottom = height * sides.length;
  return {
    title: `${workload}, deadlines ${deadlineRule}, load ${trimmed(load, 2)}, seed ${seed}: arrivals of minute ${minute}`,
    caption:
      `${arrived} workflows arrived; ${sides.map(({ policy, missed }) => `${policy} missed ${missed}`).join(', ')}. ` +
      'A line is a workflow from its arrival to its end, those that fared differently first taken; the tick is its deadline. Where calls of a workflow overlap, running hides waiting.',
    legend: [
      { label: 'waits in the order', swatch: 'c4' },
      { label: 'waits for weights', swatch: 'c3' },
      { label: 'runs', swatch: 'c0' },
      { label: 'runs or waits after its deadline', swatch: 'st-failed' },
    ],
    svg: svg(
      WIDE_WIDTH,
      bottom + 44,
      `${workload}: workflows that arrived in minute ${minute} under ${sides.map(({ policy }) => policy).join(' and ')}.`,
      xAxis(
        { scale, label: `time since start (${clock.unit})`, format: clock.format },
        { left: LEFT, right: RIGHT, top: 4, bottom },
        true,
      ),
      ...sides.map((side, index) => panel(side, index * height, scale, lastMs)),
    ),
    wide: true,
  };
}

function panel({ policy, missed, workflows }: LossSide, top: number, x: Scale, lastMs: number): string {
  const rows = workflows.map((workflow, index) => {
    return row(workflow, top + TITLE_HEIGHT + index * (ROW_HEIGHT + ROW_GAP), x, lastMs);
  });
  return text(8, top + 17, `${policy}: ${missed} missed`, 'group') + rows.join('');
}

function row(workflow: WorkflowBars, y: number, x: Scale, lastMs: number): string {
  const { workflowId, sloClass, arrivalMs, deadlineMs, endMs, met, calls } = workflow;
  const middle = y + ROW_HEIGHT / 2;
  const line = el('line', {
    class: 'span',
    x1: x.at(arrivalMs),
    x2: x.at(endMs ?? lastMs),
    y1: middle,
    y2: middle,
  });
  const part = (fromMs: number, toMs: number, classes: string, what: string) => {
    if (toMs <= fromMs) return '';
    const left = x.at(fromMs);
    const label = `${what} ${formatMs(toMs - fromMs)}`;
    return bar({ x: left, y, width: x.at(toMs) - left, height: ROW_HEIGHT }, classes, label, 0.4);
  };
  const both = (fromMs: number, toMs: number, colour: string, what: string, kind: string) =>
    part(fromMs, Math.min(toMs, deadlineMs), `${kind} ${colour}`, what) +
    part(Math.max(fromMs, deadlineMs), toMs, `${kind} st-failed`, `${what}, late,`);
  // In this order, so that what runs lies on what waits.
  const bars = [
    ...calls.map(([sentMs, takenMs]) => both(sentMs, takenMs, 'c4', 'waits in the order', 'serve')),
    ...calls.map(([, takenMs, servedMs]) => both(takenMs, servedMs, 'c3', 'waits for weights', 'serve')),
    ...calls.map(([, , servedMs, callEndMs]) => both(servedMs, callEndMs, 'c0', 'runs', 'serve')),
  ];
  const deadline = el(
    'line',
    {
      class: `deadline${met ? '' : ' over'}`,
      x1: x.at(deadlineMs),
      x2: x.at(deadlineMs),
      y1: y - 2,
      y2: y + ROW_HEIGHT + 2,
    },
    tooltip(`deadline, ${formatMs(deadlineMs - arrivalMs)} after the arrival`),
  );
  const name = text(LEFT - 8, middle + 4, `${tail(workflowId)} · ${shortened(sloClass, 11)}`, 'lane end');
  const result = met ? 'in time' : endMs === null ? 'unfinished' : endMs > deadlineMs ? 'late' : 'failed';
  return line + bars.join('') + deadline + name + text(RIGHT + 8, middle + 4, result, met ? 'tick' : 'tick bad');
}

/** The end of a name: workflows of one source begin alike. */
function tail(name: string): string {
  const chars = [...name];
  return chars.length <= NAME_CHARS ? name : `…${chars.slice(1 - NAME_CHARS).join('')}`;
}
