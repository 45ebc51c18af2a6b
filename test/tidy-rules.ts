import { posix } from 'node:path';
import ts from 'typescript';

/** A file of the repository: its path from the root, with forward slashes, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** A broken house rule, as `path:line: what`. */
export type Violation = string;

/**
 * The parts of the house, as far as imports go. `decisions` are the pure files of the four decision rooms, `engine-model` the pure
 * files of `engine`; `service` are the live shells of the decision rooms; the rest are rooms by name.
 */
type Part =
  | 'model'
  | 'decisions'
  | 'engine-model'
  | 'service'
  | 'engine-live'
  | 'bus'
  | 'observe'
  | 'config'
  | 'gateway'
  | 'sim'
  | 'traces'
  | 'cli';

const DECISION_ROOMS = ['predict', 'global', 'cluster', 'node'];
const LIVE: readonly Part[] = ['service', 'engine-live', 'bus', 'observe', 'config'];
const PURE: readonly Part[] = ['model', 'decisions', 'engine-model'];

/** Which parts a part may import, besides itself. The table of docs/architecture.md. */
const MAY_IMPORT: Readonly<Record<Exclude<Part, 'cli'>, readonly Part[]>> = {
  model: [],
  decisions: ['model', 'engine-model'],
  'engine-model': ['model'],
  service: [...PURE, ...LIVE],
  'engine-live': [...PURE, ...LIVE],
  bus: [...PURE, ...LIVE],
  observe: [...PURE, ...LIVE],
  config: [...PURE, ...LIVE],
  gateway: ['model', 'service', 'observe'],
  sim: [...PURE, 'traces'],
  traces: [...PURE, 'sim'],
};

/** Single files that a part may import although their part is closed to it. */
const EXCEPTIONS: Readonly<Record<string, readonly Part[]>> = {
  // The contract between the front door and the levels holds types only.
  'src/bus/contract.ts': ['gateway', 'sim', 'traces'],
  // Real sockets are timed in wall time, whatever clock the levels run on.
  'src/bus/wall-clock.ts': ['gateway'],
  // One event loop, one batch of writes, for both ends of the data path.
  'src/bus/write-batch.ts': ['gateway'],
};

export function isTest(path: string): boolean {
  return /(\.test|-fixture)\.ts$/.test(path) || path.startsWith('test/');
}

/** The part that a file belongs to; undefined for tests, benchmarks and files outside the rooms. */
function partOf(path: string): Part | undefined {
  if (isTest(path)) return undefined;
  const [top, room = '', ...rest] = path.split('/');
  if (top === 'sim' || top === 'traces') return top;
  if (top !== 'src' || rest.length === 0) return undefined;
  if (DECISION_ROOMS.includes(room)) return posix.basename(path) === 'service.ts' ? 'service' : 'decisions';
  if (room === 'engine') return rest.length === 1 ? 'engine-model' : 'engine-live';
  return room as Part;
}

function isPure(path: string): boolean {
  const part = partOf(path);
  return part !== undefined && PURE.includes(part);
}

/** The import table: who may import whom. */
export function checkImports({ path, text }: SourceFile): Violation[] {
  const part = partOf(path);
  if (part === undefined) return [];
  return importsOf(text).flatMap(({ specifier, offset }): Violation[] => {
    const at = `${path}:${lineOf(text, offset)}`;
    if (!specifier.startsWith('.')) {
      const pure = PURE.includes(part);
      return pure ? [`${at}: decision modules import nothing from outside the house, not "${specifier}"`] : [];
    }
    const target = posix.join(posix.dirname(path), specifier).replace(/\.js$/, '.ts');
    const targetPart = partOf(target);
    if (targetPart === undefined) {
      const outside = target.startsWith('bench/') || isTest(target);
      return outside ? [`${at}: only tests and benchmarks may import ${target}`] : [];
    }
    if (part === 'cli' || EXCEPTIONS[target]?.includes(part)) return [];
    const sameRoom = roomOf(path) === roomOf(target);
    if (part === targetPart && (part !== 'decisions' || sameRoom)) return [];
    if (MAY_IMPORT[part].includes(targetPart)) return [];
    return [`${at}: ${describe(part, path)} may not import ${target}`];
  });
}

function describe(part: Part, path: string): string {
  return part === 'decisions' ? `decisions of ${roomOf(path)}` : part;
}

function roomOf(path: string): string {
  return path.split('/').slice(0, 2).join('/');
}

