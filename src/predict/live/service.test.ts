import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { completed, FIRST_CONTEXT, makeStage } from '../../../test/stage-fixture.js';
import { PooledBound } from '../../node/pooled-bound.js';
import { METADATA_KEY, type TreeModel } from '../onnx/model.js';
import { readModel } from '../onnx/read.js';
import { writeModel } from '../onnx/write.js';
import { OnlinePredictor } from '../predictor.js';
import { keepLearned, type LivePrediction, prepareLivePrediction } from './service.js';

const SHIPPED = join(import.meta.dirname, '../../../models/default');
const shipped = await readFile(join(SHIPPED, 'model.onnx'));

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maestro-live-'));
});
afterAll(() => rm(folder, { recursive: true }));

const warnings: string[] = [];
beforeEach(() => {
  warnings.length = 0;
});
const log = {
  info: () => undefined,
  warn: (facts: object, message: string) => warnings.push(`${message}: ${JSON.stringify(facts)}`),
};

async function prepare(file: Uint8Array, nowMs?: () => number): Promise<LivePrediction> {
  const modelPath = join(folder, 'model.onnx');
  await writeFile(modelPath, file);
  return await prepareLivePrediction({ modelPath, stateFile: undefined, log, nowMs });
}

function changed(change: (model: TreeModel) => Partial<TreeModel>): Uint8Array {
  const model = readModel(shipped);
  return writeModel({ ...model, ...change(model) });
}

/** Which estimator speaks for a stage that is like no other. */
function sourceOf({ model }: LivePrediction): string {
  promptTokens += 1;
  return new OnlinePredictor({ model }).predict(makeStage({ promptTokens }), FIRST_CONTEXT).source;
}

let promptTokens = 100;

/** Every look at the clock finds so much time gone. */
function tickingClock(step: { ms: number }): () => number {
  let timeMs = 0;
  return () => {
    timeMs += step.ms;
    return timeMs;
  };
}

