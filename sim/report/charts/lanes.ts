import { shortened } from '../svg/element.js';
import { type Axis, type Plot, svg, text, xAxis } from '../svg/frame.js';
import type { Scale } from '../svg/scale.js';
import type { ReportInput } from '../types.js';
import { runAxis, WIDE_WIDTH, warmupShade } from './figure.js';

/** One row of a lane chart. */
export interface Lane {
  /** Lanes with equal groups stand together under its name. */
  readonly group: string;
  readonly label: string;
  /** Second, quieter line of the label. */
  readonly detail: string;
  /** Short figure at the right of the lane. */
  readonly note: string;
  draw(x: Scale, top: number, bottom: number): string;
}

export interface LaneOptions {
  readonly laneHeight: number;
  readonly summary: string;
}

/** Edges of the time axis of a lane chart; the labels stand left of it, the notes right. */
const LEFT = 190;
const RIGHT = WIDE_WIDTH - 78;
const LANE_GAP = 7;
const GROUP_HEIGHT = 22;
const LABEL_CHARS = 27;

/** Rows over the time of the run, grouped, with a shared time axis. */
export function laneChart(lanes: readonly Lane[], input: ReportInput, options: LaneOptions): string {
  const top = 6;
  let y = top;
  let group: string | undefined;
  const rows: string[] = [];
  const x: Axis = runAxis(input, { left: LEFT, right: RIGHT, top, bottom: 0 }, 10);
  for (const lane of lanes) {
    if (lane.group !== group) {
      group = lane.group;
      y += GROUP_HEIGHT;
      rows.push(text(4, y - 7, shortened(group, 60), 'group'));
    }
    const bottom = y + options.laneHeight;
    const middle = (y + bottom) / 2;
    rows.push(lane.draw(x.scale, y, bottom));
    rows.push(text(LEFT - 8, middle - 2, shortened(lane.label, LABEL_CHARS), 'lane end'));
    rows.push(text(LEFT - 8, middle + 12, shortened(lane.detail, LABEL_CHARS), 'tick end'));
    rows.push(text(RIGHT + 8, middle + 4, lane.note, 'tick'));
    y = bottom + LANE_GAP;
  }
  const plot: Plot = { left: LEFT, right: RIGHT, top, bottom: y };
  return svg(WIDE_WIDTH, y + 44, options.summary, xAxis(x, plot, true), ...rows, warmupShade(input, x.scale, plot));
}
