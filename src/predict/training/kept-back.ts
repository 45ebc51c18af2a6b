import {
  type ContestState,
  EstimateContest,
  LENGTH_CONTESTANTS,
  type LengthContestant,
  MIN_CALLS,
  type Said,
} from '../contest.js';
import { mediansOf, shiftedTokens } from '../contested.js';
import { type CallHistory, taughtTokens } from '../examples.js';
import { RecentShift } from '../recent-shift.js';
import { RECENT_CALLS } from '../serving-model.js';
import type { TrainingTable } from '../training-table.js';

/** What a template of the training is served by at first, and what that rests on. Errors are mean absolute errors in tokens on calls kept back. */
export interface TemplateChoice {
  readonly template: string;
  readonly calls: number;
  readonly serves: 'model' | 'blend';
  readonly modelError: number | undefined;
  readonly lookupError: number | undefined;
}

/** Names of which statistics are kept. */
const MAX_CELLS = 65_536;
/** Below so many calls trees do not serve a template alone: they learn them by heart. Measured: `prediction-measured`, learning curve. */
const MIN_TEMPLATE_ROWS = 200;

/** What was said of calls by trees that had not learned from them, in log tokens by row; NaN where none were tried. */
export interface Unseen {
  readonly medians: Float64Array;
  readonly means: Float64Array;
}

/** How the ways to foretell a length compare on calls kept back. */
export interface KeptBack {
  /** By row, in tokens: what the model said; NaN where none was tried. */
  readonly modelTokens: Float64Array;
  /** What the contest would have learned from them, of kinds of which it learned enough. */
  readonly lengthErrors: ContestState;
}

/** Runs through the history as a predictor in service would: the shift and the contest learn from the calls kept back. */
export function replayKeptBack({ calls, events }: CallHistory, table: TrainingTable, unseen: Unseen): KeptBack {
  const rows = new Map(Array.from(table.calls, (place, row) => [place, row]));
  const modelTokens = unseen.medians.map(tokensOf);
  const shift = new RecentShift(MAX_CELLS, RECENT_CALLS);
  const contest = new EstimateContest(MAX_CELLS, LENGTH_CONTESTANTS, () => 'model');
  const open = new Map<number, { readonly said: Said<LengthContestant>; readonly recent: number }>();
  for (const event of events) {
    if (event.kind === 'workflowEnded') continue;
    const { stage, outcome } = calls[event.call]!;
    const row = rows.get(event.call);
    if (row === undefined) continue;
    const q50 = modelTokens[row]!;
    if (Number.isNaN(q50)) continue;
    if (event.kind === 'begin') {
      const recent = shift.of(stage.template);
      const model = { q50: shiftedTokens(q50, recent.shift), mean: tokensOf(unseen.means[row]!) };
      const said = mediansOf(model, { q50: table.lookupTokens[row]! });
      open.set(event.call, { said, recent: recent.mean });
      continue;
    }
    const tokens = taughtTokens(outcome);
    const then = open.get(event.call);
    open.delete(event.call);
    if (tokens === undefined || !then) continue;
    contest.observe(stage, then.said, tokens);
    shift.observe(stage.template, then.recent, Math.log1p(tokens) - Math.log1p(q50));
  }
  return { modelTokens, lengthErrors: contest.state().filter(([, seen]) => seen >= MIN_CALLS) };
}

/** The model, or the middle of model and lookup, by what model and lookup each would have got wrong on calls that it had not learned from. */
export function chooseByTemplate(
  history: CallHistory,
  table: TrainingTable,
  { modelTokens }: KeptBack,
): TemplateChoice[] {
  const sums = new Map<string, { calls: number; tried: number; model: number; lookup: number }>();
  table.calls.forEach((place, row) => {
    const { template } = history.calls[place]!.stage;
    const sum = sums.get(template) ?? { calls: 0, tried: 0, model: 0, lookup: 0 };
    sums.set(template, sum);
    sum.calls += 1;
    if (Number.isNaN(modelTokens[row]!)) return;
    const truth = Math.expm1(table.logTokens[row]!);
    sum.tried += 1;
    sum.model += Math.abs(modelTokens[row]! - truth);
    sum.lookup += Math.abs(table.lookupTokens[row]! - truth);
  });
  return [...sums]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([template, { calls, tried, model, lookup }]) => ({
      ...{ template, calls },
      serves: calls < MIN_TEMPLATE_ROWS || lookup < model ? 'blend' : 'model',
      modelError: tried === 0 ? undefined : model / tried,
      lookupError: tried === 0 ? undefined : lookup / tried,
    }));
}

function tokensOf(logTokens: number): number {
  return Math.expm1(Math.max(0, logTokens));
}
