import type { CallExample, CallHistory } from '../examples.js';
import { FEATURE_NAMES, FEATURE_SCHEMA_HASH } from '../features.js';
import { METADATA_KEY, type ModelOutput, type STAGE_OUTPUTS, type TreeModel } from '../onnx/model.js';
import { workScale } from '../remaining-work.js';
import { type ServingRules, withRepeats } from '../serving-rules.js';
import { selectRows, type TrainingTable, trainingTable } from '../training-table.js';
import { fitPlatt, withScoreLine } from '../trees/calibrate.js';
import { type ColumnImportance, DEFAULT_GBDT_PARAMS, type GbdtParams, type TreeEnsemble } from '../trees/types.js';
import { type TrainedCorrection, templateCorrections, templateParts } from './corrections.js';
import { FoldedTable, type TablePart } from './folds.js';
import { chooseByTemplate, replayKeptBack, type TemplateChoice } from './kept-back.js';
import { rowWeights, workflowShares } from './row-weights.js';
import { type SplitKey, unitHash } from './split.js';

export interface TrainingOptions {
  readonly seed: number;
  /** What stays together when calls are kept back to find the number of trees and to calibrate. */
  readonly split: SplitKey;
  /** Trees of an output at most. */
  readonly trees: number;
  readonly leaves: number;
  readonly learningRate: number;
  /** Share of calls that may outgrow their bound. */
  readonly targetOverflow: number;
}

/** The knee of the size measured on the recorded traces: more gains less than 1 %. */
export const DEFAULT_TRAINING: TrainingOptions = {
  seed: 1,
  split: 'task',
  trees: 200,
  leaves: 31,
  learningRate: 0.05,
  targetOverflow: 0.05,
};

export interface TrainedModel {
  readonly model: TreeModel;
  readonly rules: ServingRules;
  readonly choices: readonly TemplateChoice[];
  readonly outputs: readonly OutputSummary[];
  /** Calls with a known length, and calls that could choose a tool. */
  readonly lengthRows: number;
  readonly toolRows: number;
}

export interface OutputSummary {
  readonly name: string;
  readonly trees: number;
  readonly importance: readonly ColumnImportance[];
}

/** Fewer choices of a tool, or of none, say nothing. */
const MIN_TOOL_ROWS = 200;
const MIN_TOOL_KIND = 20;
const FOLDS = 5;
/** Up to here all folds are tried: small tables are cheap, and a single fold of one is chance. */
const ALL_FOLDS_ROWS = 5_000;

/**
 * Numbers of trees of a length are equal up to this part of their loss on calls kept back: one fold is chance, and where the loss is flat more trees serve rare kinds of calls
 * better. Tool calls and remaining work are told worse that way. Measured on the recorded traces.
 */
const EQUAL_LOSS = 0.005;

type LengthName = Exclude<(typeof STAGE_OUTPUTS)[number], 'tool_probability'>;

const LENGTH_OBJECTIVES: Readonly<Record<LengthName, Pick<GbdtParams, 'objective' | 'alpha'>>> = {
  log_tokens_q30: { objective: 'quantile', alpha: 0.3 },
  log_tokens_q50: { objective: 'l1' },
  log_tokens_q95: { objective: 'quantile', alpha: 0.95 },
  log_tokens_mean: { objective: 'poisson' },
};

/**
 * Trains the model of a history: classifier of tool calls, three quantiles and the mean of the length. Equal histories and options give equal models.
 *
 * Synchronous and long (a minute on 30 000 calls): live code calls it in a worker.
 */
export function trainModel(history: CallHistory, options: TrainingOptions): TrainedModel {
  const { split } = options;
  // In time a call may not know what came after it.
  const table = trainingTable(history, split === 'time' ? undefined : (call) => foldOfCall(call, options));
  const isKnown = (row: number) => !Number.isNaN(table.logTokens[row]!);
  const lengths = selectRows(table, isKnown);
  const tools = selectRows(table, (row) => !Number.isNaN(table.toolCalled[row]!));
  if (lengths.matrix.rows === 0) throw new RangeError('no call of the traces has a known length');
  const remaining = trainRemaining(
    selectRows(table, (row) => !Number.isNaN(table.logRemaining[row]!)),
    history,
    options,
  );
  const trained = [trainTools(tools, history, options), ...trainLengths(lengths, history, options)];
  const bases = remaining ? [...trained, remaining.output] : trained;
  const outputs = [...bases, ...bases.flatMap(({ corrections }) => corrections)];
  const unseen = (name: LengthName) => trained.find((output) => output.name === name)!.unseen;
  const medians = unseen('log_tokens_q50');
  const repeatLogTolerance = bestTolerance(history, lengths, medians);
  const replay = replayKeptBack(history, lengths, {
    medians: repeated(history, lengths, medians, repeatLogTolerance),
    means: unseen('log_tokens_mean'),
  });
  const choices = chooseByTemplate(history, lengths, replay);
  const rules: ServingRules = {
    boundLogOffset: conformalOffset(lengths.logTokens, unseen('log_tokens_q95'), options.targetOverflow),
    repeatLogTolerance,
    toolIntent: trained[0]!.trees > 0,
    lookupTemplates: choices.flatMap(({ template, serves }) => (serves === 'blend' ? [template] : [])),
    lengthErrors: replay.lengthErrors,
    remainingTemplates: remaining?.templates ?? [],
  };
  const metadata = new Map([
    [METADATA_KEY.schemaHash, FEATURE_SCHEMA_HASH],
    [METADATA_KEY.calibration, JSON.stringify(rules)],
    [METADATA_KEY.training, JSON.stringify({ ...options, calls: table.matrix.rows, lengthRows: lengths.matrix.rows })],
  ]);
  return {
    model: { features: FEATURE_NAMES, featureCount: FEATURE_NAMES.length, outputs, metadata },
    ...{ rules, choices, lengthRows: lengths.matrix.rows, toolRows: tools.matrix.rows },
    outputs: outputs.map(({ name, trees, importance }) => ({ name, trees, importance })),
  };
}

