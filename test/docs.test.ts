import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { COMMANDS } from '../src/cli/program.js';
import { checkDocument, checkLinks, codeOf, type Document, type Known, ROOMS, unknownFlags } from './docs-rules.js';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const DOCUMENTS = [
  'README.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name.replaceAll(sep, '/')}`),
].map((path): Document => ({ path, text: read(path) }));

const known = await knownHere();

describe('the documents', () => {
  it.each(DOCUMENTS)('$path names files, scripts, commands, flags and fields that there are', (document) => {
    expect(checkDocument(document, known)).toEqual([]);
  });

  it.each(DOCUMENTS)('$path links to what there is', (document) => {
    expect(checkLinks(document, DOCUMENTS, known)).toEqual([]);
  });
});

describe('help texts', () => {
  it.each(known.commands.flatMap((command) => [command, ...command.commands]))(
    'of a command name flags that there are: %#',
    (command) => {
      const told = [command.description(), ...command.options.map(({ description }) => description)];
      const flags = told.flatMap((text) => text.match(/(?<![\w-])--[a-z][\w-]*/g) ?? []);
      expect(flags.flatMap((flag) => unknownFlags(flag, known))).toEqual([]);
    },
  );
});

describe('the rules', () => {
  const check = (text: string) => checkDocument({ path: 'docs/x.md', text }, known);

  it.each([
    ['`src/no/such.ts`', 'src/no/such.ts: no such file or folder'],
    ['`no-such.test.ts`', 'no-such.test.ts: no file of that name'],
    ['see `sim/no-such-*.ts`', 'sim/no-such-*.ts: nothing of that name'],
    ['`npm run bench:nothing`', 'npm run bench:nothing: no such script'],
    ['`npm run bench:slo -- --lods 1`', 'npm run bench:slo: no flag --lods'],
    ['`maestro simulate`', 'maestro simulate: no such command'],
    ['`maestro sim --lod 1`', 'maestro sim: no flag --lod'],
    ['`maestro trace imprt X`', 'maestro trace imprt: no such command'],
    ['`--no-such-flag`', '--no-such-flag: a flag of nothing that is known here'],
    ['`scheduling.polcy`', 'scheduling.polcy: no such field of the config'],
    ['`maestro_no_such_total`', 'maestro_no_such_total: not in the source'],
    ['`x-maestro-no-such`', 'x-maestro-no-such: not in the source'],
  ])('refuse %s', (text, message) => {
    expect(check(text)).toEqual([`docs/x.md:1: ${message}`]);
  });

  it.each([
    '`src/global/order/` and `src/model/clock.ts`',
    '`npm run bench:slo -- --loads 1`, `npm start -- --exit`',
    '`maestro trace import FORMAT FILE`, `maestro sim merge part-1 --out report`',
    '`scheduling.queue`, `classes[].ttft`, `parameters.llama.caps`',
    'src/no/such.ts outside code',
  ])('allow %s', (text) => {
    expect(check(text)).toEqual([]);
  });

  it('read code spans, and blocks without comments and prompts', () => {
    const text = 'a `b` and `c \\| d`\n```console\n$ run this   # and why\n```\n';
    expect(codeOf(text)).toEqual([
      { line: 1, text: 'b' },
      { line: 1, text: 'c | d' },
      { line: 3, text: 'run this  ' },
    ]);
  });
});

async function knownHere(): Promise<Known> {
  const program = new Command('maestro');
  for (const { load } of COMMANDS) (await load())(program);
  const paths = new Set(readdirSync(ROOT));
  for (const room of ROOMS) {
    paths.add(room);
    for (const path of readdirSync(join(ROOT, room), { recursive: true, encoding: 'utf8' })) {
      paths.add(`${room}/${path.split(sep).join('/')}`);
    }
  }
  const files = [...paths];
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const sources = files.filter(
    (file) =>
      /^(src|sim|traces|test|bench|deploy)\/.*\.(ts|mjs|py|sh|yaml)$/.test(file) && file !== 'test/docs.test.ts',
  );
  return {
    paths,
    scripts: new Map(Object.entries(scripts).map(([name, line]) => [name, scriptFlags(line, files)])),
    commands: program.commands,
    fields: new Set([...read('docs/configuration.md').matchAll(/^\| `([\w.<>[\]]+)` \|/gm)].map(([, field]) => field!)),
    source: sources.map(read).join('\n'),
  };
}

/** The flags that a script's own file, or the files beside it in a folder of its own, declare. */
function scriptFlags(line: string, files: readonly string[]): Set<string> {
  const main = /tsx (bench\/[\w/-]+\.ts)/.exec(line)?.[1];
  if (main === undefined) return new Set();
  const folder = main.slice(0, main.lastIndexOf('/') + 1);
  const mine = folder === 'bench/' ? [main] : files.filter((file) => file.startsWith(folder) && file.endsWith('.ts'));
  const declared = mine.flatMap((file) => [...read(file).matchAll(/'?([\w-]+)'?: \{\s*type: '(?:string|boolean)'/g)]);
  return new Set(declared.map(([, name]) => `--${name}`));
}
