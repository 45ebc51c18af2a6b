import { samplesByEngine, samplesByGpu } from '../fleet-stats.js';
import { formatGib, formatNumber, formatPercent } from '../format.js';
import { largest } from '../stats.js';
import { el, tooltip } from '../svg/element.js';
import { svg, xAxis, yAxis } from '../svg/frame.js';
import { area, areaPath, line, stepPath } from '../svg/marks.js';
import { linearScale } from '../svg/scale.js';
import type { NodeSample, ReportInput } from '../types.js';
import { type Figure, HALF_HEIGHT, HALF_PLOT, HALF_WIDTH, runAxis, warmupShade } from './figure.js';
import { type Lane, laneChart } from './lanes.js';
import { lanePoints } from './timeline.js';

const MAX_LANES = 32;

/** Moments at which the KV memory of all engines is added up. */
const KV_MOMENTS = 240;

/** HBM in use on every GPU, each lane from empty to full. */
export function hbmFigure(input: ReportInput): Figure | undefined {
  const all = samplesByGpu(input.fleet?.hbm ?? []);
  if (all.length === 0) return undefined;
  const lanes = all.slice(0, MAX_LANES).map((samples): Lane => {
    const { nodeId, gpu, totalBytes } = samples.at(-1)!;
    const peakBytes = largest(
      samples.map((sample) => sample.usedBytes),
      0,
    );
    const label = `${nodeId} GPU ${gpu}: at most ${formatGib(peakBytes)} of ${formatGib(totalBytes)} (${formatPercent(peakBytes / totalBytes)})`;
    return {
      group: nodeId,
      label: `GPU ${gpu}`,
      detail: formatGib(totalBytes),
      note: `max ${formatPercent(peakBytes / totalBytes, 0)}`,
      draw: (x, top, bottom) => {
        const y = (bytes: number): number => bottom - Math.min(1, bytes / totalBytes) * (bottom - top);
        const points = lanePoints(samples, (sample) => sample.usedBytes, x, y, input.durationMs);
        const box = { x: x.at(0), y: top, width: x.at(input.durationMs) - x.at(0), height: bottom - top };
        return (
          el('rect', { class: 'empty', ...box }, tooltip(label)) +
          area(areaPath(points, bottom, stepPath), 'c3', label) +
          line(stepPath(points), 'c3', label, 'thin')
        );
      },
    };
  });
  return {
    title: 'HBM of each GPU',
    caption:
      'Memory in use, weights and KV pools together; the height of a lane is the whole card.' +
      (all.length > MAX_LANES ? ` The first ${MAX_LANES} of ${all.length} GPUs are drawn.` : ''),
    legend: [{ label: 'used', swatch: 'c3', shape: 'soft' }],
    svg: laneChart(lanes, input, { laneHeight: 32, summary: `HBM in use on ${lanes.length} GPUs over the run.` }),
    wide: true,
  };
}

/** KV memory promised, used and there, all engines together, in tokens. */
export function kvFigure(input: ReportInput): Figure | undefined {
  const engines = samplesByEngine(input.fleet?.samples ?? []);
  if (engines.length === 0) return undefined;
  const plot = HALF_PLOT;
  const x = runAxis(input, plot, 6);
  const totals = kvTotals(engines, input.durationMs);
  const highest = Math.max(1, ...totals.map(({ reserved, used }) => Math.max(reserved, used)));
  const pool = Math.max(...totals.map((total) => total.pool));
  // A pool far larger than anything promised would press the curves to the ground; it is then only named.
  const poolShown = Number.isFinite(pool) && pool > 0 && pool <= highest * 4;
  const y = linearScale([0, poolShown ? Math.max(pool, highest) : highest], [plot.bottom, plot.top], {
    count: 4,
    roundMax: true,
  });
  const points = (of: (total: KvTotal) => number) =>
    totals.map((total) => ({ x: x.scale.at(total.atMs), y: y.at(of(total)) }));
  const reserved = points((total) => total.reserved);
  const used = points((total) => total.used);
  const poolName = Number.isFinite(pool) ? `${formatNumber(pool)} tokens` : 'unknown';
  return {
    title: 'KV memory over time',
    caption: `Tokens, all engines together; pools of running engines at most ${poolName}.`,
    legend: [
      { label: 'reserved', swatch: 'c0', shape: 'line' },
      { label: 'used', swatch: 'c2', shape: 'soft' },
      ...(poolShown ? [{ label: 'pools of running engines', swatch: 'ink', shape: 'dashed' as const }] : []),
    ],
    svg: svg(
      HALF_WIDTH,
      HALF_HEIGHT,
      `KV tokens over the run: reserved at most ${formatNumber(Math.max(...totals.map((total) => total.reserved)))}, used at most ${formatNumber(Math.max(...totals.map((total) => total.used)))}.`,
      warmupShade(input, x.scale, plot),
      yAxis({ scale: y, format: formatNumber, label: 'tokens' }, plot),
      xAxis(x, plot),
      area(areaPath(used, plot.bottom, stepPath), 'c2', 'KV used'),
      line(stepPath(used), 'c2', 'KV used', 'thin'),
      line(stepPath(reserved), 'c0', 'KV reserved'),
      poolShown ? line(stepPath(points((total) => total.pool)), 'ink', 'pools of running engines', 'thin dashed') : '',
    ),
  };
}

interface KvTotal {
  readonly atMs: number;
  readonly reserved: number;
  readonly used: number;
  readonly pool: number;
}

/** Sums over the engines at equal moments, each engine with its latest sample. */
function kvTotals(engines: readonly (readonly NodeSample[])[], endMs: number): KvTotal[] {
  const next = engines.map(() => 0);
  return Array.from({ length: KV_MOMENTS + 1 }, (_, moment) => {
    const atMs = (endMs * moment) / KV_MOMENTS;
    const total = { atMs, reserved: 0, used: 0, pool: 0 };
    engines.forEach((samples, engine) => {
      while (next[engine]! < samples.length && samples[next[engine]!]!.atMs <= atMs) next[engine]! += 1;
      const sample = samples[next[engine]! - 1];
      if (sample === undefined) return;
      total.reserved += sample.kvReservedTokens;
      total.used += sample.kvUsedTokens;
      if (sample.state === 'running' || sample.state === 'draining' || sample.state === 'leaving')
        total.pool += sample.kvPoolTokens;
    });
    return total;
  });
}