interface TrainedOutput extends ModelOutput, OutputSummary {
  readonly unseen: Float64Array;
  readonly corrections: readonly TrainedCorrection[];
}

/** An output, with what corrects it for single templates. */
function trainOutput(
  name: string,
  folded: FoldedTable,
  parts: ReadonlyMap<string, TablePart>,
  target: Float64Array,
  params: GbdtParams,
  equalLoss = 0,
): TrainedOutput {
  const fitted = folded.train(target, params, equalLoss);
  const corrections = templateCorrections(name, folded, parts, target, fitted, params);
  const { trained, unseen } = fitted;
  return {
    name,
    ensemble: trained.ensemble,
    trees: trained.bestTrees,
    importance: trained.importance,
    unseen,
    corrections,
  };
}

function trainLengths(table: TrainingTable, history: CallHistory, options: TrainingOptions): TrainedOutput[] {
  const folded = foldedTable(table, history, options);
  const parts = templateParts(table, history, folded);
  const tokens = table.logTokens.map(Math.exp);
  return (Object.keys(LENGTH_OBJECTIVES) as LengthName[]).map((name) => {
    const objective = LENGTH_OBJECTIVES[name];
    const target = objective.objective === 'poisson' ? tokens : table.logTokens;
    return trainOutput(name, folded, parts, target, paramsOf(options, objective, table.matrix.rows), EQUAL_LOSS);
  });
}

function trainTools(table: TrainingTable, history: CallHistory, options: TrainingOptions): TrainedOutput {
  const name = 'tool_probability';
  const calls = table.toolCalled.reduce((sum, called) => sum + called, 0);
  const rows = table.matrix.rows;
  if (rows < MIN_TOOL_ROWS || Math.min(calls, rows - calls) < MIN_TOOL_KIND) {
    const unseen = new Float64Array(rows).fill(Number.NaN);
    return { name, ensemble: EVEN_CHANCE, trees: 0, importance: [], unseen, corrections: [] };
  }
  const params = paramsOf(options, { objective: 'binary' }, rows);
  const folded = foldedTable(table, history, options);
  const output = trainOutput(name, folded, templateParts(table, history, folded), table.toolCalled, params);
  const { unseen } = output;
  const seen = Array.from(unseen.keys()).filter((row) => !Number.isNaN(unseen[row]!));
  const scores = Float64Array.from(seen, (row) => unseen[row]!);
  const labels = Float64Array.from(seen, (row) => table.toolCalled[row]!);
  if (seen.length === 0) return output;
  const line = fitPlatt(scores, labels);
  const corrections = output.corrections.map((correction) => ({
    ...correction,
    // The constant is in the output that is corrected.
    ensemble: withScoreLine(correction.ensemble, { ...line, intercept: 0 }),
  }));
  return { ...output, ensemble: withScoreLine(output.ensemble, line), corrections };
}

/** Workflows of a template below which trees learn them by heart, and calls of all below which they learn nothing. Measured on the recorded traces. */
const MIN_TEMPLATE_WORKFLOWS = 50;
const MIN_REMAINING_ROWS = 500;

/** What is left of a workflow from a call on, and the templates of which trees know that better than the medians among their columns. */
function trainRemaining(
  table: TrainingTable,
  history: CallHistory,
  options: TrainingOptions,
): { readonly output: TrainedOutput; readonly templates: string[] } | undefined {
  const { rows } = table.matrix;
  if (rows < MIN_REMAINING_ROWS) return undefined;
  const params = paramsOf(options, { objective: 'l1' }, rows);
  const folded = foldedTable(table, history, options, workflowShares(table, history));
  const output = trainOutput(
    'log_remaining_ms',
    folded,
    templateParts(table, history, folded),
    table.logRemaining,
    params,
  );
  return { output, templates: remainingTemplates(table, history, output.unseen) };
}

