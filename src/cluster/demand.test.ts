import { describe, expect, it } from 'vitest';
import { makePrediction, makeStage } from '../../test/stage-fixture.js';
import { demandOf } from './demand.js';

const CLUSTER = { interactiveClasses: new Set(['interactive']), epoch: 7 };
const PLACE = { engineId: 'e', kvTokens: 500 };
const ORDER = { orderKey: 3, keyChange: { atMs: 9, orderKey: 4 } };

describe('what a stage asks of a node', () => {
  it('is told by the stage, its prediction, its place in the order and where it goes', () => {
    const stage = makeStage({ stageId: 's', promptTokens: 100, maxTokens: 50, sloClass: 'interactive' });
    expect(demandOf(stage, makePrediction(), ORDER, PLACE, CLUSTER)).toMatchObject({
      ...{ stageId: 's', engineId: 'e', kvTokens: 500, maxKvTokens: 150 },
      ...{ interactive: true, promptTokens: 100, ...ORDER, epoch: 7 },
    });
  });

  it('counts every answer, and what tokens take of the pool where that is not one each', () => {
    const stage = makeStage({ promptTokens: 100, maxTokens: 50, choices: 3 });
    const prediction = makePrediction();
    expect(demandOf(stage, prediction, ORDER, PLACE, CLUSTER)).toMatchObject({ sequences: 3, maxKvTokens: 250 });
    const share = { promptTokens: 160, perOutputToken: 1.5 };
    const uneven = { ...prediction, kvTokens: { ...prediction.kvTokens, share } };
    expect(demandOf(stage, uneven, ORDER, PLACE, CLUSTER)).toMatchObject({ share, maxKvTokens: 160 + 3 * 50 * 1.5 });
  });

  it('may be stopped and started again only where nothing of the answer reaches the client before its end', () => {
    const restartable = (stream: boolean) =>
      demandOf(makeStage({ features: { stream } }), makePrediction(), ORDER, PLACE, CLUSTER).restartable;
    expect([restartable(true), restartable(false)]).toEqual([false, true]);
  });
});
