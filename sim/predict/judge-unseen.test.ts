import { describe, expect, it } from 'vitest';
import { DEFAULT_TRAINING } from '../../src/predict/training/train-model.js';
import { predictionTrace } from '../../test/prediction-trace.js';
import { judgeUnseen } from './judge-unseen.js';
import { predictionReport } from './report.js';
import { traceCalls } from './trace-calls.js';

describe('judgeUnseen', () => {
  it('judges a model on a family that it has not seen, beside what is learned online', () => {
    const history = (template: string, seed: number) => traceCalls(predictionTrace(120, template, seed));
    const options = { ...DEFAULT_TRAINING, trees: 20, leaves: 7, learningRate: 0.2 };
    const { byModel, online } = judgeUnseen([history('essay', 1), history('novel', 2)], history('poem', 3), options);
    expect(byModel.calls).toHaveLength(online.calls.length);
    expect(online.calls.some(({ prediction }) => prediction.source === 'model')).toBe(false);
    const [model, lookup] = [byModel, online].map((judged) => predictionReport(judged)!);
    // The families of this trace are made alike, so that what one teaches helps with another.
    expect(model!.length.mae).toBeLessThan(lookup!.length.mae);
    expect(model!.sources.model).toBeGreaterThan(0);
  });
});