/** Global names that own time, randomness, concurrency or I/O. */
const IMPURE_NAMES = new Set([
  'Promise',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'process',
  'console',
  'fetch',
  'crypto',
  'globalThis',
]);
const IMPURE_MEMBERS = new Set(['Date.now', 'performance.now', 'Math.random']);

/** Decision modules are synchronous and see neither clock nor randomness nor the outside. */
export function checkPurity({ path, text }: SourceFile): Violation[] {
  if (!isPure(path)) return [];
  const source = parse(path, text);
  const violations: Violation[] = [];
  const report = (node: ts.Node, what: string) => {
    violations.push(`${path}:${lineOf(text, node.getStart(source))}: decision modules may not use ${what}`);
  };
  const visit = (node: ts.Node) => {
    if (node.kind === ts.SyntaxKind.AsyncKeyword) report(node, 'async');
    else if (ts.isAwaitExpression(node)) report(node, 'await');
    else if (ts.isPropertyAccessExpression(node) && IMPURE_MEMBERS.has(node.getText(source))) {
      report(node, node.getText(source));
    } else if (ts.isNewExpression(node) && node.expression.getText(source) === 'Date' && !node.arguments?.length) {
      report(node, 'new Date()');
    } else if (ts.isIdentifier(node) && IMPURE_NAMES.has(node.text) && !isMemberName(node)) {
      report(node, node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return violations;
}

/** Whether an identifier only names a member (`event.process`, `{ process: 1 }`) instead of standing for the global. */
function isMemberName(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent)) return parent.name === node;
  return (
    (ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent) || ts.isPropertyDeclaration(parent)) &&
    parent.name === node
  );
}

export const MAX_LINES = 400;

/** A file fits one idea. */
export function checkLength({ path, text }: SourceFile): Violation[] {
  if (!/\.(ts|mjs|js)$/.test(path) || isTest(path)) return [];
  const lines = text.split('\n').length - 1;
  return lines > MAX_LINES ? [`${path}:${MAX_LINES}: ${lines} lines are more than ${MAX_LINES}; split the idea`] : [];
}

/** Files whose tool asks for a default export. */
const DEFAULT_EXPORTS = ['vitest.config.ts', 'test/closing-line-reporter.ts'];

export function checkDefaultExports({ path, text }: SourceFile): Violation[] {
  if (!path.endsWith('.ts') || DEFAULT_EXPORTS.includes(path)) return [];
  const source = parse(path, text);
  return source.statements.flatMap((statement): Violation[] => {
    const modifiers = ts.canHaveModifiers(statement) ? (ts.getModifiers(statement) ?? []) : [];
    const isDefault =
      ts.isExportAssignment(statement) || modifiers.some(({ kind }) => kind === ts.SyntaxKind.DefaultKeyword);
    return isDefault ? [`${path}:${lineOf(text, statement.getStart(source))}: no default exports`] : [];
  });
}

/** Patterns are put together from pieces, so that this file does not match itself. */
const UNWANTED_WORDS: readonly (readonly [pattern: RegExp, why: string])[] = [
  [
    new RegExp(`\\b(${['TO', 'FIX', 'X'].map((start, i) => start + ['DO', 'ME', 'XX'][i]).join('|')})\\b`),
    'finish it or file an issue',
  ],
  [new RegExp(`\\.\\./${'shared'}\\b`), 'it does not exist for anyone else'],
  [new RegExp(`(^|[^\\w.:/-])/${'work'}/`), 'a path of one machine'],
  [new RegExp(`\\b${'farm'}-[a-z]`), 'a tool of one machine'],
  [/https?:\/\/[^\s/'"]*(registry|npmjs|pypi|artifactory|nexus)[^\s'"]*/, 'an address of a package registry'],
];

/** Words that may stand in no tracked file. */
export function checkWords({ path, text }: SourceFile): Violation[] {
  return text.split('\n').flatMap((line, index) =>
    UNWANTED_WORDS.flatMap(([pattern, why]): Violation[] => {
      const found = pattern.exec(line)?.[0].trim();
      return found ? [`${path}:${index + 1}: "${found}": ${why}`] : [];
    }),
  );
}

interface Import {
  readonly specifier: string;
  readonly offset: number;
}

/** Everything that a file imports, types and dynamic imports included. */
function importsOf(text: string): Import[] {
  return ts
    .preProcessFile(text, true, true)
    .importedFiles.map(({ fileName, pos }) => ({ specifier: fileName, offset: pos }));
}

function parse(path: string, text: string): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true);
}

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}
