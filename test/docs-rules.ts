import type { Command } from 'commander';

/** What a document may name, to be held against what there is. */
export interface Known {
  /** Every file of the repository and every folder, by path from the root. */
  readonly paths: ReadonlySet<string>;
  /** Scripts of package.json, and the flags of each that takes some. */
  readonly scripts: ReadonlyMap<string, ReadonlySet<string>>;
  readonly commands: readonly Command[];
  /** Fields of the config, as docs/configuration.md has them. */
  readonly fields: ReadonlySet<string>;
  /** All source text, for names that stand in it as they are: metrics, headers, environment variables. */
  readonly source: string;
}

export interface Document {
  readonly path: string;
  readonly text: string;
}

/** Flags of other programs (vLLM, routers, clients, Node, vitest, biome) that documents speak of. */
const FLAGS_OF_OTHERS = new Set([
  '--allowed-media-domains',
  '--cpu-prof',
  '--data',
  '--enable-program-scheduling',
  '--reasoning-parser',
  '--shm-size',
  '--sse-keep-alive-interval',
  '--tensor-parallel-size',
  '--tokenizer',
  '--use-server-token-count',
]);

/** Folders whose files documents may name. */
export const ROOMS = ['.ci', 'bench', 'deploy', 'docs', 'models', 'sim', 'src', 'test', 'traces'];

/** What a document names and the repository does not have, each as `path:line: what`. */
export function checkDocument(document: Document, known: Known): string[] {
  return codeOf(document.text).flatMap(({ line, text }) => {
    const wrong = [
      ...missingPaths(text, known),
      ...wrongScripts(text, known),
      ...wrongCommands(text, known),
      ...unknownFlags(text, known),
      ...unknownFields(text, known),
      ...unknownNames(text, known),
    ];
    return wrong.map((what) => `${document.path}:${line}: ${what}`);
  });
}

/** Links to files and headings that are not there. */
export function checkLinks(document: Document, documents: readonly Document[], { paths }: Known): string[] {
  const folder = document.path.includes('/') ? document.path.slice(0, document.path.lastIndexOf('/') + 1) : '';
  return document.text.split('\n').flatMap((text, index) =>
    [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target]): string[] => {
      if (/^[a-z]+:/.test(target!)) return [];
      const [file = '', heading] = target!.split('#');
      const path = file === '' ? document.path : new URL(folder + file, 'file:///').pathname.slice(1);
      const there = documents.find((each) => each.path === path);
      if (!paths.has(path.replace(/\/$/, '')))
        return [`${document.path}:${index + 1}: link to ${target}: no such file`];
      if (heading === undefined || !there || headingsOf(there.text).includes(heading)) return [];
      return [`${document.path}:${index + 1}: link to ${target}: no such heading`];
    }),
  );
}

interface Code {
  readonly line: number;
  readonly text: string;
}

