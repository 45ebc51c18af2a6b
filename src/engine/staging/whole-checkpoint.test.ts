import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { missingOf } from './whole-checkpoint.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-checkpoint-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, bytes: string | Buffer) => writeFileSync(join(folder, name), bytes);

/** A safetensors file of one tensor. */
function safetensors(tensorBytes: number): Buffer {
  const header = Buffer.from(
    JSON.stringify({
      __metadata__: { format: 'pt' },
      weight: { dtype: 'F32', shape: [tensorBytes / 4], data_offsets: [0, tensorBytes] },
    }),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, Buffer.alloc(tensorBytes)]);
}

describe('missingOf', () => {
  it('misses nothing of a whole checkpoint, in one piece or several, or in a format that it cannot look into', async () => {
    write('model.safetensors', safetensors(64));
    expect(await missingOf(folder)).toBeUndefined();
    write('model-2.safetensors', safetensors(32));
    write(
      'model.safetensors.index.json',
      JSON.stringify({ weight_map: { a: 'model.safetensors', b: 'model-2.safetensors' } }),
    );
    expect(await missingOf(folder)).toBeUndefined();
    rmSync(folder, { recursive: true });
    folder = mkdtempSync(join(tmpdir(), 'maestro-checkpoint-'));
    write('model-q4.gguf', 'anything');
    expect(await missingOf(folder)).toBeUndefined();
  });

  it('tells what a broken-off download lacks', async () => {
    expect(await missingOf(join(folder, 'none'))).toContain('is not a folder');
    write('config.json', '{}');
    expect(await missingOf(folder)).toContain('holds no weights');
    const whole = safetensors(64);
    write('model.safetensors', whole);
    truncateSync(join(folder, 'model.safetensors'), whole.length - 8);
    expect(await missingOf(folder)).toBe(`model.safetensors has ${whole.length - 8} of ${whole.length} bytes`);
    truncateSync(join(folder, 'model.safetensors'), 20);
    expect(await missingOf(folder)).toBe('the header of model.safetensors cannot be read');
    truncateSync(join(folder, 'model.safetensors'), 4);
    expect(await missingOf(folder)).toBe('the header of model.safetensors cannot be read');
    write('model.safetensors', Buffer.alloc(64, 0xff));
    expect(await missingOf(folder)).toBe('the header of model.safetensors cannot be read');
    write('model.safetensors', whole);
    write(
      'model.safetensors.index.json',
      JSON.stringify({ weight_map: { a: 'model.safetensors', b: 'm2.safetensors' } }),
    );
    expect(await missingOf(folder)).toBe('m2.safetensors, which model.safetensors.index.json names, is not there');
    write('model.safetensors.index.json', '{');
    expect(await missingOf(folder)).toContain('cannot be read');
  });
});
