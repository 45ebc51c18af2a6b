import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomEnsemble } from '../../test/random-ensemble.js';
import { SeededRng } from '../model/rng.js';
import { METADATA_KEY, type TreeModel } from './onnx/model.js';
import { writeModel } from './onnx/write.js';
import { type OnnxRuntime, probeOnnxRuntime, type RuntimeProbe } from './runtime/service.js';
import { ModelService, type ModelServiceOptions } from './service.js';
import { predictRow } from './trees/evaluate.js';

const FEATURES = ['a', 'b', 'c'];
const OUTPUTS = ['q50', 'tool'];
const native = await probeOnnxRuntime();

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maestro-model-'));
});
afterAll(() => rm(folder, { recursive: true }));

function makeModel(change: Partial<TreeModel> = {}): TreeModel {
  const rng = new SeededRng(2);
  const shape = { trees: 5, leaves: 6, features: FEATURES.length };
  const outputs = [
    { name: 'tool', ensemble: randomEnsemble(rng, { ...shape, link: 'logistic' }) },
    { name: 'other', ensemble: randomEnsemble(rng, shape) },
    { name: 'q50', ensemble: randomEnsemble(rng, shape) },
  ];
  const metadata = new Map([[METADATA_KEY.schemaHash, 'hash-1']]);
  return { features: FEATURES, featureCount: FEATURES.length, outputs, metadata, ...change };
}

const MODEL = makeModel();
const ROW = Float64Array.of(0.5, Number.NaN, -1);

function expectedOf(row: Float64Array): number[] {
  return OUTPUTS.map((name) => predictRow(MODEL.outputs.find((output) => output.name === name)!.ensemble, row, 0));
}

let files = 0;

async function load(file: Uint8Array, own: Partial<ModelServiceOptions> = {}): Promise<ModelService> {
  const path = join(folder, `${files++}.onnx`);
  await writeFile(path, file);
  return ModelService.load({ path, features: FEATURES, schemaHash: 'hash-1', outputs: OUTPUTS, ...own });
}

function reasonOf(service: ModelService): string {
  return service.state.kind === 'serving' ? 'serving' : service.state.reason;
}

/** What stands for ONNX Runtime: right, until told otherwise. */
class FakeRuntime implements OnnxRuntime {
  readonly batches: number[] = [];
  released = 0;
  fault: 'none' | 'nan' | 'off' | 'throws' = 'none';
  private gate: Promise<void> = Promise.resolve();

  readonly probe = (): Promise<RuntimeProbe> => Promise.resolve({ available: true, runtime: this });

  /** Runs wait until the function returned is called. */
  hold(): () => void {
    let open = () => {};
    this.gate = new Promise((resolve) => {
      open = resolve;
    });
    return open;
  }

  open(): ReturnType<OnnxRuntime['open']> {
    return Promise.resolve({
      run: async (rows: Float32Array, count: number) => {
        await this.gate;
        this.batches.push(count);
        if (this.fault === 'throws') throw new Error('out of memory');
        const values = Float64Array.from(rows);
        const width = rows.length / count;
        const list = (ensemble: TreeModel['outputs'][number]['ensemble']) =>
          Array.from({ length: count }, (_, row) => {
            const value = predictRow(ensemble, values, row * width);
            return this.fault === 'nan' ? Number.NaN : this.fault === 'off' ? value + 0.01 : value;
          });
        return new Map(MODEL.outputs.map((output) => [output.name, list(output.ensemble)]));
      },
      release: () => {
        this.released++;
        return Promise.resolve();
      },
    });
  }
}

