import { describe, expect, it } from 'vitest';
import { completed, FIRST_CONTEXT, makeStage } from '../../test/stage-fixture.js';
import { kvMemoryOf } from '../model/kv-memory.js';
import { findLlm } from '../model/llm-catalogue.js';
import type { Stage, StageContext, StageOutcome } from '../model/stage.js';
import { logBin } from './log-bin.js';
import { OnlinePredictor } from './predictor.js';

function teach(predictor: OnlinePredictor, stage: Stage, lengths: readonly number[]): void {
  for (const outputTokens of lengths) predictor.observe(stage, FIRST_CONTEXT, completed(outputTokens));
}

const TEN_OF = (tokens: number) => Array.from({ length: 10 }, () => tokens);

describe('OnlinePredictor: output length', () => {
  it('starts from the prior and never exceeds the limit of the request', () => {
    const predictor = new OnlinePredictor();
    const prior = predictor.predict(makeStage(), FIRST_CONTEXT);
    expect(prior.source).toBe('prior');
    expect(prior.kvTokens.bound).toBeGreaterThan(prior.kvTokens.q50);
    const limited = predictor.predict(makeStage({ maxTokens: 50, promptTokens: 14 }), FIRST_CONTEXT);
    expect(limited.outputTokens).toEqual({ q30: 50, q50: 50, q95: 50, mean: 50 });
    expect(limited.kvTokens.bound).toBe(64);
  });

  it('promises KV memory for every answer that a stage asks for, and for the prompt once', () => {
    const predictor = new OnlinePredictor();
    teach(predictor, makeStage(), TEN_OF(320));
    const one = predictor.predict(makeStage({ promptTokens: 1600 }), FIRST_CONTEXT);
    const many = predictor.predict(makeStage({ promptTokens: 1600, choices: 75 }), FIRST_CONTEXT);
    expect(many.outputTokens).toEqual(one.outputTokens);
    expect(many.kvTokens.q50).toBe(1600 + 75 * 320 + 74 * 16);
    expect(many.kvTokens.bound).toBeGreaterThanOrEqual(1600 + 75 * (one.kvTokens.bound - 1600 - 16));
    expect(many.kvTokens.forecast).toBeUndefined();
  });

  const taught = makeStage({ template: 'research', role: 'writer', model: 'model-a' });
  const cases: [string, Stage, string][] = [
    ['the same kind of stage', taught, 'agent-layer'],
    ['another agent of the role', { ...taught, agent: 'second' }, 'template-role'],
    ['another template', { ...taught, template: 'coding' }, 'model-role'],
    ['another model', { ...taught, template: 'coding', model: 'model-b' }, 'role'],
    ['another role', { ...taught, role: 'critic' }, 'global'],
  ];
  it.each(cases)('backs off for %s', (_name, stage, source) => {
    const predictor = new OnlinePredictor();
    teach(predictor, taught, TEN_OF(320));
    const prediction = predictor.predict(stage, FIRST_CONTEXT);
    expect(prediction.source).toBe(source);
    expect(prediction.outputTokens.q50).toBe(320);
  });

  it('uses the last answer of the role in the workflow where the role repeats itself, and the median where it does not', () => {
    const predictor = new OnlinePredictor();
    const again = (lastRoleOutputTokens: number): StageContext => ({ ...FIRST_CONTEXT, lastRoleOutputTokens });
    const repeater = makeStage({ role: 'rewriter' });
    const erratic = makeStage({ role: 'erratic' });
    for (let round = 0; round < 60; round++) {
      const length = 100 + 37 * (round % 20);
      predictor.observe(repeater, again(length), completed(length + 2));
      predictor.observe(erratic, again(round % 2 === 0 ? 2000 : 10), completed(400));
    }
    const repeated = predictor.predict(repeater, again(700));
    expect(repeated.source).toBe('workflow');
    expect(repeated.outputTokens.q50).toBeGreaterThan(690);
    expect(repeated.outputTokens.q50).toBeLessThan(720);
    const median = predictor.predict(erratic, again(2000));
    expect(median.source).toBe('agent-layer');
    expect(median.outputTokens.q50).toBe(400);
  });

  it('tells the layers of a workflow apart, also after a restart', () => {
    const predictor = new OnlinePredictor();
    const layer = (stageIndex: number): StageContext => ({ ...FIRST_CONTEXT, stageIndex });
    for (let call = 0; call < 10; call++) {
      predictor.observe(makeStage(), layer(0), completed(900));
      predictor.observe(makeStage(), layer(3), completed(40));
    }
    const restarted = new OnlinePredictor();
    restarted.restore(JSON.parse(JSON.stringify(predictor.state())));
    for (const each of [predictor, restarted]) {
      expect([0, 3].map((index) => each.predict(makeStage(), layer(index)).outputTokens.q50)).toEqual([900, 40]);
    }
  });

  it('learns nothing about length from calls that were cut short', () => {
    const predictor = new OnlinePredictor();
    for (const outputTokens of TEN_OF(7)) {
      predictor.observe(makeStage(), FIRST_CONTEXT, completed(outputTokens, { kind: 'client_cancelled' }));
    }
    expect(predictor.predict(makeStage(), FIRST_CONTEXT).source).toBe('prior');
  });

  it('forgets names beyond its limit', () => {
    const predictor = new OnlinePredictor({ maxCells: 3 });
    teach(predictor, makeStage({ role: 'first' }), TEN_OF(50));
    for (const role of ['third', 'fourth', 'fifth', 'second']) teach(predictor, makeStage({ role }), TEN_OF(500));
    expect(predictor.predict(makeStage({ role: 'second' }), FIRST_CONTEXT).source).toBe('agent-layer');
    expect(predictor.predict(makeStage({ role: 'first' }), FIRST_CONTEXT).source).toBe('global');
  });
});

