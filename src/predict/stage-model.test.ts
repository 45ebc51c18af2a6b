import { describe, expect, it } from 'vitest';
import { traceCalls } from '../../sim/predict/trace-calls.js';
import { predictionTrace } from '../../test/prediction-trace.js';
import { completed, FIRST_CONTEXT, makeStage } from '../../test/stage-fixture.js';
import type { ContestState } from './contest.js';
import { FEATURE_NAMES } from './features.js';
import { OnlinePredictor } from './predictor.js';
import { forestModel, type StageModel } from './stage-model.js';
import { DEFAULT_TRAINING, trainModel } from './training/train-model.js';

const trained = trainModel(traceCalls(predictionTrace(150)), { ...DEFAULT_TRAINING, trees: 20, leaves: 7 });

function fixed(...outputs: number[]): StageModel {
  const rules = {
    boundLogOffset: 0,
    repeatLogTolerance: 0.1,
    toolIntent: true,
    lookupTemplates: [],
    lengthErrors: [],
    remainingTemplates: [],
  };
  return { rules, evaluate: () => Float64Array.from(outputs) };
}

describe('a predictor with a model', () => {
  it('asks the model first, sorts its quantiles, and keeps to the limit of the request', () => {
    const model = fixed(0.8, Math.log(400), Math.log(300), Math.log(200), Math.log(350));
    const predictor = new OnlinePredictor({ model });
    const asked = predictor.predict(makeStage({ features: { toolsOffered: 1 } }), FIRST_CONTEXT);
    expect(asked).toMatchObject({ source: 'model', toolProbability: 0.8 });
    expect(asked.outputTokens).toEqual({ q30: 299, q50: 299, q95: 299, mean: 349 });
    expect(predictor.predict(makeStage({ maxTokens: 50 }), FIRST_CONTEXT).outputTokens.q95).toBe(50);
    // The request decides where it does.
    expect(predictor.predict(makeStage(), FIRST_CONTEXT).toolProbability).toBe(0);
  });

  it('takes a median that is close to the last output of the agent for that output', () => {
    const trail = { calls: 1, lastTokens: 310, beforeLastTokens: undefined, meanTokens: 310, maxTokens: 310 };
    const past = { ofAgent: trail } as never;
    const at = (tokens: number) =>
      new OnlinePredictor({ model: fixed(0, 0, Math.log1p(tokens), 9, 0) }).predict(makeStage(), {
        ...FIRST_CONTEXT,
        past,
      });
    expect(at(300).outputTokens.q50).toBe(310);
    expect(at(200).outputTokens.q50).toBe(200);
  });

  it('goes on without the model when it has no answer', () => {
    let serves = true;
    const model: StageModel = { ...fixed(), evaluate: () => (serves ? Float64Array.of(0, 5, 5, 6, 5) : undefined) };
    const predictor = new OnlinePredictor({ model });
    for (let call = 0; call < 30; call++) {
      predictor.predict(makeStage({ stageId: `s${call}` }), FIRST_CONTEXT);
      predictor.observe(makeStage({ stageId: `s${call}` }), FIRST_CONTEXT, completed(320));
    }
    serves = false;
    expect(predictor.predict(makeStage(), FIRST_CONTEXT)).toMatchObject({
      source: 'agent-layer',
      outputTokens: { q50: 320 },
    });
  });

  it('holds the share of calls that outgrow their bound at the target, however wrong the model is', () => {
    const predictor = new OnlinePredictor({ blockTokens: 1, model: fixed(0, 3, 3, 3.5, 3) });
    let overflows = 0;
    for (let call = 0; call < 3000; call++) {
      const stage = makeStage({ stageId: `s${call}` });
      const { kvTokens } = predictor.predict(stage, FIRST_CONTEXT);
      const tokens = 100 + ((call * 7919) % 400);
      if (call >= 500) overflows += Number(tokens > kvTokens.bound - stage.promptTokens);
      predictor.observe(stage, FIRST_CONTEXT, completed(tokens));
    }
    expect(overflows / 2500).toBeGreaterThan(0.04);
    expect(overflows / 2500).toBeLessThan(0.06);
  });

  it('takes the middle of median and mean where that errs less than either the median or the lookup', () => {
    const predictor = new OnlinePredictor({ model: fixed(0, 0, Math.log1p(99), 9, Math.log1p(899)) });
    let said = predictor.predict(makeStage(), FIRST_CONTEXT);
    expect(said.outputTokens.q50).toBe(99);
    for (let call = 0; call < 300; call++) {
      const stage = makeStage({ stageId: `s${call}` });
      said = predictor.predict(stage, FIRST_CONTEXT);
      // Long runs of one length, then of another: looking up is always late.
      predictor.observe(stage, FIRST_CONTEXT, completed(call % 150 < 75 ? 250 : 350));
    }
    expect(said).toMatchObject({ source: 'model', outputTokens: { q30: 1, mean: 899 } });
    expect(said.outputTokens.q50).toBeGreaterThan(250);
    expect(said.outputTokens.q50).toBeLessThan(350);
  });

  it('shifts what the model says as the last calls of the template came out, where that has lasted', () => {
    const tenth = Math.log1p(299);
    const predictor = new OnlinePredictor({ model: fixed(0, tenth - 1, tenth, tenth + 1, tenth) });
    // Like tasks follow each other: a hundred long answers, a hundred short ones. No median of a window keeps up.
    const teach = (from: number, to: number) => {
      for (let call = from; call < to; call++) {
        const stage = makeStage({ stageId: `s${call}`, role: `role-${call % 40}` });
        predictor.predict(stage, FIRST_CONTEXT);
        predictor.observe(stage, FIRST_CONTEXT, completed(Math.floor(call / 100) % 2 === 0 ? 380 : 240));
      }
    };
    const said = () => predictor.predict(makeStage({ role: 'another' }), FIRST_CONTEXT).outputTokens;
    expect(said().q50).toBe(299);
    teach(0, 1100);
    expect(said().q50).toBeGreaterThan(340);
    teach(1100, 1200);
    expect(said().q50).toBeLessThan(270);
    const elsewhere = predictor.predict(makeStage({ template: 'coding', role: 'another' }), FIRST_CONTEXT);
    expect(elsewhere.outputTokens.q50).toBe(299);
  });

  it('lets the lookup speak where the model errs more than that, and keeps its bounds calibrated', () => {
    const predictor = new OnlinePredictor({ blockTokens: 1, model: fixed(0, 3, 3, 3.5, 3) });
    for (let call = 0; call < 40; call++) {
      const stage = makeStage({ stageId: `s${call}` });
      predictor.predict(stage, FIRST_CONTEXT);
      predictor.observe(stage, FIRST_CONTEXT, completed(320));
    }
    const { source, outputTokens, kvTokens } = predictor.predict(makeStage(), FIRST_CONTEXT);
    expect(source).toBe('agent-layer');
    expect(outputTokens.q50).toBe(320);
    expect(outputTokens.q95).toBeGreaterThanOrEqual(320);
    expect(kvTokens.bound - makeStage().promptTokens).toBeGreaterThan(100);
  });

  it('begins with what its training found better, as soon as that knows such calls', () => {
    const { template } = makeStage();
    const begun = (lengthErrors: ContestState, lookupTemplates: string[] = []) => {
      const model = fixed(0, 5, 5, 6, 5);
      const rules = { ...model.rules, lengthErrors, lookupTemplates };
      const predictor = new OnlinePredictor({ model: { ...model, rules } });
      const sources = Array.from({ length: 9 }, (_, call) => {
        const stage = makeStage({ stageId: `s${call}` });
        const { source } = predictor.predict(stage, FIRST_CONTEXT);
        predictor.observe(stage, FIRST_CONTEXT, completed(160));
        return source;
      });
      return [sources[0], sources[8]];
    };
    expect(begun([])).toEqual(['model', 'model']);
    expect(begun([[`t\n${template}`, 500, [100, 100, 10, 50]]])).toEqual(['model', 'agent-layer']);
    // Of few calls a small lead says little: the middle of both, until one has clearly erred less.
    expect(begun([], [template])).toEqual(['model', 'blend']);
    expect(begun([[`t\n${template}`, 500, [100, 100, 49.5, 50]]], [template])).toEqual(['model', 'blend']);
    expect(begun([[`t\n${template}`, 500, [100, 100, 10, 50]]], [template])).toEqual(['model', 'agent-layer']);
  });

  it('goes on after a restart where it stood', () => {
    const config = { model: forestModel(trained.model) };
    const before = new OnlinePredictor(config);
    const { calls, events } = traceCalls(predictionTrace(60, 'essay', 5));
    for (const event of events) {
      if (event.kind === 'workflowEnded') before.workflowEnded(event.workflowId);
      else if (event.kind === 'begin') before.predict(calls[event.call]!.stage, calls[event.call]!.context);
      else before.observe(calls[event.call]!.stage, calls[event.call]!.context, calls[event.call]!.outcome);
    }
    const after = new OnlinePredictor(config);
    after.restore(JSON.parse(JSON.stringify(before.state())));
    for (const { stage, context } of calls.slice(0, 20)) {
      const [was, is] = [before.predict(stage, context), after.predict(stage, context)];
      expect(is.source).toBe(was.source);
      expect(is.outputTokens.q50 / was.outputTokens.q50).toBeCloseTo(1, 1);
      expect(is.kvTokens.bound / was.kvTokens.bound).toBeCloseTo(1, 1);
      expect(is.remainingMs).toBeCloseTo(was.remainingMs, -2);
      expect(is.toolProbability).toBe(was.toolProbability);
    }
  });

  it('refuses a model that was made for other features', () => {
    const features = [...FEATURE_NAMES].reverse();
    expect(() => forestModel({ ...trained.model, features })).toThrow('feature 0 of it is');
    const metadata = new Map(trained.model.metadata).set('maestro.schema_hash', 'other');
    expect(() => forestModel({ ...trained.model, metadata })).toThrow('made for feature schema other');
  });

  describe('asked what is left of a workflow', () => {
    const SAID_MS = 9999;
    const model = (remainingTemplates: string[]): StageModel => ({
      rules: { ...fixed().rules, remainingTemplates },
      evaluate: () => Float64Array.of(0, 5, 5, 6, 5, Math.log1p(SAID_MS)),
    });
    /** Workflows of two calls each, of which the second takes so long alone; a long prompt where that is more than 1000. */
    const play = (predictor: OnlinePredictor, workflows: number, tokensOf: (workflow: number) => number): void => {
      for (let workflow = 0; workflow < workflows; workflow++) {
        [100, tokensOf(workflow)].forEach((tokens, index) => {
          const stage = makeStage({
            workflowId: `w${workflow}`,
            stageId: `w${workflow}-${index}`,
            arrivalMs: index * 1e6,
            promptTokens: tokensOf(workflow) > 1000 ? 10_000 : 100,
          });
          const context = { ...FIRST_CONTEXT, stageIndex: index, invocationIndex: index };
          predictor.predict(stage, context);
          predictor.observe(stage, context, { ...completed(tokens), durationMs: 1000 });
        });
        predictor.workflowEnded(`w${workflow}`);
      }
    };
    const toEndMs = (predictor: OnlinePredictor, promptTokens = 100) => {
      const { serviceMs, remainingMs } = predictor.predict(makeStage({ promptTokens }), FIRST_CONTEXT);
      return serviceMs + remainingMs;
    };
    const serviceTimeMs = (_model: string, _prompt: number, _cached: number, tokens: number) => tokens;

    it('begins where its training found it better, and leaves other templates to the medians', () => {
      const { remainingMs } = new OnlinePredictor({ model: model(['other']) }).predict(makeStage(), FIRST_CONTEXT);
      expect(remainingMs).toBe(0);
      expect(toEndMs(new OnlinePredictor({ model: model([makeStage().template]) }))).toBeCloseTo(SAID_MS, 0);
    });

    it('gives way to the medians once those have erred less, also after a restart', () => {
      const config = { model: model([makeStage().template]), serviceTimeMs };
      const predictor = new OnlinePredictor(config);
      // What the model got wrong goes on for a while.
      play(predictor, 300, () => 50);
      expect(toEndMs(predictor)).toBeCloseTo(150, 0);
      const restarted = new OnlinePredictor(config);
      restarted.restore(JSON.parse(JSON.stringify(predictor.state())));
      expect(toEndMs(restarted)).toBeCloseTo(150, 0);
    });

    it('is shifted as the workflows before came out', () => {
      const predictor = new OnlinePredictor({ model: model([makeStage().template]), serviceTimeMs });
      const batches = [SAID_MS * 1.5, SAID_MS / 1.5];
      for (let batch = 0; batch < 11; batch++) play(predictor, 40, () => batches[batch % 2]!);
      const afterLong = toEndMs(predictor, 10_000);
      play(predictor, 40, () => batches[1]!);
      expect(afterLong).toBeGreaterThan(1.3 * toEndMs(predictor, 10_000));
    });

    it('takes over from the medians where it errs less', () => {
      const prompt = FEATURE_NAMES.indexOf('prompt');
      const index = FEATURE_NAMES.indexOf('role_index');
      const left = (row: Float64Array) => (row[index]! > 0 ? 0 : 100) + (row[prompt]! > 8 ? SAID_MS : 10);
      const knowing: StageModel = {
        ...model([]),
        evaluate: (row) => Float64Array.of(0, 2, 2, 3, 2, Math.log1p(left(row))),
      };
      const predictor = new OnlinePredictor({ model: knowing, serviceTimeMs });
      play(predictor, 80, (workflow) => (workflow % 2 === 0 ? SAID_MS : 10));
      expect(toEndMs(predictor, 10_000)).toBeCloseTo(100 + SAID_MS, 0);
      expect(toEndMs(predictor, 100)).toBeCloseTo(110, 0);
    });

    it('is trained where workflows have ended', () => {
      expect(trained.model.outputs.map(({ name }) => name)).toContain('log_remaining_ms');
    });
  });
});