/** Code spans, and the lines of code blocks without their comments and prompts. */
export function codeOf(markdown: string): Code[] {
  let inBlock = false;
  return markdown.split('\n').flatMap((text, index): Code[] => {
    const line = index + 1;
    if (text.trimStart().startsWith('```')) {
      inBlock = !inBlock;
      return [];
    }
    if (inBlock) return [{ line, text: text.replace(/^\$ /, '').replace(/\s#\s.*$/, '') }];
    return [...text.matchAll(/(`+)(.+?)\1/g)].map(([, , span]) => ({ line, text: span!.replaceAll('\\|', '|') }));
  });
}

/** As GitHub names the anchors of headings. */
function headingsOf(markdown: string): string[] {
  return [...markdown.matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replace(/\s/g, '-'),
  );
}

function missingPaths(text: string, { paths }: Known): string[] {
  const named = text.matchAll(new RegExp(`(?<![\\w./$~-])(?:${ROOMS.join('|').replace('.', '\\.')})/[\\w./*-]*`, 'g'));
  const alone = /^([\w-]+(?:\.[\w-]+)*\.ts)\b/.exec(text)?.[1];
  const files = [...paths].map((path) => path.slice(path.lastIndexOf('/') + 1));
  if (alone !== undefined && !files.includes(alone)) return [`${alone}: no file of that name`];
  return [...named].flatMap(([path]) => {
    const bare = path.replace(/[/.]+$/, '');
    if (bare.includes('*')) {
      const pattern = new RegExp(`^${bare.replaceAll('.', '\\.').replaceAll('*', '[^/]*')}$`);
      return [...paths].some((each) => pattern.test(each)) ? [] : [`${path}: nothing of that name`];
    }
    // Tests may go without their ending.
    return paths.has(bare) || paths.has(`${bare}.test.ts`) ? [] : [`${path}: no such file or folder`];
  });
}

/** The npm scripts of a command line, and the flags after `--`. A script may stand alone too, as `bench:slo`. */
function wrongScripts(text: string, { scripts }: Known): string[] {
  const [, run, flags = ''] = /\bnpm run ([\w:-]+)(?: -- (.*))?/.exec(text) ?? [];
  const name = run ?? /^((?:bench|test|train):[\w-]+)$/.exec(text)?.[1];
  if (name === undefined) return [];
  const known = scripts.get(name);
  if (!known) return [`npm run ${name}: no such script`];
  if (known.size === 0) return [];
  return flagsOf(flags).flatMap((flag) => (known.has(flag) ? [] : [`npm run ${name}: no flag ${flag}`]));
}

/** `maestro COMMAND [SUBCOMMAND] --flags`, `npm start -- --flags`. */
function wrongCommands(text: string, { commands }: Known): string[] {
  const line = text
    .replace(/^npm start --/, 'maestro demo')
    .replace(/\bsrc\/cli\/main\.ts\b|npm run maestro --/, 'maestro');
  const words = line.split(/\s+/);
  const at = words.indexOf('maestro');
  const name = words[at + 1];
  if (at < 0 || name === undefined || !/^[a-z]+$/.test(name)) return [];
  const command = commands.find((each) => each.name() === name);
  if (!command) return [`maestro ${name}: no such command`];
  const subName = words[at + 2];
  const sub = command.commands.find((each) => each.name() === subName);
  if (
    !sub &&
    command.commands.length > 0 &&
    /^[a-z]+$/.test(subName ?? '') &&
    command.registeredArguments.length === 0
  ) {
    return [`maestro ${name} ${subName}: no such command`];
  }
  const known = new Set(['--help', ...[command, ...(sub ? [sub] : command.commands)].flatMap(flagNames)]);
  return flagsOf(line).flatMap((flag) => (known.has(flag) ? [] : [`maestro ${name}: no flag ${flag}`]));
}

/** Flags of a span that names no program must be some program's. */
export function unknownFlags(text: string, { commands, scripts }: Known): string[] {
  if (!/^(--|\w+=\S+ --)/.test(text)) return [];
  const known = new Set([
    '--help',
    ...commands.flatMap((command) => [command, ...command.commands]).flatMap(flagNames),
    ...[...scripts.values()].flatMap((flags) => [...flags]),
  ]);
  return flagsOf(text).flatMap((flag) =>
    known.has(flag) || FLAGS_OF_OTHERS.has(flag) ? [] : [`${flag}: a flag of nothing that is known here`],
  );
}

function unknownFields(text: string, { fields }: Known): string[] {
  const rooms = [...new Set([...fields].map((field) => field.split(/[.[]/)[0]!))];
  if (!new RegExp(`^(?:${rooms.join('|')})(?:\\.|\\[)[\\w.<>[\\]]+$`).test(text) || /\.(json|yaml|md|ts)$/.test(text))
    return [];
  const plain = (field: string) =>
    field
      .replaceAll('[]', '')
      .replace(/<\w+>/g, '*')
      .replace(/^parameters\.[^.]+/, 'parameters.*');
  const there = [...fields].some((field) => plain(field) === plain(text) || plain(field).startsWith(`${plain(text)}.`));
  return there ? [] : [`${text}: no such field of the config`];
}

/** Metrics, headers and environment variables stand in the source as they are. */
function unknownNames(text: string, { source }: Known): string[] {
  return [...text.matchAll(/\b(?:maestro_[a-z_]+[a-z]|x-maestro-[a-z-]+[a-z]|MAESTRO_[A-Z_]+)\b/g)].flatMap(([name]) =>
    source.includes(name.replace(/_(bucket|sum|count)$/, '')) ? [] : [`${name}: not in the source`],
  );
}

function flagsOf(text: string): string[] {
  return [...text.matchAll(/(?<![\w-])--[a-z][\w-]*/g)].map(([flag]) => flag);
}

function flagNames(command: Command): string[] {
  return command.options.flatMap(({ long }) => (long ? [long, long.replace(/^--no-/, '--')] : []));
}