describe('prepareLivePrediction', () => {
  it('serves with the model that ships', async () => {
    const live = await prepareLivePrediction({ modelPath: SHIPPED, stateFile: undefined, log });
    expect(live.describe()).toMatch(/^model [0-9a-f]{12}$/);
    expect(sourceOf(live)).toBe('model');
    expect(warnings).toEqual([]);
  });

  it.each([
    ['no model', Buffer.from('no model'), /model\.onnx/],
    ['a model that was cut short', shipped.subarray(0, shipped.length / 2), /model\.onnx/],
    [
      'a model for other features',
      changed(({ metadata }) => ({ metadata: new Map(metadata).set(METADATA_KEY.schemaHash, 'older') })),
      /made for feature schema older/,
    ],
    [
      'a model that predicts what is no number',
      changed(({ outputs }) => ({
        outputs: outputs.map((output) => ({
          ...output,
          ensemble: { ...output.ensemble, leafValues: output.ensemble.leafValues.map(() => 3e38) },
        })),
      })),
      /not finite/,
    ],
    [
      'a model whose rules are wrong',
      changed(({ metadata }) => ({
        metadata: new Map(metadata).set(METADATA_KEY.calibration, '{"boundLogOffset":9}'),
      })),
      /boundLogOffset must be/,
    ],
  ])('refuses %s with the reason, and what is learned online predicts', async (_, file, reason) => {
    const live = await prepare(file);
    expect(live.describe()).toMatch(/^refused: /);
    expect(live.describe()).toMatch(reason);
    expect(warnings.join()).toMatch(reason);
    expect(sourceOf(live)).toBe('prior');
  });

  it('refuses a model that is slow', async () => {
    const live = await prepare(shipped, tickingClock({ ms: 3 }));
    expect(live.describe()).toMatch(/^refused: .*3\.00 ms a row, more than the 2 ms allowed/);
    expect(sourceOf(live)).toBe('prior');
  });

  it('takes a model that has become slow out of service', async () => {
    const step = { ms: 0.01 };
    const live = await prepare(shipped, tickingClock(step));
    expect(sourceOf(live)).toBe('model');
    step.ms = 3;
    for (let call = 0; call < 5; call++) sourceOf(live);
    expect(live.describe()).toMatch(/^out_of_service: .*5 predictions in a row took longer than 2 ms/);
    expect(warnings.join()).toContain('out of service');
    expect(sourceOf(live)).toBe('prior');
  });

  it('begins anew where the saved state is broken, and says so', async () => {
    const stateFile = join(folder, 'state.json');
    await writeFile(stateFile, '{"lengths": 1}');
    const live = await prepareLivePrediction({ modelPath: SHIPPED, stateFile, log });
    expect(warnings.join()).toContain('the saved state of the predictor is not used');
    // Of the shipped model, as where nothing was saved.
    expect(live.state).toEqual((await prepareLivePrediction({ modelPath: SHIPPED, stateFile: undefined, log })).state);
    expect(sourceOf(live)).toBe('model');
    // The next save would be the end of it.
    expect(await readFile(`${stateFile}.refused`, 'utf8')).toBe('{"lengths": 1}');
  });

  it('leaves a folder alone that stands where the state should, and says at the start that nothing can be saved', async () => {
    const stateFile = await mkdtemp(join(folder, 'a-folder-'));
    await writeFile(join(stateFile, 'owner.json'), '{}');
    await prepareLivePrediction({ modelPath: undefined, stateFile, log });
    const clock = { nowMs: () => 0, after: () => ({ cancel: () => undefined }) };
    keepLearned({ state: () => new OnlinePredictor().state() }, stateFile, clock, log);
    expect(warnings.at(-1)).toContain('what has been learned cannot be saved');
    expect(await readFile(join(stateFile, 'owner.json'), 'utf8')).toBe('{}');
  });

  it('takes up what predictor and nodes had learned before a restart', async () => {
    const stateFile = join(folder, 'kept', 'state.json');
    const predictor = new OnlinePredictor();
    for (let call = 0; call < 30; call++) predictor.observe(makeStage(), FIRST_CONTEXT, completed(70));
    const bound = new PooledBound();
    bound.observe({ kind: 'coder', mean: 100, q50: 90, q95: 200 }, 150);
    bound.observeNode(true);
    const learned = { state: () => ({ ...predictor.state(), nodes: { n1: bound.state() } }) };
    const clock = { nowMs: () => 0, after: () => ({ cancel: () => undefined }) };
    await keepLearned(learned, stateFile, clock, log).close();
    const { state } = await prepareLivePrediction({ modelPath: undefined, stateFile, log });
    expect(warnings).toEqual([]);
    expect(state?.nodes?.n1).toEqual(bound.state());
    const restarted = new OnlinePredictor();
    restarted.restore(state!);
    expect(restarted.predict(makeStage(), FIRST_CONTEXT).outputTokens.q50).toBe(70);
  });

  it('reads all that a predictor with a model writes', async () => {
    const stateFile = join(folder, 'whole', 'state.json');
    const { model } = await prepareLivePrediction({ modelPath: SHIPPED, stateFile: undefined, log });
    const predictor = new OnlinePredictor({ model });
    for (let call = 0; call < 30; call++) {
      const stage = makeStage({ stageId: `s${call}`, workflowId: `w${call}` });
      predictor.predict(stage, FIRST_CONTEXT);
      predictor.observe(stage, FIRST_CONTEXT, completed(50 + 3 * call));
      predictor.workflowEnded(stage.workflowId);
    }
    const written = predictor.state();
    const clock = { nowMs: () => 0, after: () => ({ cancel: () => undefined }) };
    await keepLearned({ state: () => written }, stateFile, clock, log).close();
    const { state } = await prepareLivePrediction({ modelPath: undefined, stateFile, log });
    expect(warnings).toEqual([]);
    expect(state).toEqual(JSON.parse(JSON.stringify(written)));
  });
});
