import { nextInt, type Rng } from '../src/model/rng.js';
import type { Link, TreeEnsemble } from '../src/predict/trees/types.js';

export interface RandomEnsembleShape {
  readonly trees: number;
  readonly leaves: number;
  readonly features: number;
  readonly link?: Link;
}

/** An ensemble with made-up splits: for tests of evaluators and for benchmarks, where what it predicts does not matter. */
export function randomEnsemble(rng: Rng, shape: RandomEnsembleShape): TreeEnsemble {
  const splits = shape.leaves - 1;
  const nodes = shape.trees * splits;
  const ensemble: TreeEnsemble = {
    featureCount: shape.features,
    roots: new Int32Array(shape.trees),
    feature: Int32Array.from({ length: nodes }, () => nextInt(rng, shape.features)),
    threshold: Float64Array.from({ length: nodes }, () => Math.fround(rng.next() * 4 - 2)),
    left: new Int32Array(nodes),
    right: new Int32Array(nodes),
    missingLeft: Uint8Array.from({ length: nodes }, () => nextInt(rng, 2)),
    leafValues: Float64Array.from({ length: shape.trees * shape.leaves }, () => Math.fround(rng.next() - 0.5)),
    baseScore: Math.fround(rng.next()),
    link: shape.link ?? 'identity',
  };
  for (let tree = 0; tree < shape.trees; tree++) {
    const firstNode = tree * splits;
    const firstLeaf = tree * shape.leaves;
    ensemble.roots[tree] = splits === 0 ? ~firstLeaf : firstNode;
    // Each split replaces a leaf that hangs on an earlier node, drawn at random.
    const open: { side: Int32Array; at: number }[] = [];
    for (let split = 0; split < splits; split++) {
      const node = firstNode + split;
      if (split > 0) {
        const [slot] = open.splice(nextInt(rng, open.length), 1);
        slot!.side[slot!.at] = node;
      }
      open.push({ side: ensemble.left, at: node }, { side: ensemble.right, at: node });
    }
    open.forEach(({ side, at }, leaf) => {
      side[at] = ~(firstLeaf + leaf);
    });
  }
  return ensemble;
}