describe('ModelService', () => {
  it('corrects outputs for the template that a call is of, whichever evaluator checked them', async () => {
    const correction = randomEnsemble(new SeededRng(3), { trees: 4, leaves: 5, features: FEATURES.length });
    const outputs = [...MODEL.outputs, { name: 'q50@essay', ensemble: correction }];
    const service = await load(writeModel(makeModel({ outputs })), {
      backend: native.available ? 'onnxruntime' : 'auto',
    });
    expect(service.state).toMatchObject({ kind: 'serving' });
    const [q50, tool] = expectedOf(ROW);
    const plain = [q50!, tool!];
    const own = [q50! + predictRow(correction, ROW, 0), tool!];
    for (const [template, expected] of [
      [undefined, plain],
      ['other', plain],
      ['essay', own],
    ] as const) {
      const predicted = service.predictNow(ROW, 0, template)!;
      expect(predicted).toHaveLength(2);
      for (const [output, value] of expected.entries()) expect(predicted[output]).toBeCloseTo(value, 6);
    }
    expect(await service.predict(ROW)).toHaveLength(2);
    await service.close();
  });

  it('refuses a correction that is a probability', async () => {
    const outputs = [...MODEL.outputs, { name: 'tool@essay', ensemble: MODEL.outputs[0]!.ensemble }];
    expect(reasonOf(await load(writeModel(makeModel({ outputs }))))).toContain('"tool@essay" is put through a sigmoid');
  });

  it.each<ModelServiceOptions['backend']>(['typescript', 'auto'])(
    'predicts what the trees say: %s',
    async (backend) => {
      const service = await load(writeModel(MODEL), { backend });
      expect(service.state).toMatchObject({ kind: 'serving' });
      const predicted = await service.predict(ROW);
      expectedOf(ROW).forEach((value, output) => {
        expect(predicted![output]).toBeCloseTo(value, 5);
      });
      await service.close();
    },
  );

  it.skipIf(!native.available)('predicts the same in ONNX Runtime (needs onnxruntime-node)', async () => {
    const service = await load(writeModel(MODEL), { backend: 'onnxruntime' });
    expect(service.state).toEqual({ kind: 'serving', backend: 'onnxruntime' });
    const rows = Array.from({ length: 150 }, (_, index) => Float64Array.of(index / 50, -1, Number.NaN));
    const predicted = await Promise.all(rows.map((row) => service.predict(row)));
    rows.forEach((row, index) => {
      expectedOf(row).forEach((value, output) => {
        expect(predicted[index]![output]).toBeCloseTo(value, 5);
      });
    });
    await service.close();
    expect(await service.predict(ROW)).toBeUndefined();
  });

  it('runs rows that come meanwhile together, up to the batch size', async () => {
    const runtime = new FakeRuntime();
    const service = await load(writeModel(MODEL), { backend: 'onnxruntime', probe: runtime.probe, maxBatch: 4 });
    const open = runtime.hold();
    runtime.batches.length = 0;
    const rows = Array.from({ length: 7 }, (_, index) => Float64Array.of(index / 3, 0, 0));
    const predictions = rows.map((row) => service.predict(row));
    open();
    const predicted = await Promise.all(predictions);
    expect(runtime.batches).toEqual([1, 4, 2]);
    rows.forEach((row, index) => {
      expectedOf(row).forEach((value, output) => {
        expect(predicted[index]![output]).toBeCloseTo(value, 6);
      });
    });
  });

  it('serves in TypeScript where the native module is missing, and says so', async () => {
    const probe = () => Promise.resolve({ available: false as const, reason: 'not installed' });
    const service = await load(writeModel(MODEL), { backend: 'onnxruntime', probe });
    expect(service.state).toEqual({ kind: 'serving', backend: 'typescript', note: 'not installed' });
    expect([...(await service.predict(ROW))!]).toEqual(expectedOf(ROW));
  });

  it.each<[string, RegExp, Uint8Array, Partial<ModelServiceOptions>?]>([
    ['garbage', /\.onnx: not /, new TextEncoder().encode('garbage')],
    ['a file that is cut off', /cut off/, writeModel(MODEL).subarray(0, 900)],
    [
      'another schema',
      /feature schema hash-2, not for hash-1/,
      writeModel(makeModel({ metadata: new Map([[METADATA_KEY.schemaHash, 'hash-2']]) })),
    ],
    ['other features', /feature 1 of it is "z", not "b"/, writeModel(makeModel({ features: ['a', 'z', 'c'] }))],
    ['unnamed features', /lacks maestro\.features/, writeModel(makeModel({ features: [] }))],
    [
      'too few outputs',
      /lacks the output "q50"; it has tool/,
      writeModel(makeModel({ outputs: MODEL.outputs.slice(0, 1) })),
    ],
    ['too large a file', /bytes, more than the 1000 allowed/, writeModel(MODEL), { maxFileBytes: 1000 }],
    ['a slow model', /ms a row, more than the 0\.5 ms/, writeModel(MODEL), { maxRowMs: 0.5, nowMs: tickingClock(1) }],
  ])('refuses %s, and says why', async (_, reason, file, own) => {
    const service = await load(file, own);
    expect(service.state.kind).toBe('refused');
    expect(reasonOf(service)).toMatch(reason);
    expect(await service.predict(ROW)).toBeUndefined();
    expect(service.predictNow(ROW)).toBeUndefined();
  });

  it('refuses a file that is not there', async () => {
    const service = await ModelService.load({ path: join(folder, 'none'), features: [], schemaHash: '', outputs: [] });
    expect(reasonOf(service)).toMatch(/ENOENT/);
  });

  it('refuses a model on which the evaluators disagree, and lets the session go', async () => {
    const runtime = new FakeRuntime();
    runtime.fault = 'off';
    const service = await load(writeModel(MODEL), { probe: runtime.probe });
    expect(reasonOf(service)).toMatch(/"q50" is .* in ONNX Runtime and .* in TypeScript/);
    expect(runtime.released).toBe(1);
  });

  it('refuses leaves so large that their sum is beyond float32', async () => {
    const ensemble = randomEnsemble(new SeededRng(1), { trees: 2, leaves: 2, features: 3 });
    const huge = { ...ensemble, leafValues: ensemble.leafValues.map(() => 3e38), link: 'identity' as const };
    const file = writeModel(makeModel({ outputs: [{ name: 'q50', ensemble: huge }] }));
    const service = await load(file, { outputs: ['q50'], backend: 'typescript' });
    expect(reasonOf(service)).toMatch(/not finite/);
  });

  it('goes out of service after five predictions in a row that are not numbers', async () => {
    const runtime = new FakeRuntime();
    const service = await load(writeModel(MODEL), { backend: 'onnxruntime', probe: runtime.probe });
    runtime.fault = 'nan';
    for (let call = 0; call < 4; call++) expect(await service.predict(ROW)).toBeUndefined();
    runtime.fault = 'none';
    expect(await service.predict(ROW)).toBeDefined();
    runtime.fault = 'nan';
    for (let call = 0; call < 4; call++) await service.predict(ROW);
    expect(service.state.kind).toBe('serving');
    await service.predict(ROW);
    expect(reasonOf(service)).toMatch(/5 predictions in a row were not finite/);
    runtime.fault = 'none';
    expect(await service.predict(ROW)).toBeUndefined();
  });

  it('goes out of service after five slow predictions in a row', async () => {
    let stepMs = 0.01;
    let timeMs = 0;
    const nowMs = () => {
      timeMs += stepMs;
      return timeMs;
    };
    const service = await load(writeModel(MODEL), { backend: 'typescript', nowMs });
    stepMs = 3;
    for (let call = 0; call < 5; call++) expect(service.predictNow(ROW)).toBeDefined();
    expect(reasonOf(service)).toMatch(/5 predictions in a row took longer than 2 ms/);
    expect(service.predictNow(ROW)).toBeUndefined();
  });

  it('goes out of service when the runtime fails', async () => {
    const runtime = new FakeRuntime();
    const service = await load(writeModel(MODEL), { backend: 'onnxruntime', probe: runtime.probe });
    runtime.fault = 'throws';
    expect(await Promise.all([service.predict(ROW), service.predict(ROW)])).toEqual([undefined, undefined]);
    expect(reasonOf(service)).toMatch(/ONNX Runtime failed: out of memory/);
  });
});

/** A clock on which every look costs time. */
function tickingClock(stepMs: number): () => number {
  let timeMs = 0;
  return () => {
    timeMs += stepMs;
    return timeMs;
  };
}
