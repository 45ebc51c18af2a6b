import type { CallHistory } from '../examples.js';
import { correctionName } from '../onnx/model.js';
import type { TrainingTable } from '../training-table.js';
import type { ColumnImportance, GbdtParams, TreeEnsemble } from '../trees/types.js';
import type { CrossFitted, FoldedTable, TablePart } from './folds.js';

/** Calls of a template below which trees of its own learn them by heart. */
const MIN_TEMPLATE_ROWS = 400;

/** Most important columns that are told of a correction: there are dozens of them. */
const COLUMNS_TOLD = 3;

/** Trees that are added to an output for the calls of one template. */
export interface TrainedCorrection {
  readonly name: string;
  readonly ensemble: TreeEnsemble;
  readonly trees: number;
  readonly importance: readonly ColumnImportance[];
}

/** The part of the table of each template that has enough rows, in the order of the names. */
export function templateParts(
  table: TrainingTable,
  { calls }: CallHistory,
  folded: FoldedTable,
): ReadonlyMap<string, TablePart> {
  const rows = new Map<string, number[]>();
  table.calls.forEach((place, row) => {
    const { template } = calls[place]!.stage;
    const own = rows.get(template);
    if (own) own.push(row);
    else rows.set(template, [row]);
  });
  const known = [...rows].filter(([, own]) => own.length >= MIN_TEMPLATE_ROWS).sort(([a], [b]) => (a < b ? -1 : 1));
  // Alone on the table a template has had all trees to itself.
  return new Map(rows.size < 2 ? [] : known.map(([template, own]) => [template, folded.part(Int32Array.from(own))]));
}

/** Corrections of an output wherever they serve calls that were kept back; what was said of those is corrected too. */
export function templateCorrections(
  name: string,
  folded: FoldedTable,
  parts: ReadonlyMap<string, TablePart>,
  target: Float64Array,
  fitted: CrossFitted,
  params: GbdtParams,
): TrainedCorrection[] {
  return [...parts].flatMap(([template, part]): TrainedCorrection[] => {
    const corrected = folded.correct(part, target, fitted, params);
    if (!corrected) return [];
    for (const [row, score] of corrected.unseen) fitted.unseen[row] = score;
    const { ensemble, bestTrees: trees, importance } = corrected.trained;
    return [
      {
        name: correctionName(name, template),
        ensemble: { ...ensemble, link: 'identity' },
        trees,
        importance: importance.slice(0, COLUMNS_TOLD),
      },
    ];
  });
}
