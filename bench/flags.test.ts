import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { count, HelpAsked, positive, readFlags } from './flags.js';

const FLAGS = {
  seeds: { type: 'string', default: '5', help: 'how many' },
  quick: { type: 'boolean', default: false, help: 'short runs' },
} as const;
const read = (...args: string[]) => readFlags('npm run bench:x -- [flags]', FLAGS, args);

describe('the command line of a benchmark', () => {
  it('has defaults, and takes values in either form', () => {
    expect(read()).toEqual({ seeds: '5', quick: false });
    expect(read('--seeds', '3', '--quick')).toEqual({ seeds: '3', quick: true });
    expect(read('--seeds=3').seeds).toBe('3');
  });

  it('names the flag that is not known and the one that was meant', () => {
    expect(() => read('--sedes', '3')).toThrow(
      '--sedes: not a flag of this benchmark; did you mean --seeds? (--help lists them)',
    );
    expect(() => read('--colour')).toThrow('--colour: not a flag of this benchmark (--help lists them)');
    expect(() => read('--no-quick')).toThrow('--no-quick: not a flag of this benchmark');
    expect(() => read('--seeds')).toThrow('--seeds');
  });

  it('tells every flag with its default when asked for help', () => {
    expect(() => read('--quick', '--help')).toThrow(HelpAsked);
    expect(() => read('--help')).toThrow(/bench:x.*--seeds <value> +how many \(default: 5\)\n +--quick +short runs\n/s);
  });

  it('refuses what is not a number, with the flag that it was for', () => {
    expect(count('--seeds', '3')).toBe(3);
    expect(positive('--load', '0.5')).toBe(0.5);
    for (const text of ['', '0', '-1', 'x', '1.5']) expect(() => count('--seeds', text)).toThrow('--seeds: ');
    for (const text of ['', '0', '-1', 'x']) expect(() => positive('--load', text)).toThrow('--load: ');
  });

  it('is never read as a number without being checked', () => {
    const scripts = readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.endsWith('.ts') && !path.endsWith('flags.test.ts'),
    );
    expect(scripts).toEqual(expect.arrayContaining(['accuracy.ts', 'turns.ts']));
    const unchecked = scripts.filter((path) =>
      /Number\((flags|values)\b|\b(flags|values)[^\n]*map\(Number\)/.test(
        readFileSync(join(import.meta.dirname, path), 'utf8'),
      ),
    );
    expect(unchecked).toEqual([]);
  });
});
