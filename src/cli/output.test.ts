import { CommanderError } from 'commander';
import { describe, expect, it } from 'vitest';
import { MaestroError } from '../model/error.js';
import { exitCodeOf, printJson, progressLine, renderFailure, renderTable, usesColour } from './output.js';

class FakeTerminal {
  text = '';
  readonly columns = 40;
  constructor(readonly isTTY: boolean) {}
  write(text: string): void {
    this.text += text;
  }
}

describe('renderTable', () => {
  it('aligns columns and leaves no trailing spaces', () => {
    const table = renderTable(
      [{ title: 'model' }, { title: 'requests', align: 'right' }, { title: 'state' }],
      [
        ['llama-3.1-8b', '7', 'running'],
        ['qwen3-14b', '1200', ''],
      ],
    );
    expect(table.split('\n')).toEqual([
      'model         requests  state',
      'llama-3.1-8b         7  running',
      'qwen3-14b         1200',
    ]);
  });

  it('shows the titles of an empty table', () => {
    expect(renderTable([{ title: 'a' }, { title: 'b' }], [])).toBe('a  b');
  });
});

describe('progressLine', () => {
  it('redraws on a terminal, cut to its width', () => {
    const terminal = new FakeTerminal(true);
    const progress = progressLine(terminal);
    progress.update('one');
    progress.update('x'.repeat(100));
    progress.done('finished');
    expect(terminal.text).toBe(`\r\u001b[2Kone\r\u001b[2K${'x'.repeat(39)}\r\u001b[2Kfinished\n`);
  });

  it('prints few lines into a log', () => {
    const terminal = new FakeTerminal(false);
    let nowMs = 0;
    const progress = progressLine(terminal, () => nowMs);
    for (nowMs = 0; nowMs < 25_000; nowMs += 100) progress.update(`at ${nowMs}`);
    progress.done();
    expect(terminal.text).toBe('at 0\nat 10000\nat 20000\nat 24900\n');
  });

  it.each([true, false])('says nothing of what never began, and nothing twice in a log (terminal: %s)', (isTTY) => {
    const terminal = new FakeTerminal(isTTY);
    progressLine(terminal).done();
    expect(terminal.text).toBe('');
    const progress = progressLine(terminal);
    progress.update('1 of 1');
    progress.done();
    expect(terminal.text).toBe(isTTY ? '\r\u001b[2K1 of 1\r\u001b[2K1 of 1\n' : '1 of 1\n');
  });
});

describe('usesColour', () => {
  it.each([
    [true, {}, true],
    [true, { NO_COLOR: '1' }, false],
    [false, {}, false],
    [false, { FORCE_COLOR: '1' }, true],
    [false, { FORCE_COLOR: '0' }, false],
  ])('terminal %s, environment %j: %s', (isTTY, environment, expected) => {
    expect(usesColour(new FakeTerminal(isTTY), environment)).toBe(expected);
  });
});

describe('failures', () => {
  it.each([
    [new MaestroError('invalid_request', 'no'), 1],
    [new Error('bug'), 1],
    ['thrown text', 1],
    [new CommanderError(0, 'commander.helpDisplayed', ''), 0],
    [new CommanderError(1, 'commander.unknownOption', ''), 2],
  ])('%s exits with %d', (error, expected) => {
    expect(exitCodeOf(error)).toBe(expected);
  });

  it('are one block, with the stack only on demand', () => {
    const error = new MaestroError('not_found', 'No such thing.', { cause: new Error('the cause') });
    expect(renderFailure(error, {})).toBe('error: No such thing.');
    expect(renderFailure(new Error('bug'), {})).toMatch(/^error: bug\n.*MAESTRO_DEBUG=1/);
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    expect(renderFailure(full, {})).toBe('error: A file could not be written: the disk is full.');
    expect(renderFailure(Object.assign(full, { path: '/a' }), {})).toBe('error: /a: the disk is full');
    const debug = renderFailure(error, { MAESTRO_DEBUG: '1' });
    expect(debug).toContain('output.test.ts');
    expect(debug).toContain('the cause');
    expect(renderFailure(new CommanderError(1, 'commander.unknownOption', ''), {})).toBeUndefined();
  });
});

it('printJson prints one document', () => {
  const terminal = new FakeTerminal(false);
  printJson({ a: [1] }, terminal);
  expect(JSON.parse(terminal.text)).toEqual({ a: [1] });
});