describe('OnlinePredictor: tool intent', () => {
  it('follows the request where it decides, else the role and the last message', () => {
    const predictor = new OnlinePredictor();
    const offered = makeStage({ features: { toolsOffered: 3, lastMessageKind: 'user' } });
    const afterTool = makeStage({ features: { toolsOffered: 3, lastMessageKind: 'tool' } });
    for (let call = 0; call < 50; call++) {
      predictor.observe(offered, FIRST_CONTEXT, completed(20, { toolCalled: true }));
      predictor.observe(afterTool, FIRST_CONTEXT, completed(20, { toolCalled: false }));
    }
    const probability = (stage: Stage) => predictor.predict(stage, FIRST_CONTEXT).toolProbability;
    expect(probability(offered)).toBeGreaterThan(0.9);
    expect(probability(afterTool)).toBeLessThan(0.1);
    expect(probability(makeStage())).toBe(0);
    expect(probability(makeStage({ features: { toolsOffered: 1, toolChoice: 'required' } }))).toBe(1);
    expect(probability(makeStage({ features: { toolsOffered: 1, toolChoice: 'none' } }))).toBe(0);
  });
});

describe('OnlinePredictor: KV memory', () => {
  const memoryOf = (name: string) => kvMemoryOf({ llm: findLlm(name)!, gpuIndices: [0], maxModelLen: 32_768 });

  it('is told in bytes by the architecture of the model, with the prefix that is usually cached', () => {
    const predictor = new OnlinePredictor({ kvMemory: () => memoryOf('llama-3.1-8b') });
    for (let call = 0; call < 60; call++) {
      predictor.observe(makeStage(), FIRST_CONTEXT, completed(100, { promptTokens: 1000, cachedTokens: 790 }));
    }
    const { outputTokens, kvTokens, kvBytes } = predictor.predict(makeStage(), FIRST_CONTEXT);
    // 32 layers, 8 heads of 128, keys and values in 16 bits.
    const bytesPerToken = 32 * 8 * 128 * 2 * 2;
    expect(outputTokens.q50).toBe(100);
    expect(kvBytes).toEqual({
      q50: 1104 * bytesPerToken,
      bound: kvTokens.bound * bytesPerToken,
      shared: 784 * bytesPerToken,
    });
    expect(kvTokens.share).toBeUndefined();
    expect(new OnlinePredictor().predict(makeStage(), FIRST_CONTEXT).kvBytes).toBeUndefined();
  });

  it('takes more of the pool of a model with sliding windows than its tokens', () => {
    const memory = memoryOf('gemma-3-27b')!;
    const predictor = new OnlinePredictor({ kvMemory: () => memory });
    const stage = makeStage({ promptTokens: 400, maxTokens: 100 });
    const { kvTokens, kvBytes } = predictor.predict(stage, FIRST_CONTEXT);
    expect(kvBytes!.bound).toBe(memory.bytes(500));
    expect(kvTokens.bound).toBe(memory.poolTokens(500));
    expect(kvTokens.bound).toBeGreaterThan(1500);
    const { promptTokens, perOutputToken } = kvTokens.share!;
    expect(promptTokens + 100 * perOutputToken).toBeCloseTo(kvTokens.bound, 6);
  });
});

