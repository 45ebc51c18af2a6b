import { samplesByEngine } from '../fleet-stats.js';
import { formatNumber } from '../format.js';
import { largest } from '../stats.js';
import { downsample, dropRepeats, type Point } from '../svg/downsample.js';
import { el, tooltip } from '../svg/element.js';
import { clockLabels } from '../svg/frame.js';
import { area, areaPath, line, stepPath } from '../svg/marks.js';
import type { Scale } from '../svg/scale.js';
import type { NodeSample, ReportInput } from '../types.js';
import type { Figure } from './figure.js';
import { type Lane, laneChart } from './lanes.js';

/** Lanes of one chart; of a larger fleet the busiest engines are drawn. */
const MAX_LANES = 32;

/** Points of one line of one lane: more cannot be told apart at this width. */
const MAX_POINTS = 480;

/** Stretches of one state drawn in a lane; shorter ones are merged into their predecessor beyond that. */
const MAX_STRETCHES = 400;

/** States in the order of a life, with the class of their colour. */
const STATE_CLASSES: Readonly<Record<string, string>> = {
  running: 'st-running',
  draining: 'st-draining',
  'falling-asleep': 'st-falling',
  sleeping: 'st-sleeping',
  'sleeping-deep': 'st-deep',
  waking: 'st-waking',
  down: 'st-down',
  failed: 'st-failed',
  leaving: 'st-draining',
};

/** One stretch of time in one state. */
export interface Stretch {
  readonly state: string;
  readonly startMs: number;
  readonly endMs: number;
}

/** What every engine was doing: its state as a coloured lane, requests inside it and leases on it as lines. */
export function timelineFigure(input: ReportInput): Figure | undefined {
  const all = samplesByEngine(input.fleet?.samples ?? []);
  if (all.length === 0) return undefined;
  const busy = (samples: readonly NodeSample[]): number => samples.reduce((sum, sample) => sum + sample.running, 0);
  const drawn = new Set([...all].sort((a, b) => busy(b) - busy(a)).slice(0, MAX_LANES));
  const engines = all.filter((samples) => drawn.has(samples));
  const drawnSamples = engines.flat();
  const highest = largest(
    drawnSamples.map((sample) => Math.max(sample.running, sample.leases)),
    1,
  );
  const seen = new Set(drawnSamples.map((sample) => sample.state));
  const left = all.length - engines.length;
  return {
    title: 'Engines',
    caption:
      'Lane colour: where the weights are. Filled line: requests running in the engine; dark line: leases held, both on one scale, ' +
      `top of a lane = ${formatNumber(highest)}. Right: most requests running at once.` +
      (left > 0 ? ` The ${left} least busy engines are not drawn.` : ''),
    legend: [
      ...Object.entries(STATE_CLASSES).flatMap(([state, swatch]) =>
        seen.has(state) ? [{ label: state, swatch, shape: 'soft' as const }] : [],
      ),
      { label: 'requests running', swatch: 'c0', shape: 'line' },
      { label: 'leases', swatch: 'ink', shape: 'line' },
    ],
    svg: laneChart(
      engines.map((samples) => engineLane(samples, input, highest)),
      input,
      { laneHeight: 40, summary: `States and load of ${engines.length} engines over the run.` },
    ),
    wide: true,
  };
}

function engineLane(samples: readonly NodeSample[], input: ReportInput, highest: number): Lane {
  const last = samples.at(-1)!;
  const most = largest(
    samples.map((sample) => sample.running),
    0,
  );
  const clock = clockLabels(input.durationMs);
  return {
    group: last.nodeId,
    label: last.engineId,
    detail: last.model,
    note: `max ${formatNumber(most)}`,
    draw: (x, top, bottom) => {
      const bands = stateStretches(samples, input.durationMs).map(({ state, startMs, endMs }) => {
        const box = {
          x: x.at(startMs),
          y: top,
          width: Math.max(0.5, x.at(endMs) - x.at(startMs)),
          height: bottom - top,
        };
        const label = `${last.engineId}: ${state}, ${clock.format(startMs)}–${clock.format(endMs)}`;
        return el('rect', { class: `band ${STATE_CLASSES[state] ?? 'st-other'}`, ...box }, tooltip(label));
      });
      const y = (value: number): number => bottom - (Math.min(value, highest) / highest) * (bottom - top - 3);
      const running = lanePoints(samples, (sample) => sample.running, x, y, input.durationMs);
      const leases = lanePoints(samples, (sample) => sample.leases, x, y, input.durationMs);
      return [
        ...bands,
        area(areaPath(running, bottom, stepPath), 'c0', `${last.engineId}: requests running, at most ${most}`),
        line(stepPath(running), 'c0', `${last.engineId}: requests running, at most ${most}`, 'thin'),
        line(stepPath(leases), 'ink', `${last.engineId}: leases held`, 'thin'),
      ].join('');
    },
  };
}

/** Pixel points of one value of an engine, thinned; the last value holds until the end of the run. */
export function lanePoints<T extends { atMs: number }>(
  samples: readonly T[],
  measure: (sample: T) => number,
  x: Scale,
  y: (value: number) => number,
  endMs: number,
): readonly Point[] {
  const points = samples.map((sample) => ({ x: x.at(sample.atMs), y: y(measure(sample)) }));
  points.push({ x: x.at(endMs), y: points.at(-1)!.y });
  return downsample(dropRepeats(points), MAX_POINTS);
}

/** Stretches of equal state; each lasts until the next sample says otherwise, the last until the end of the run. */
function stateStretches(samples: readonly NodeSample[], endMs: number): Stretch[] {
  const changes = samples.filter((sample, index) => index === 0 || sample.state !== samples[index - 1]!.state);
  const stretches = changes.map((sample, index) => ({
    state: sample.state,
    startMs: sample.atMs,
    endMs: Math.max(sample.atMs, changes[index + 1]?.atMs ?? endMs),
  }));
  if (stretches.length <= MAX_STRETCHES) return stretches;
  const shortestMs = endMs / MAX_STRETCHES;
  const merged: { state: string; startMs: number; endMs: number }[] = [];
  for (const stretch of stretches) {
    const before = merged.at(-1);
    if (before && (stretch.endMs - stretch.startMs < shortestMs || before.state === stretch.state))
      before.endMs = stretch.endMs;
    else merged.push({ ...stretch });
  }
  return merged;
}
