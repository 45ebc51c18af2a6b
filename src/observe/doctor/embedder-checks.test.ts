import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { embedderFolder } from '../../../test/embedder-fixture.js';
import { probeOnnxRuntime } from '../../predict/runtime/service.js';
import { checkEmbedder, examineEmbedder } from './embedder-checks.js';

const folder = embedderFolder();
afterAll(() => rmSync(folder, { recursive: true }));
const { available } = await probeOnnxRuntime();

describe('the sentence embedder', () => {
  it.skipIf(!available)('is loaded and run as a server would', async () => {
    const finding = await examineEmbedder({ folder, waitMs: 10_000 });
    expect(finding).toMatchObject({ severity: 'ok', message: expect.stringContaining('for a long text') });
  });

  it('is named with its fault where it cannot be used', async () => {
    const nowhere = join(folder, 'nowhere');
    expect(await examineEmbedder({ folder: nowhere, waitMs: 20 })).toMatchObject({
      severity: 'warning',
      message: expect.stringContaining(`${nowhere} has neither model.onnx`),
    });
  });

  it('is too slow where requests would not wait for it', () => {
    const asked = { folder: 'embedder', waitMs: 20 };
    expect(checkEmbedder(asked, { name: 'a', textMs: 19.9 }).severity).toBe('ok');
    expect(checkEmbedder(asked, { name: 'a', textMs: 20.1 })).toMatchObject({
      severity: 'warning',
      message: expect.stringContaining('takes 20.1 ms for a long text, and requests wait 20 ms'),
    });
  });
});
