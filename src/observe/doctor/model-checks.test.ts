import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { METADATA_KEY } from '../../predict/onnx/model.js';
import { readModel } from '../../predict/onnx/read.js';
import { writeModel } from '../../predict/onnx/write.js';
import { checkModel, examineModel } from './model-checks.js';

const SHIPPED = join(import.meta.dirname, '../../../models/default/model.onnx');

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maestro-doctor-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('the prediction model', () => {
  it('that ships is fine, and the finding names version and evaluator', async () => {
    const { version } = JSON.parse(await readFile(join(SHIPPED, '../model.json'), 'utf8')) as { version: string };
    const finding = await examineModel(SHIPPED);
    expect(finding.severity).toBe('ok');
    expect(finding.message).toContain(`model ${version} predicts, on the TypeScript evaluator`);
  });

  it('is named with its fault where it cannot be used', async () => {
    const file = join(folder, 'model.onnx');
    await writeFile(file, (await readFile(SHIPPED)).subarray(0, 1000));
    expect(await examineModel(file)).toMatchObject({ severity: 'warning', message: expect.stringContaining(file) });
    const model = readModel(await readFile(SHIPPED));
    const metadata = new Map(model.metadata).set(METADATA_KEY.schemaHash, 'older');
    await writeFile(file, writeModel({ ...model, metadata }));
    expect(await examineModel(file)).toMatchObject({
      severity: 'warning',
      message: expect.stringMatching(/made for feature schema older.*what is learned online predicts/),
    });
  });

  it('may be none', () => {
    expect(checkModel(undefined)).toMatchObject({ severity: 'ok' });
  });

  it('runs without the native module', () => {
    const state = { kind: 'serving', backend: 'typescript', note: 'not installed' } as const;
    expect(checkModel({ file: 'm', version: '1', state }).message).toContain('ONNX Runtime is not there');
  });
});
