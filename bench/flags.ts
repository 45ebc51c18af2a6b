import { type ParseArgsConfig, parseArgs } from 'node:util';
import { nearest } from '../src/config/nearest.js';
import { messageOf } from '../src/model/error.js';

/** A flag of a benchmark, and what `--help` says of it. */
type Flag = NonNullable<ParseArgsConfig['options']>[string] & { readonly help: string };

/** Thrown for `--help`; its message is the help. */
export class HelpAsked extends Error {}

/**
 * Reads the command line of a benchmark. Throws an Error that names the flag and, for one that is not known, the nearest that is; and {@link HelpAsked} for `--help`.
 *
 * @param about First lines of the help: the command and what it prints.
 */
export function readFlags<const T extends Record<string, Flag>>(
  about: string,
  flags: T,
  args: readonly string[] = process.argv.slice(2),
) {
  const names = Object.keys(flags);
  for (const arg of args) {
    if (arg === '--help' || arg === '-h') throw new HelpAsked(help(about, flags));
    const name = /^--([^=]+)/.exec(arg)?.[1];
    if (name === undefined || name in flags) continue;
    const meant = nearest(name, names);
    throw new Error(
      `--${name}: not a flag of this benchmark${meant === undefined ? '' : `; did you mean --${meant}?`} (--help lists them)`,
    );
  }
  return parseArgs<{ options: T; args: string[] }>({ args: [...args], options: flags }).values;
}

/** As {@link readFlags}, for a script: prints the help, or what is wrong in one line, and ends the process. */
export function scriptFlags<const T extends Record<string, Flag>>(about: string, flags: T) {
  return orEnd(() => readFlags(about, flags));
}

/** Ends the process with the help (status 0) or with the error in one line (status 2) where `read` throws. */
export function orEnd<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof HelpAsked) {
      process.stdout.write(`${error.message}\n`);
      process.exit(0);
    }
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(2);
  }
}

/** A number above 0; throws an Error that names the flag. */
export function positive(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value;
  throw new Error(`${flag}: "${text}" is not a number above 0`);
}

/** A whole number above 0; throws an Error that names the flag. */
export function count(flag: string, text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value > 0) return value;
  throw new Error(`${flag}: ${text} is not a whole number above 0`);
}

function help(about: string, flags: Record<string, Flag>): string {
  const left = Object.entries(flags).map(([name, { type }]) => `  --${name}${type === 'string' ? ' <value>' : ''}`);
  const width = Math.max(...left.map((text) => text.length)) + 2;
  const lines = Object.values(flags).map(({ help: text, default: usual }, index) => {
    const told = typeof usual !== 'string' ? '' : ` (default: ${usual})`;
    return `${left[index]!.padEnd(width)}${text}${told}`;
  });
  return [about, '', ...lines, `${'  --help'.padEnd(width)}this`].join('\n');
}