describe('OnlinePredictor: service time', () => {
  it('learns prefill and decode rates from streams', () => {
    const predictor = new OnlinePredictor();
    const outcome = completed(101, { promptTokens: 2000, durationMs: 2600, ttftMs: 600, serviceMs: 2200 });
    for (let call = 0; call < 10; call++) predictor.observe(makeStage(), FIRST_CONTEXT, outcome);
    // 2000 ms of stream over 100 gaps, 200 ms before the first token over 2000 prompt tokens.
    expect(predictor.predict(makeStage(), FIRST_CONTEXT).serviceMs).toBeCloseTo(1000 * 0.1 + 101 * 20, 6);
  });

  it('learns nothing of the prefill from prompts that a step takes as long for', () => {
    const predictor = new OnlinePredictor();
    const outcome = completed(101, { promptTokens: 200, durationMs: 2600, ttftMs: 600, serviceMs: 2200 });
    for (let call = 0; call < 10; call++) predictor.observe(makeStage(), FIRST_CONTEXT, outcome);
    expect(predictor.predict(makeStage(), FIRST_CONTEXT).serviceMs).toBeCloseTo(1000 * 0.05 + 101 * 20, 6);
  });

  it('asks the step-time model first, with the prompt share that the role usually finds cached', () => {
    const asked: number[][] = [];
    const predictor = new OnlinePredictor({
      serviceTimeMs: (_model, prompt, cached, output) => {
        asked.push([prompt, Math.round(cached), output]);
        return 77;
      },
    });
    for (let call = 0; call < 30; call++) {
      predictor.observe(makeStage(), FIRST_CONTEXT, completed(10, { promptTokens: 1000, cachedTokens: 800 }));
    }
    expect(predictor.predict(makeStage(), FIRST_CONTEXT).serviceMs).toBe(77);
    expect(asked.at(-1)).toEqual([1000, 800, 10]);
  });
});

describe('OnlinePredictor: lengths that do not come true', () => {
  const config = {
    serviceTimeMs: (_model: string, prompt: number, _cached: number, output: number) => prompt + output,
  };

  /** Has been told lengths around 400 tokens that had nothing to do with what came. */
  function misled(outcome: (tokens: number) => StageOutcome = completed): OnlinePredictor {
    const predictor = new OnlinePredictor(config);
    for (let call = 0; call < 125; call++) {
      const stage = makeStage({ stageId: `s${call}` });
      predictor.callMs(stage, 100 * 2 ** (call % 5));
      predictor.observe(stage, FIRST_CONTEXT, outcome(100 * 2 ** (Math.floor(call / 5) % 5)));
    }
    return predictor;
  }
  const answerMs = (predictor: OnlinePredictor, saidTokens: number) => predictor.callMs(makeStage(), saidTokens) - 1000;

  it('count for less in the time of a call, also after a restart', () => {
    const before = misled();
    const after = new OnlinePredictor(config);
    after.restore(JSON.parse(JSON.stringify(before.state())));
    for (const predictor of [before, after]) {
      expect(answerMs(predictor, 400) / 400).toBeCloseTo(1, 1);
      expect(answerMs(predictor, 1600)).toBeLessThan(600);
      expect(answerMs(predictor, 100)).toBeGreaterThan(250);
    }
  });

  it('stand as they were said in lengths and memory', () => {
    const again = { ...FIRST_CONTEXT, lastRoleOutputTokens: 1600 };
    const believing = new OnlinePredictor(config);
    const doubting = new OnlinePredictor(config);
    doubting.restore({ ...doubting.state(), lengthTrust: misled().state().lengthTrust });
    const [believed, doubted] = [believing, doubting].map((predictor) => predictor.predict(makeStage(), again));
    expect(believed!.serviceMs).toBe(2600);
    expect(doubted!.serviceMs).toBeLessThan(1600);
    expect({ ...doubted!, serviceMs: 2600 }).toEqual(believed);
  });

  it('are not judged by calls that were cut short', () => {
    const predictor = misled((tokens) => completed(tokens, { kind: 'client_cancelled' }));
    expect(answerMs(predictor, 1600)).toBe(1600);
  });
});

