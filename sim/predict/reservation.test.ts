import { describe, expect, it } from 'vitest';
import { OnlinePredictor } from '../../src/predict/predictor.js';
import { staticMedians } from '../../src/predict/training/medians.js';
import { predictionTrace } from '../../test/prediction-trace.js';
import { judgeCalls } from './judge-calls.js';
import { reservations } from './reservation.js';
import { traceCalls } from './trace-calls.js';

describe('reservations', () => {
  const history = traceCalls(predictionTrace(60));
  const { calls } = judgeCalls(history, new OnlinePredictor({ blockTokens: 1 }), staticMedians(history));
  const known = calls.flatMap((call) => {
    const { outputTokens, boundTokens, prediction } = call;
    const isWithin = Math.max(boundTokens, prediction.outputTokens.q95) <= 4096;
    return outputTokens !== undefined && isWithin ? [{ ...call, outputTokens }] : [];
  });

  it('are the same with answers cut at 4096 where none is longer, nor expected to be', () => {
    const { pooled, pooledCut } = reservations(known);
    expect(pooled[0]!.windows).toBeGreaterThan(5);
    expect(pooledCut).toEqual(pooled);
  });

  it('count a longer answer as it was, and beside that as a server with that limit cuts it', () => {
    const withLongest = (outputTokens: number) =>
      reservations(known.map((call, place) => (place === 40 ? { ...call, outputTokens } : call)));
    const asItWas = withLongest(12_000);
    expect(asItWas.pooledCut).toEqual(withLongest(4096).pooled);
    expect(asItWas.pooledCut[0]!.reservedShare).toBeLessThan(asItWas.pooled[0]!.reservedShare);
  });

  it('are shares of 4096 a call, of the truth, of both with prompts, and of what foresight saves', () => {
    // Two windows of sixteen calls; the calls of the second write more than is held for them.
    const made = known.slice(0, 32).map((call, place) => {
      const { stage } = call.call;
      const sized = { ...call.call, stage: { ...stage, promptTokens: 1000 } };
      return { ...call, call: sized, boundTokens: 400, outputTokens: place < 16 ? 200 : 600 };
    });
    const { perCall, summed } = reservations(made);
    const expected = {
      reservedShare: 400 / 4096,
      reservedOverTrue: 1,
      overflow: 0.5,
      withPromptShare: 1400 / 5096,
      savedOfForesight: 1,
    };
    expect(summed[0]).toMatchObject({ concurrentCalls: 16, windows: 2, ...expected });
    expect(perCall).toMatchObject(expected);
    const less = reservations(made.map((call) => ({ ...call, boundTokens: 300, outputTokens: 200 })));
    expect(less.summed[0]).toMatchObject({ reservedOverTrue: 1.5, overflow: 0, savedOfForesight: 3796 / 3896 });
  });
});
