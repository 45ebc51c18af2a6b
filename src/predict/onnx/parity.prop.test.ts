import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomEnsemble } from '../../../test/random-ensemble.js';
import { nextInt, SeededRng } from '../../model/rng.js';
import { probeOnnxRuntime } from '../runtime/service.js';
import { predictRow } from '../trees/evaluate.js';
import type { TreeEnsemble } from '../trees/types.js';
import type { TreeModel } from './model.js';
import { readModel } from './read.js';
import { writeModel } from './write.js';

const native = await probeOnnxRuntime();

const SHAPE = {
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  trees: fc.integer({ min: 0, max: 20 }),
  leaves: fc.integer({ min: 1, max: 24 }),
  features: fc.integer({ min: 1, max: 8 }),
  link: fc.constantFrom('identity' as const, 'logistic' as const),
};

/** Rows that hold what is hard: missing values, infinities, values on a threshold, and values that are no float32. */
function hardRows(rng: SeededRng, ensemble: TreeEnsemble, rows: number): Float64Array {
  return Float64Array.from({ length: rows * ensemble.featureCount }, () => {
    const threshold = ensemble.threshold[nextInt(rng, Math.max(1, ensemble.threshold.length))] ?? 0;
    switch (nextInt(rng, 6)) {
      case 0:
        return Number.NaN;
      case 1:
        return threshold;
      case 2:
        return threshold * (1 + (rng.next() - 0.5) * 1e-7);
      case 3:
        return rng.next() < 0.5 ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
      default:
        return rng.next() * 4 - 2;
    }
  });
}

describe('an ONNX file', () => {
  it('holds the trees that were written', () => {
    fc.assert(
      fc.property(fc.record(SHAPE), (shape) => {
        const rng = new SeededRng(shape.seed);
        const ensemble = randomEnsemble(rng, shape);
        const read = readModel(writeModel(modelOf(ensemble))).outputs[0]!.ensemble;
        const values = hardRows(rng, ensemble, 20);
        for (let row = 0; row < 20; row++) {
          const offset = row * shape.features;
          // Trees may come back in another layout, so that the sums of equal leaves may differ in the last digit.
          expect(predictRow(read, values, offset)).toBeCloseTo(predictRow(ensemble, values, offset), 12);
        }
      }),
      { numRuns: 100 },
    );
  });

  it.skipIf(!native.available)(
    'predicts the same in ONNX Runtime (needs the native module onnxruntime-node)',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.record(SHAPE), async (shape) => {
          const rng = new SeededRng(shape.seed);
          const ensemble = randomEnsemble(rng, shape);
          const rows = 30;
          const values = hardRows(rng, ensemble, rows);
          const predicted = await runOnnx(writeModel(modelOf(ensemble)), values, rows);
          for (let row = 0; row < rows; row++) {
            const expected = predictRow(ensemble, values, row * shape.features);
            expect(Math.abs(predicted[row]! - expected)).toBeLessThanOrEqual(1e-5 * Math.max(1, Math.abs(expected)));
          }
        }),
        { numRuns: 60 },
      );
    },
  );
});

function modelOf(ensemble: TreeEnsemble): TreeModel {
  const features = Array.from({ length: ensemble.featureCount }, (_, index) => `feature ${index}`);
  return { features, featureCount: features.length, outputs: [{ name: 'y', ensemble }], metadata: new Map() };
}

async function runOnnx(file: Uint8Array, values: Float64Array, rows: number): Promise<ArrayLike<number>> {
  if (!native.available) throw new Error(native.reason);
  const session = await native.runtime.open(file, ['y']);
  const output = (await session.run(Float32Array.from(values), rows)).get('y')!;
  await session.release();
  return output;
}
