import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { MaestroError } from '../model/error.js';
import { COMMANDS, type LazyCommand, runCli } from './program.js';

let stdout = '';
let stderr = '';

beforeEach(() => {
  stdout = '';
  stderr = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = undefined;
});

describe('runCli', () => {
  const loaded: string[] = [];
  const command = (name: string, action: () => void): LazyCommand => ({
    name,
    summary: `what ${name} does`,
    load: async () => (program) => {
      loaded.push(name);
      program.command(name).option('--json').action(action);
    },
  });
  const commands = [
    command('good', () => process.stdout.write('done\n')),
    command('bad', () => {
      throw new MaestroError('not_found', 'It is not there.');
    }),
  ];
  beforeEach(() => {
    loaded.length = 0;
  });

  it('runs a command and loads no other', async () => {
    expect(await runCli(['good', '--json'], commands)).toBe(0);
    expect(stdout).toBe('done\n');
    expect(loaded).toEqual(['good']);
  });

  it.each([[[]], [['--help']], [['help']]])('lists the commands and loads none: %j', async (args) => {
    expect(await runCli(args, commands)).toBe(0);
    expect(stdout).toMatch(/good +what good does\n +bad +what bad does/);
    expect(loaded).toEqual([]);
  });

  it('prints the version of the package', async () => {
    expect(await runCli(['--version'], commands)).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('exits with 1 and one block on stderr when a command fails', async () => {
    expect(await runCli(['bad'], commands)).toBe(1);
    expect([stdout, stderr]).toEqual(['', 'error: It is not there.\n']);
  });

  it.each([
    [['goof'], /unknown command 'goof'\n\(Did you mean good\?\)/],
    [['good', '--jsn'], /unknown option '--jsn'\n\(Did you mean --json\?\)/],
    [['good', 'more'], /too many arguments/],
  ])('exits with 2 when it is asked in the wrong way: %j', async (args, message) => {
    expect(await runCli(args, commands)).toBe(2);
    expect(stderr).toMatch(message);
    expect(stdout).toBe('');
  });

  it.each([
    ['sim', '--model-map', 'llama'],
    ['replay', 'trace.jsonl', '--model-map', 'a=b=c'],
  ])('exits with 2 for a map of models that is none: %j', async (...args) => {
    expect(await runCli(args)).toBe(2);
    expect(stderr).toMatch(/--model-map .* is not RECORDED=SERVED\./);
  });
});

describe('maestro config', () => {
  it('checks a good file', async () => {
    expect(await runCli(['config', 'check', 'deploy/demo-fleet.yaml'])).toBe(0);
    expect(stdout).toBe('deploy/demo-fleet.yaml is fine: 2 nodes, 7 engines\n');
  });

  it('tells what is wrong with a bad one', async () => {
    const file = 'package.json';
    expect(await runCli(['config', 'check', file])).toBe(1);
    expect(stderr).toContain('package.json:2:3: name: unknown field "name"');
    expect(stdout).toBe('');
    expect(await runCli(['config', 'check', file, '--json'])).toBe(1);
    const answer = JSON.parse(stdout) as { ok: boolean; problems: unknown[] };
    expect(answer.ok).toBe(false);
    expect(answer.problems[0]).toMatchObject({ file, line: 2, column: 3, path: 'name' });
  });

  it('prints schema and config in force', async () => {
    expect(await runCli(['config', 'schema'])).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ type: 'object', additionalProperties: false });
    stdout = '';
    expect(await runCli(['config', 'show'])).toBe(0);
    expect(stdout).toContain('  policy: maestro\n');
    expect(await runCli(['config', 'show', 'no-such-file.yaml'])).toBe(1);
    expect(stderr).toContain('Cannot read the config file no-such-file.yaml');
  });
});

describe('what a user got wrong', () => {
  it.each([
    [['demo', '--policy', 'typo'], 2, /allowed choices are/i],
    [
      ['trace', 'compose', 'traces/specs/demo.yaml', '-o', 'no-such-folder/x.jsonl'],
      1,
      /no-such-folder.*: no such file or folder/,
    ],
    [['predict', 'traces/data/tau-bench.jsonl.gz', '--model', 'package.json'], 1, /package\.json/],
    [['calibrate', 'http://127.0.0.1:1', '--out', 'src'], 1, /src is a folder/],
    [['sim', '--policy', 'fcfs', '--load', '1', '--perfetto', 'src'], 1, /src is a folder/],
    [['sim', '--policy', 'fcfs,mastro'], 2, /"mastro" is no policy\. Did you mean maestro\?/],
    [['sim', '--policy', 'xyzzy'], 2, /"xyzzy" is no policy\. There are fcfs, /],
    [['sim', 'no-such.jsonl', '--policy', 'fcfs'], 1, /no-such\.jsonl: no such file/],
    [
      ['sim', 'no-such.jsonl', '--trace', 'other.jsonl'],
      1,
      /One trace is played: give no-such\.jsonl or --trace other\.jsonl\./,
    ],
  ])('%j is told plainly', async (args, code, message) => {
    expect(await runCli(args)).toBe(code);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain('This is a bug');
  });
});

describe('maestro sim merge', () => {
  it('takes the --out that stands after it', async () => {
    expect(await runCli(['sim', 'merge', 'no-such-part', '--out', 'no-such-report'])).toBe(1);
    expect(stderr).toContain('no-such-part holds no runs.jsonl');
    expect(existsSync('no-such-report')).toBe(false);
  });
});

describe('every command', () => {
  it.each(COMMANDS)(
    '$name registers itself under its name, with its summary and one example in each help',
    async ({ name, summary, load }) => {
      const program = new Command('maestro');
      (await load())(program);
      const registered = program.commands.find((command) => command.name() === name);
      expect(registered?.summary()).toBe(summary);
      for (const command of [registered!, ...registered!.commands]) {
        stdout = '';
        command.outputHelp();
        const examples = [...stdout.matchAll(/^ {2}\$ maestro (.*)$/gm)].map(([, line]) => line);
        expect(stdout.trimEnd(), command.name()).toMatch(/\nExample.*:\n {2}\$ maestro .*$/);
        expect(examples, command.name()).toHaveLength(1);
        // Files that ship with the repository are named as they stand.
        for (const [path] of stdout.matchAll(/\b(deploy|traces\/(data|specs))\/[\w./-]+\w/g)) {
          expect(existsSync(join(import.meta.dirname, '../..', path)), path).toBe(true);
        }
      }
    },
  );
});
