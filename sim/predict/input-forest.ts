import { type CallHistory, taughtTokens } from '../../src/predict/examples.js';
import { predictRow } from '../../src/predict/trees/evaluate.js';
import { trainGbdt } from '../../src/predict/trees/train.js';
import { DEFAULT_GBDT_PARAMS, type TreeEnsemble } from '../../src/predict/trees/types.js';

const TREES = 50;
const LEAVES = 64;
/** As many different rows as a bootstrap sample has on average. */
const SAMPLE = 0.632;

/**
 * A random forest that tells the mean output by the length of the prompt alone: the kind of predictor that schedulers from research take for the state of
 * the art (Magnus, 2024), and so a baseline.
 */
export class InputForest {
  private constructor(private readonly trees: readonly TreeEnsemble[]) {}

  static train({ calls }: CallHistory): InputForest {
    const known = calls.flatMap(({ stage, outcome }) => {
      const tokens = taughtTokens(outcome);
      return tokens === undefined ? [] : [{ promptTokens: stage.promptTokens, tokens }];
    });
    const values = Float64Array.from(known, ({ promptTokens }) => promptTokens);
    const target = Float64Array.from(known, ({ tokens }) => tokens);
    const matrix = { rows: known.length, columns: ['prompt'], values };
    const params = { ...DEFAULT_GBDT_PARAMS, objective: 'l2', trees: 1, leaves: LEAVES, learningRate: 1 } as const;
    return new InputForest(
      Array.from(
        { length: TREES },
        (_, seed) => trainGbdt(matrix, target, { ...params, seed, baggingFraction: SAMPLE }).ensemble,
      ),
    );
  }

  tokens(promptTokens: number): number {
    const row = Float64Array.of(promptTokens);
    return this.trees.reduce((sum, tree) => sum + predictRow(tree, row, 0), 0) / this.trees.length;
  }
}
