import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { predictionTrace } from '../../test/prediction-trace.js';
import { writeTrace } from '../../traces/writer.js';
import { runCli } from './program.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maestro-predict-'));
  await writeTrace(join(folder, 'train.jsonl'), undefined, predictionTrace(150));
  await writeTrace(join(folder, 'other.jsonl'), undefined, predictionTrace(100, 'essay', 7));
});
afterAll(() => rm(folder, { recursive: true }));

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const texts = { out: '', err: '' };
  const capture = (stream: NodeJS.WriteStream, key: 'out' | 'err') =>
    vi.spyOn(stream, 'write').mockImplementation((text) => {
      texts[key] += String(text);
      return true;
    });
  const spies = [capture(process.stdout, 'out'), capture(process.stderr, 'err')];
  try {
    return { code: await runCli(args), ...texts };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

const SMALL = ['--trees', '20', '--leaves', '7', '--learning-rate', '0.2'];

describe('maestro train and predict', () => {
  it('train a model, judge it on what was kept back, and judge it on another trace', async () => {
    const model = join(folder, 'model');
    const trained = await run('train', join(folder, 'train.jsonl'), '--out', model, '--report', '--json', ...SMALL);
    expect(trained.code).toBe(0);
    const info = JSON.parse(trained.out);
    expect(info).toMatchObject({ maestro_model: 1, metrics: { split: 'task', holdout: 0.3 } });
    expect(info.metrics.length.mae).toBeLessThan(info.metrics.baselines.roleMedian.mae);
    expect(info.outputs[2].importance[0]).toMatchObject({ column: expect.any(String), gain: expect.any(Number) });

    const judged = await run('predict', join(folder, 'other.jsonl'), '--model', model, '--json');
    expect(judged.code).toBe(0);
    const report = JSON.parse(judged.out);
    expect(report).toMatchObject({ maestro_predict_report: 1, model: { version: info.version }, calls: 400 });
    expect(report.length.mae).toBeLessThan(report.baselines.roleMedian.mae);
    expect(report.baselines.bestLookup.mae).toBeLessThanOrEqual(report.baselines.modelAgentPhaseMedian.mae);
    expect(report.tool.auc).toBeGreaterThan(0.8);
    expect(report.templates.essay.length).toEqual(report.length);
    // Which estimator serves a role is decided by its errors, so several do.
    const served = Object.values<number>(report.sources);
    expect(served.reduce((sum, calls) => sum + calls, 0)).toBe(400);
    expect(report.sources.model).toBeGreaterThan(0);
    expect(judged.err).toBe('');
    const known = await run('predict', join(folder, 'train.jsonl'), '--model', model);
    expect(known.err).toContain('train.jsonl: the model was trained on a trace of this name');
  }, 60_000);

  it('write the same files again for the same seed', async () => {
    const files = ['model.onnx', 'model.json', 'state.json', 'medians.json'];
    const contents = [];
    for (const name of ['first', 'second']) {
      const out = join(folder, name);
      expect((await run('train', join(folder, 'train.jsonl'), '--out', out, ...SMALL, '--trees', '5')).code).toBe(0);
      contents.push(await Promise.all(files.map((file) => readFile(join(out, file)))));
    }
    expect(contents[1]).toEqual(contents[0]);
  }, 60_000);

  it('say what is wrong with a model or its state', async () => {
    const model = join(folder, 'first');
    await writeFile(join(model, 'state.json'), '{"lengths": 1}');
    const state = await run('predict', join(folder, 'other.jsonl'), '--model', model);
    expect(state).toMatchObject({
      code: 1,
      err: expect.stringMatching(/state\.json is broken: .*train the model again/),
    });
    await writeFile(join(model, 'model.onnx'), 'no model');
    const broken = await run('predict', join(folder, 'other.jsonl'), '--model', model);
    expect(broken).toMatchObject({ code: 1, err: expect.stringMatching(/model\.onnx cannot be used: /) });
    const absent = await run('predict', join(folder, 'other.jsonl'), '--model', join(folder, 'nowhere'));
    expect(absent).toMatchObject({ code: 1, err: expect.stringContaining('cannot be used') });
  });

  it('judge without a model, as a server without one would predict', async () => {
    const judged = await run('predict', join(folder, 'other.jsonl'), '--model', 'online');
    expect(judged.code).toBe(0);
    expect(judged.out).toContain('output length, mean absolute error in tokens');
  });

  it.each<[string, string[], string]>([
    ['--leaves', ['--leaves', '1'], 'It must be a whole number, 2 or more.'],
    ['--holdout', ['--report', '--holdout', '0.999999'], 'Use more traces or a smaller --holdout.'],
    ['--out', ['--out', 'package.json'], 'package.json: is a file, and a folder is needed'],
  ])('say what is wrong with %s before they train', async (_name, args, message) => {
    const { code, err } = await run(
      'train',
      join(folder, 'train.jsonl'),
      '--out',
      join(folder, 'none'),
      ...SMALL,
      ...args,
    );
    expect(code).not.toBe(0);
    expect(err).toContain(message);
    expect(err).not.toContain('bug');
  });
});
