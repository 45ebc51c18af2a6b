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
});
