import { execFileSync } from 'node:child_process';
import { createReadStream, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ManualClock } from '../model/clock.js';
import { LineFile } from './line-file.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-lines-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const linesOf = (path: string) => readFileSync(path, 'utf8').split('\n');

/** Looks at every turn of the event loop. */
async function untilLost(file: LineFile, lines: number): Promise<void> {
  while (file.lost < lines) await new Promise((resolve) => setImmediate(resolve));
  expect(file.lost).toBe(lines);
}

describe('LineFile', () => {
  it('appends whole lines, after cutting off half of one that a crash has left', async () => {
    const path = join(folder, 'log');
    writeFileSync(path, '{"a":1}\n{"b":');
    const file = new LineFile(path, new ManualClock());
    file.write('{"c":3}');
    file.write('{"d":4}');
    await file.end();
    expect(linesOf(path)).toEqual(['{"a":1}', '{"c":3}', '{"d":4}', '']);
    expect(file.lost).toBe(0);
    writeFileSync(path, 'half of the only line');
    const again = new LineFile(path, new ManualClock());
    again.write('whole');
    await again.end();
    expect(linesOf(path)).toEqual(['whole', '']);
  });

  it('counts what a full disk loses, says so once, and goes on by itself when there is room', async () => {
    const path = join(folder, 'log');
    symlinkSync('/dev/full', path);
    const clock = new ManualClock();
    const told: string[] = [];
    const file = new LineFile(path, clock, (error) => told.push((error as NodeJS.ErrnoException).code!));
    for (let count = 0; count < 3; count++) file.write('lost');
    await untilLost(file, 3);
    // Told with the first line that is lost, before the file is closed.
    expect(told).toEqual(['ENOSPC']);
    // Still full at the next try.
    clock.advance(10_000);
    file.write('lost');
    await untilLost(file, 4);
    file.write('lost before the next try');
    expect(file.lost).toBe(5);
    expect(told).toEqual(['ENOSPC']);
    rmSync(path);
    clock.advance(10_000);
    file.write('kept');
    await file.end();
    expect(linesOf(path)).toEqual(['kept', '']);
    file.write('after the end');
    expect(file.lost).toBe(6);
  });

  it('begins anew where its file is moved away or deleted, within ten seconds', async () => {
    const path = join(folder, 'log');
    const clock = new ManualClock();
    const file = new LineFile(path, clock);
    file.write('first');
    renameSync(path, `${path}.1`);
    file.write('before anybody looks');
    clock.advance(10_000);
    file.write('second');
    await vi.waitFor(() => expect(linesOf(`${path}.1`)).toEqual(['first', 'before anybody looks', '']), {
      timeout: 20_000,
    });
    await vi.waitFor(() => expect(linesOf(path)).toEqual(['second', '']), { timeout: 20_000 });
    rmSync(path);
    clock.advance(10_000);
    file.write('third');
    await file.end();
    expect(linesOf(path)).toEqual(['third', '']);
    expect(file.lost).toBe(0);
  });

  it('loses lines rather than memory where the file does not keep up', async () => {
    // Nobody reads from the pipe, so that writing to it comes to a stop.
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    const file = new LineFile(path, new ManualClock());
    for (let count = 0; count < 60; count++) file.write('x'.repeat(100_000));
    expect(file.lost).toBeGreaterThan(10);
    expect(file.lost).toBeLessThan(30);
    const reader = createReadStream(path).resume();
    await file.end();
    reader.destroy();
  });

  it('makes its folder', async () => {
    const path = join(folder, 'of', 'today', 'log');
    const file = new LineFile(path, new ManualClock());
    file.write('kept');
    await file.end();
    expect(linesOf(path)).toEqual(['kept', '']);
  });

  it('does not keep anybody from working where its folder cannot be', async () => {
    const told: Error[] = [];
    writeFileSync(join(folder, 'file'), '');
    const file = new LineFile(join(folder, 'file', 'log'), new ManualClock(), (error) => told.push(error));
    file.write('lost');
    expect(file.lost).toBe(1);
    expect(told).toHaveLength(1);
    await file.end();
  });
});
