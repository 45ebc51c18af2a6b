import { describe, expect, it } from 'vitest';
import { DEFAULT_TRAINING } from '../../src/predict/training/train-model.js';
import { predictionTrace } from '../../test/prediction-trace.js';
import { goalsOf, mixed } from './goals.js';
import { judgeKeptBack } from './judge-kept-back.js';
import { traceCalls } from './trace-calls.js';

const QUICK = { ...DEFAULT_TRAINING, trees: 10, leaves: 7, learningRate: 0.2 };
const judge = (template: string, seed: number) =>
  judgeKeptBack(traceCalls(predictionTrace(120, template, seed)), QUICK, 0.3);

describe('goalsOf', () => {
  const judged = [judge('chatdev', 1), judge('other', 2)];

  it('takes the mean over the sources with signal, and leaves others out of it', () => {
    const { errors, goals } = goalsOf(judged)!;
    expect(errors.map(({ source }) => source)).toEqual(['chatdev']);
    const [{ mae, roleMedian } = { mae: 0, roleMedian: 0 }] = errors;
    expect(goals[0]).toMatchObject({ measured: mae / roleMedian - 1, goal: -0.35, better: 'below' });
    expect(goals[0]!.isMet).toBe(mae / roleMedian - 1 <= -0.35);
  });

  it('has no figure, and no goal met, where nothing was judged', () => {
    const auc = goalsOf(judged)!.goals.find(({ name }) => name.includes('marble-minecraft'));
    expect(auc).toMatchObject({ measured: undefined, isMet: false });
    expect(goalsOf([])).toBeUndefined();
  });

  it('mixes sources evenly, each in its own order', () => {
    const { calls } = mixed(judged);
    expect(calls).toHaveLength(judged[0]!.calls.length + judged[1]!.calls.length);
    const firstHalf = calls.slice(0, calls.length / 2).filter(({ call }) => call.stage.template === 'chatdev');
    expect(firstHalf.length / judged[0]!.calls.length).toBeCloseTo(0.5, 1);
    expect(calls.filter(({ call }) => call.stage.template === 'chatdev')).toEqual(judged[0]!.calls);
  });
});