describe('OnlinePredictor: remaining work', () => {
  const serviceTimeMs = (_model: string, _prompt: number, _cached: number, output: number) => output * 10;

  function runChain(predictor: OnlinePredictor, workflowId: string, lengths: readonly number[]): void {
    lengths.forEach((outputTokens, index) => {
      const stage = makeStage({ workflowId, role: 'agent', arrivalMs: index * 10_000 });
      predictor.observe(stage, { ...FIRST_CONTEXT, invocationIndex: index }, completed(outputTokens));
    });
    predictor.workflowEnded(workflowId);
  }

  it('is, with the stage, the median service left at the same place in earlier workflows, and nothing before one has ended', () => {
    const predictor = new OnlinePredictor({ serviceTimeMs });
    const at = (invocationIndex: number) => {
      const said = predictor.predict(makeStage({ role: 'agent' }), { ...FIRST_CONTEXT, invocationIndex });
      return { toEndMs: said.serviceMs + said.remainingMs, remainingMs: said.remainingMs };
    };
    expect(at(0).remainingMs).toBe(0);
    for (let run = 0; run < 25; run++) runChain(predictor, `run-${run}`, [100, 50, 20]);
    expect([at(0).toEndMs, at(1).toEndMs]).toEqual([1700, 700]);
    // The last one takes 200; the median of the role, 500, is more than that.
    expect(at(2)).toEqual({ toEndMs: 500, remainingMs: 0 });
  });

  it('is told apart by the model where each has been seen often enough', () => {
    const predictor = new OnlinePredictor({ serviceTimeMs: (_model, _prompt, _cached, output) => output });
    const run = (model: string, workflow: number, tokens: number) => {
      for (const invocationIndex of [0, 1]) {
        const stage = makeStage({ workflowId: `${model}-${workflow}`, model, arrivalMs: 1000 * invocationIndex });
        const outcome = { ...completed(tokens), durationMs: 900, serviceMs: 900 };
        predictor.observe(stage, { ...FIRST_CONTEXT, invocationIndex }, outcome);
      }
      predictor.workflowEnded(`${model}-${workflow}`);
    };
    const left = (model: string) => {
      const { serviceMs, remainingMs } = predictor.predict(makeStage({ model, workflowId: 'new' }), FIRST_CONTEXT);
      return serviceMs + remainingMs;
    };
    for (let workflow = 0; workflow < 19; workflow++) run('terse', workflow, 100);
    for (let workflow = 0; workflow < 30; workflow++) run('wordy', workflow, 1000);
    expect(left('wordy')).toBeCloseTo(2000, 6);
    expect(left('terse')).toBeCloseTo(2000, 6);
    run('terse', 19, 100);
    expect(left('terse')).toBeCloseTo(200, 6);
  });

  it('counts siblings that ran side by side once', () => {
    const predictor = new OnlinePredictor({ serviceTimeMs });
    for (let run = 0; run < 25; run++) {
      const workflowId = `run-${run}`;
      const plan = makeStage({ workflowId, role: 'plan' });
      predictor.observe(plan, FIRST_CONTEXT, completed(10, { durationMs: 1000, serviceMs: 1000 }));
      for (let sibling = 0; sibling < 4; sibling++) {
        const stage = makeStage({ workflowId, role: 'work', arrivalMs: 1000 });
        predictor.observe(stage, FIRST_CONTEXT, completed(100, { durationMs: 2000, serviceMs: 2000 }));
      }
      predictor.workflowEnded(workflowId);
    }
    expect(predictor.predict(makeStage({ role: 'plan' }), FIRST_CONTEXT).remainingMs).toBeCloseTo(1000, 6);
  });

  it('is for a short sibling the rest of the longest', () => {
    const predictor = new OnlinePredictor({ serviceTimeMs });
    for (let run = 0; run < 25; run++) {
      const workflowId = `run-${run}`;
      const quick = makeStage({ workflowId, role: 'quick' });
      const long = makeStage({ workflowId, role: 'long' });
      predictor.observe(quick, FIRST_CONTEXT, completed(20, { durationMs: 200, serviceMs: 200 }));
      predictor.observe(long, FIRST_CONTEXT, completed(100, { durationMs: 1000, serviceMs: 1000 }));
      predictor.workflowEnded(workflowId);
    }
    const remainingMs = (role: string) => predictor.predict(makeStage({ role }), FIRST_CONTEXT).remainingMs;
    expect(remainingMs('quick')).toBeCloseTo(800, 6);
    expect(remainingMs('long')).toBeCloseTo(0, 6);
  });

  it('bins the invocation index exactly at first and then ever wider', () => {
    const bins = Array.from({ length: 200 }, (_, index) => logBin(index));
    expect(new Set(bins.slice(0, 5)).size).toBe(5);
    expect(bins).toEqual([...bins].sort((a, b) => a - b));
    expect(new Set(bins).size).toBeLessThan(30);
  });
});