function remainingTemplates(table: TrainingTable, { calls }: CallHistory, unseen: Float64Array): string[] {
  const column = FEATURE_NAMES.indexOf('seen_remaining');
  const width = FEATURE_NAMES.length;
  const sums = new Map<string, { workflows: Set<string>; model: number; median: number }>();
  table.calls.forEach((place, row) => {
    const { template, workflowId } = calls[place]!.stage;
    const sum = sums.get(template) ?? { workflows: new Set(), model: 0, median: 0 };
    sums.set(template, sum);
    sum.workflows.add(workflowId);
    const median = table.matrix.values[row * width + column]!;
    if (Number.isNaN(unseen[row]!) || Number.isNaN(median)) return;
    const truth = workScale(Math.expm1(table.logRemaining[row]!));
    sum.model += Math.abs(workScale(Math.max(0, Math.expm1(unseen[row]!))) - truth);
    sum.median += Math.abs(workScale(Math.expm1(median)) - truth);
  });
  const isBetter = ([, { workflows, model, median }]: [
    string,
    { workflows: Set<string>; model: number; median: number },
  ]) => workflows.size >= MIN_TEMPLATE_WORKFLOWS && model < median;
  return [...sums]
    .filter(isBetter)
    .map(([template]) => template)
    .sort();
}

/** No trees: one half, whatever comes. */
const EVEN_CHANCE: TreeEnsemble = {
  featureCount: FEATURE_NAMES.length,
  roots: new Int32Array(),
  feature: new Int32Array(),
  threshold: new Float64Array(),
  left: new Int32Array(),
  right: new Int32Array(),
  missingLeft: new Uint8Array(),
  leafValues: new Float64Array(),
  baseScore: 0,
  link: 'logistic',
};

function paramsOf(
  { seed, trees, leaves, learningRate }: TrainingOptions,
  objective: Pick<GbdtParams, 'objective' | 'alpha'>,
  rows: number,
): GbdtParams {
  const minLeafRows = Math.max(5, Math.min(DEFAULT_GBDT_PARAMS.minLeafRows, Math.floor(rows / 50)));
  return { ...DEFAULT_GBDT_PARAMS, ...objective, seed, trees, leaves, learningRate, minLeafRows, featureFraction: 0.8 };
}

/** Calls of one task, or one workflow, are in one fold. */
function foldOfCall({ task, stage }: CallExample, { seed, split }: Pick<TrainingOptions, 'seed' | 'split'>): number {
  return Math.floor(FOLDS * unitHash(`fold ${seed}\n${split === 'task' ? task : stage.workflowId}`));
}

function foldedTable(
  table: TrainingTable,
  history: CallHistory,
  { seed, split }: TrainingOptions,
  shares: Float64Array = new Float64Array(table.matrix.rows).fill(1),
): FoldedTable {
  const foldOf = Int32Array.from(table.calls, (place, row) => {
    if (split === 'time') return Math.floor((row / table.calls.length) * FOLDS);
    return foldOfCall(history.calls[place]!, { seed, split });
  });
  const all = Array.from({ length: FOLDS }, (_, fold) => fold);
  // In time only the last part may be tried: the others have their future in the training.
  const folds = split === 'time' || table.matrix.rows > ALL_FOLDS_ROWS ? [FOLDS - 1] : all;
  return new FoldedTable(
    table.matrix,
    { foldOf, folds },
    DEFAULT_GBDT_PARAMS.maxBins,
    rowWeights(table, history, shares),
  );
}

/** The offset at which so much of the unseen calls is covered as wanted (split conformal prediction); 50 % on top where none was tried. */
function conformalOffset(logTokens: Float64Array, unseen: Float64Array, targetOverflow: number): number {
  const excess = Array.from(logTokens, (value, row) => value - unseen[row]!).filter((value) => !Number.isNaN(value));
  if (excess.length === 0) return Math.log(1.5);
  excess.sort((a, b) => a - b);
  const rank = Math.ceil((excess.length + 1) * (1 - targetOverflow));
  return Math.round(excess[Math.min(excess.length, rank) - 1]! * 1000) / 1000;
}

/** How close to the last output a median must be to be taken for it. Wider ones were never better on the recorded traces. */
const TOLERANCES = [0, 0.05, 0.1, 0.2];

function bestTolerance(history: CallHistory, table: TrainingTable, unseen: Float64Array): number {
  const losses = TOLERANCES.map((tolerance) => {
    const medians = repeated(history, table, unseen, tolerance);
    return medians.reduce((sum, median, row) => {
      return Number.isNaN(median) ? sum : sum + Math.abs(median - table.logTokens[row]!);
    }, 0);
  });
  return TOLERANCES[losses.indexOf(Math.min(...losses))]!;
}

function repeated(history: CallHistory, table: TrainingTable, medians: Float64Array, tolerance: number): Float64Array {
  return medians.map((median, row) => {
    const { past } = history.calls[table.calls[row]!]!.context;
    return withRepeats(median, past?.ofAgent?.lastTokens, tolerance);
  });
}
