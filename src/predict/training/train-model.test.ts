import { describe, expect, it } from 'vitest';
import { traceCalls } from '../../../sim/predict/trace-calls.js';
import { predictionTrace } from '../../../test/prediction-trace.js';
import { LENGTH_CONTESTANTS } from '../contest.js';
import { filterHistory, joinHistories } from '../examples.js';
import { writeModel } from '../onnx/write.js';
import { OnlinePredictor } from '../predictor.js';
import { servingRules } from '../serving-rules.js';
import { forestModel } from '../stage-model.js';
import { predictRow } from '../trees/evaluate.js';
import { LOOKUPS, staticMedians } from './medians.js';
import { keptBack } from './split.js';
import { DEFAULT_TRAINING, type TrainingOptions, trainModel } from './train-model.js';

const QUICK: TrainingOptions = { ...DEFAULT_TRAINING, trees: 30, leaves: 7, learningRate: 0.2 };
/** Enough where it does not matter how good the model is. */
const ROUGH: TrainingOptions = { ...QUICK, trees: 8 };
const history = traceCalls(predictionTrace(300));
const trained = trainModel(history, QUICK);

describe('trainModel', () => {
  it('gives equal files for equal traces and seeds, and others for others', () => {
    const [first, again, other] = [1, 1, 2].map((seed) => writeModel(trainModel(history, { ...ROUGH, seed }).model));
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
  });

  it('beats the median of the role on workflows that it has not seen, and covers them as it should', () => {
    const unseen = traceCalls(predictionTrace(200, 'essay', 99));
    const predictor = new OnlinePredictor({ blockTokens: 1, model: forestModel(trained.model) });
    const medians = staticMedians(history);
    let model = 0;
    let median = 0;
    let overflows = 0;
    let modelled = 0;
    for (const event of unseen.events) {
      if (event.kind === 'workflowEnded') continue;
      const call = unseen.calls[event.call]!;
      if (event.kind === 'end') predictor.observe(call.stage, call.context, call.outcome);
      else {
        const { outputTokens, kvTokens, source } = predictor.predict(call.stage, call.context);
        const truth = call.outcome.outputTokens!;
        if (source === 'model' || source === 'blend') modelled += 1;
        model += Math.abs(outputTokens.q50 - truth);
        median += Math.abs(LOOKUPS.roleMedian(medians, call) - truth);
        overflows += Number(truth > kvTokens.bound - call.stage.promptTokens);
      }
    }
    expect(modelled / unseen.calls.length).toBeGreaterThan(0.5);
    expect(model / median).toBeLessThan(0.6);
    expect(overflows / unseen.calls.length).toBeLessThan(0.08);
  });

  it('makes of each output the quantile of its name', () => {
    const unseen = traceCalls(predictionTrace(200, 'essay', 99));
    const stage = forestModel(trained.model);
    const predictor = new OnlinePredictor({ model: { ...stage, evaluate: watch } });
    const rows: Float64Array[] = [];
    function watch(...args: Parameters<typeof stage.evaluate>) {
      const said = stage.evaluate(...args);
      if (said) rows.push(said);
      return said;
    }
    const below = [0, 0, 0];
    for (const event of unseen.events) {
      if (event.kind === 'workflowEnded') continue;
      const { stage: asked, context, outcome } = unseen.calls[event.call]!;
      if (event.kind === 'end') {
        predictor.observe(asked, context, outcome);
        continue;
      }
      rows.length = 0;
      predictor.predict(asked, context);
      for (const place of [0, 1, 2]) below[place]! += Number(Math.log1p(outcome.outputTokens!) <= rows[0]![place + 1]!);
    }
    const shares = below.map((count) => count / unseen.calls.length);
    for (const [place, wanted] of [0.3, 0.5, 0.95].entries()) {
      expect(Math.abs(shares[place]! - wanted), JSON.stringify(shares)).toBeLessThan(0.1);
    }
  });

  it('begins with the model where it erred less on calls kept back, else and where there are few with the middle of it and the lookup', () => {
    // Agents that repeat their first answer to the token.
    const repeated = new Map<string, number>();
    const rows = predictionTrace(150, 'parrot').map((row) => {
      const length = repeated.get(row.workflow_id!) ?? row.output_length;
      repeated.set(row.workflow_id!, length);
      return { ...row, role: 'parrot', output_length: length };
    });
    const few = traceCalls(predictionTrace(20, 'few'));
    const { choices, rules } = trainModel(joinHistories([history, few, traceCalls(rows)]), ROUGH);
    const byTemplate = new Map(choices.map((choice) => [choice.template, choice]));
    expect(byTemplate.get('few')).toMatchObject({ calls: 80, serves: 'blend' });
    for (const template of ['essay', 'parrot']) {
      const { modelError, lookupError, serves } = byTemplate.get(template)!;
      expect(serves).toBe(lookupError! < modelError! ? 'blend' : 'model');
    }
    expect(rules.lookupTemplates).toEqual(
      choices.filter(({ serves }) => serves === 'blend').map((each) => each.template),
    );
  });

  it('compares looking up as it will be when the model serves: with all that was seen in the training', () => {
    // Each model writes as long as it always does. Few calls of each: most of them come while it is new.
    const rows = predictionTrace(60, 'steady').map((row, index) => {
      const model = `model-${Math.floor(index / 4) % 6}`;
      return { ...row, role: 'writer', model, output_length: 100 * (1 + (Math.floor(index / 4) % 6)) };
    });
    const { choices } = trainModel(joinHistories([history, traceCalls(rows)]), ROUGH);
    const { serves, lookupError } = choices.find(({ template }) => template === 'steady')!;
    expect(lookupError).toBeLessThan(1);
    expect(serves).toBe('blend');
  });

  it('gives a template trees of its own where those serve calls kept back, for it alone', () => {
    // The same roles and models as the essays, but every critic writes as long as the prompt has grown: a rule that does not hold for essays.
    const other = predictionTrace(150, 'reverse', 5).map((row, index) => ({
      ...row,
      ...(row.role === 'critic' && {
        input_length: 2000 + ((index * 37) % 900),
        output_length: 100 + ((index * 37) % 900),
      }),
    }));
    const { model, choices } = trainModel(joinHistories([traceCalls(predictionTrace(150)), traceCalls(other)]), ROUGH);
    const corrected = model.outputs.map(({ name }) => name).filter((name) => name.includes('@'));
    expect(corrected).toContain('log_tokens_q50@reverse');
    // Calls kept back were judged with them.
    const { modelError, lookupError, serves } = choices.find(({ template }) => template === 'reverse')!;
    expect(serves).toBe('model');
    expect(modelError).toBeLessThan(0.75 * lookupError!);
    const stage = forestModel(model);
    const row = new Float64Array(model.featureCount).fill(Number.NaN);
    const median = (template: string) => stage.evaluate(row, 0, template)![2];
    expect(median('unknown')).toBe(predictRow(model.outputs[2]!.ensemble, row, 0));
    const own = model.outputs.find(({ name }) => name === 'log_tokens_q50@reverse')!.ensemble;
    expect(median('reverse')).toBeCloseTo(median('unknown')! + predictRow(own, row, 0), 12);
  });

  it('does not claim to know tool calls from a handful', () => {
    expect(trained.rules.toolIntent).toBe(true);
    const { rules } = trainModel(traceCalls(predictionTrace(60)), ROUGH);
    expect(rules.toolIntent).toBe(false);
  });

  it('writes down the rules that it serves by', () => {
    expect(servingRules(trained.model.metadata)).toEqual(trained.rules);
    const broken = (text: string) => () => servingRules(new Map([['maestro.calibration', text]]));
    expect(broken('{')).toThrow('must be JSON');
    const wrong = {
      ...{ boundLogOffset: [9], repeatLogTolerance: [-1], toolIntent: [1], lookupTemplates: [[1]] },
      lengthErrors: [{}, [['t', 30]], [['t', -1, [1]]], [['t', 30, [null]]], [[1, 30, [1]]]],
    };
    for (const [field, values] of Object.entries(wrong)) {
      for (const value of values) {
        expect(broken(JSON.stringify({ ...trained.rules, [field]: value }))).toThrow(field);
      }
    }
  });

  it('begins the contest with the errors on calls kept back, where there are any', () => {
    const { lengthErrors, ...older } = trained.rules;
    expect(lengthErrors.map(([key]) => key)).toContain('t\nessay');
    for (const [, calls, errors] of lengthErrors) {
      expect(calls).toBeGreaterThanOrEqual(20);
      expect(errors).toHaveLength(LENGTH_CONTESTANTS.length);
    }
    // A file from before.
    const metadata = new Map([['maestro.calibration', JSON.stringify(older)]]);
    expect(servingRules(metadata)).toEqual({ ...older, lengthErrors: [] });
  });

  it('refuses traces without lengths', () => {
    expect(() => trainModel({ calls: [], events: [] }, QUICK)).toThrow('no call of the traces has a known length');
  });
});

describe('keptBack', () => {
  it.each(['task', 'workflow', 'time'] as const)('tears nothing apart by %s, and is the same again', (key) => {
    const isKept = keptBack(history, key, 0.3, 5);
    const kept = filterHistory(history, isKept);
    const seen = filterHistory(history, (call) => !isKept(call));
    const workflows = (calls: typeof kept) => new Set(calls.calls.map(({ stage }) => stage.workflowId));
    expect([...workflows(kept)].filter((id) => workflows(seen).has(id))).toEqual([]);
    expect(kept.calls.length + seen.calls.length).toBe(history.calls.length);
    expect(kept.calls.length / history.calls.length).toBeGreaterThan(0.2);
    expect(kept.calls.length / history.calls.length).toBeLessThan(0.4);
    expect(filterHistory(history, keptBack(history, key, 0.3, 5))).toEqual(kept);
  });
});
