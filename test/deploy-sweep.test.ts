import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { registerSim } from '../src/cli/sim.js';

const fileOf = (name: string) => fileURLToPath(new URL(`../deploy/${name}`, import.meta.url));

interface Job {
  readonly spec: {
    readonly completionMode: string;
    readonly completions: number;
    readonly template: {
      readonly spec: {
        readonly containers: readonly {
          readonly env: readonly { readonly name: string; readonly value: string }[];
          readonly command: readonly string[];
          readonly args: readonly string[];
        }[];
      };
    };
  };
}

/** Both scripts with a `maestro` that prints what it was called with. */
describe('sweeps on many machines', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'maestro-deploy-'));
    writeFileSync(join(folder, 'maestro'), '#!/bin/sh\nfor each in "$@"; do echo "$each"; done\n');
    chmodSync(join(folder, 'maestro'), 0o755);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const called = (command: string, args: readonly string[], env: Readonly<Record<string, string>>): string[] => {
    const path = `${folder}${delimiter}${process.env['PATH']}`;
    const run = spawnSync(command, args, { encoding: 'utf8', env: { PATH: path, ...env } });
    expect(run.stderr).toBe('');
    return run.stdout.trim().split('\n');
  };
  const valueAfter = (words: readonly string[], option: string) => words[words.indexOf(option) + 1];

  const expectKnown = (words: readonly string[]) => {
    const program = new Command();
    registerSim(program);
    const known = program.commands.find((command) => command.name() === words[0])?.options.map(({ long }) => long);
    for (const word of words.filter((each) => each.startsWith('--'))) expect(known).toContain(word);
  };

  it('every pod of the Indexed Job takes a shard of its own', () => {
    const { spec } = parse(readFileSync(fileOf('sweep-job.yaml'), 'utf8')) as Job;
    const { env, command, args } = spec.template.spec.containers[0]!;
    expect(spec.completionMode).toBe('Indexed');
    const [shell, ...rest] = [...command, ...args];
    const parts = Array.from({ length: spec.completions }, (_, index) => {
      const variables = Object.fromEntries(env.map(({ name, value }) => [name, value]));
      const words = called(shell!, rest, { ...variables, JOB_COMPLETION_INDEX: String(index) });
      expectKnown(words);
      return [valueAfter(words, '--shard'), valueAfter(words, '--out')];
    });
    const of = spec.completions;
    expect(parts).toEqual(Array.from({ length: of }, (_, index) => [`${index + 1}/${of}`, `part-${index + 1}`]));
  });

  it('every task of the Slurm array takes a shard of its own, also when only some run again', () => {
    const script = fileOf('sweep-array.sh');
    const words = called('bash', [script], { SLURM_ARRAY_TASK_ID: '3', SLURM_ARRAY_TASK_COUNT: '8' });
    expectKnown(words);
    expect([valueAfter(words, '--shard'), valueAfter(words, '--out')]).toEqual(['3/8', 'part-3']);
    const again = called('bash', [script], { SLURM_ARRAY_TASK_ID: '5', SLURM_ARRAY_TASK_COUNT: '2', PARTS: '8' });
    expect(valueAfter(again, '--shard')).toBe('5/8');
  });
});
