import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  checkDefaultExports,
  checkImports,
  checkLength,
  checkPurity,
  checkWords,
  MAX_LINES,
  type SourceFile,
  type Violation,
} from './tidy-rules.js';

const ROOT = join(import.meta.dirname, '..');
/** What git does not track, and what others wrote: by path from the root. */
const PASSED_OVER = new Set([
  '.git',
  'node_modules',
  'dist',
  'out',
  'report',
  'coverage',
  '.maestro',
  '.vscode',
  '.idea',
]);
const TEXT = /\.(ts|mjs|js|json|jsonl|md|yaml|yml|proto|sh|html|css|svg|txt|csv)$|^[^.]+$|^\.[a-z]+(rc|ignore)$/;

const folders: { path: string; entries: number }[] = [];
const files = [...walk(ROOT)].map(
  (path): SourceFile => ({ path: relative(ROOT, path).split(sep).join('/'), text: readFileSync(path, 'utf8') }),
);
const code = files.filter(({ path }) => path.endsWith('.ts'));

function* walk(folder: string): Generator<string> {
  const entries = readdirSync(folder, { withFileTypes: true }).filter(
    ({ name }) => !PASSED_OVER.has(relative(ROOT, join(folder, name))),
  );
  folders.push({ path: folder, entries: entries.length });
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* walk(path);
    else if (entry.isFile() && TEXT.test(entry.name) && !entry.name.endsWith('.log')) yield path;
  }
}

describe('the tree', () => {
  it('is seen by this test', () => {
    expect(code.map(({ path }) => path)).toEqual(
      expect.arrayContaining(['src/model/clock.ts', 'src/cli/main.ts', 'test/tidy.test.ts']),
    );
  });

  it.each([
    ['imports go the way of the table', code, checkImports],
    ['decision modules are pure', code, checkPurity],
    ['no file is too long', files, checkLength],
    ['nothing is exported by default', code, checkDefaultExports],
    ['no unwanted word stands anywhere', files, checkWords],
  ])('%s', (_, checked: readonly SourceFile[], check: (file: SourceFile) => Violation[]) => {
    expect(checked.flatMap(check)).toEqual([]);
  });

  it('has no empty folders', () => {
    expect(folders.filter(({ entries }) => entries === 0).map(({ path }) => relative(ROOT, path))).toEqual([]);
  });
});

/** Each rule against planted sources: a rule that finds nothing anywhere would pass the tree. */
describe('the import rule', () => {
  const imports = (path: string, specifier: string) =>
    checkImports({ path, text: `// a comment\nimport type { X } from '${specifier}';\n` });

  it.each([
    ['src/model/stage.ts', './units.js'],
    ['src/global/order/edf.ts', '../../model/stage.js'],
    ['src/cluster/router.ts', '../engine/step-time.js'],
    ['src/node/service.ts', '../cluster/router.js'],
    ['src/node/service.ts', '../engine/vllm/client.js'],
    ['src/config/schema.ts', '../global/order/registry.js'],
    ['src/gateway/gateway.ts', '../bus/contract.js'],
    ['src/gateway/gateway.ts', 'undici'],
    ['src/cli/up.ts', '../../sim/report/index.js'],
    ['sim/world.ts', '../src/global/scheduler.js'],
    ['traces/replay/run.ts', '../../sim/report/types.js'],
    ['src/global/scheduler.test.ts', '../node/manager.js'],
    ['bench/decisions.ts', '../src/node/service.js'],
  ])('%s may import %s', (path, specifier) => {
    expect(imports(path, specifier)).toEqual([]);
  });

  it.each([
    ['src/model/stage.ts', '../engine/seats.js', 'model may not import src/engine/seats.ts'],
    ['src/global/scheduler.ts', '../cluster/router.js', 'decisions of src/global may not import src/cluster/router.ts'],
    ['src/global/scheduler.ts', './service.js', 'decisions of src/global may not import src/global/service.ts'],
    [
      'src/cluster/router.ts',
      '../engine/vllm/client.js',
      'decisions of src/cluster may not import src/engine/vllm/client.ts',
    ],
    ['src/cluster/router.ts', '../bus/contract.js', 'decisions of src/cluster may not import src/bus/contract.ts'],
    ['src/engine/batch-engine.ts', './emulator/server.js', 'engine-model may not import src/engine/emulator/server.ts'],
    ['src/predict/predictor.ts', 'node:fs', 'decision modules import nothing from outside the house, not "node:fs"'],
    ['src/predict/predictor.ts', 'zod', 'decision modules import nothing from outside the house, not "zod"'],
    ['src/gateway/gateway.ts', '../config/load.js', 'gateway may not import src/config/load.ts'],
    ['src/gateway/gateway.ts', '../bus/local.js', 'gateway may not import src/bus/local.ts'],
    ['src/gateway/gateway.ts', '../node/manager.js', 'gateway may not import src/node/manager.ts'],
    ['src/config/load.ts', '../gateway/config.js', 'config may not import src/gateway/config.ts'],
    ['src/node/service.ts', '../../sim/world.js', 'service may not import sim/world.ts'],
    ['src/observe/log.ts', '../cli/output.js', 'observe may not import src/cli/output.ts'],
    ['sim/world.ts', '../src/node/service.js', 'sim may not import src/node/service.ts'],
    ['traces/replay/run.ts', '../../src/observe/log.js', 'traces may not import src/observe/log.ts'],
    ['src/cli/up.ts', '../../bench/decisions.js', 'only tests and benchmarks may import bench/decisions.ts'],
    ['src/model/stage.ts', './stage.test.js', 'only tests and benchmarks may import src/model/stage.test.ts'],
    ['src/model/stage.ts', './stage-fixture.js', 'only tests and benchmarks may import src/model/stage-fixture.ts'],
  ])('%s may not import %s', (path, specifier, message) => {
    expect(imports(path, specifier)).toEqual([`${path}:2: ${message}`]);
  });

  it('sees every kind of import', () => {
    for (const text of [
      "import { a } from '../node/manager.js';",
      "import '../node/manager.js';",
      "export * from '../node/manager.js';",
      "const a = import('../node/manager.js');",
      "import type { A } from '../node/manager.js';",
    ]) {
      expect(checkImports({ path: 'src/global/scheduler.ts', text }), text).toHaveLength(1);
    }
    const comment = "// import { a } from '../node/manager.js';\nconst text = \"import x from '../node/manager.js'\";";
    expect(checkImports({ path: 'src/global/scheduler.ts', text: comment })).toEqual([]);
  });
});

describe('the purity rule', () => {
  it.each([
    'async function f() {}',
    'const f = async () => 1;',
    'class A { async f() {} }',
    'const p = Promise.resolve();',
    'function f(): Promise<void> { throw new Error(); }',
    'setTimeout(() => {}, 1);',
    'const t = Date.now();',
    'const t = new Date();',
    'const t = performance.now();',
    'const r = Math.random();',
    'console.log(1);',
    'const e = process.env;',
  ])('refuses %s', (text) => {
    expect(checkPurity({ path: 'src/node/manager.ts', text })).toHaveLength(1);
    expect(checkPurity({ path: 'src/engine/step-time.ts', text })).toHaveLength(1);
    for (const path of [
      'src/node/service.ts',
      'src/engine/vllm/client.ts',
      'src/gateway/gateway.ts',
      'src/node/manager.test.ts',
    ]) {
      expect(checkPurity({ path, text }), path).toEqual([]);
    }
  });

  it.each([
    '// a promise, setTimeout and Date.now() in a comment',
    "const text = 'await Math.random()';",
    'const d = new Date(5);',
    'const x = { process: 1, fetch: 2 }; const y = x.process;',
    'const m = Math.max(1, 2);',
  ])('allows %s', (text) => {
    expect(checkPurity({ path: 'src/node/manager.ts', text })).toEqual([]);
  });
});

describe('the other rules', () => {
  it('count lines outside tests', () => {
    const text = 'x;\n'.repeat(MAX_LINES + 1);
    expect(checkLength({ path: 'src/a/b.ts', text })).toEqual([
      `src/a/b.ts:${MAX_LINES}: 401 lines are more than 400; split the idea`,
    ]);
    expect(checkLength({ path: 'src/a/b.ts', text: text.slice(3) })).toEqual([]);
    expect(checkLength({ path: 'src/a/b.test.ts', text })).toEqual([]);
    expect(checkLength({ path: 'docs/a.md', text })).toEqual([]);
  });

  it.each(['export default 1;', 'export default function f() {}', 'const a = 1;\nexport { a };\nexport default a;'])(
    'refuse %s',
    (text) => {
      expect(checkDefaultExports({ path: 'src/a/b.ts', text })).toHaveLength(1);
      expect(checkDefaultExports({ path: 'vitest.config.ts', text })).toEqual([]);
    },
  );

  it.each([
    `// ${'TO'}${'DO'}: later`,
    `${'FIX'}${'ME'}`,
    `see ../${'shared'}/design.md`,
    `cd /${'work'}/main`,
    `${'farm'}-submit`,
    `"resolved": "https://${'registry'}.npmjs.org/zod"`,
  ])('refuse %s', (text) => {
    expect(checkWords({ path: 'docs/a.md', text: `fine\n${text}\n` })).toEqual([
      expect.stringMatching(/^docs\/a\.md:2: /),
    ]);
  });

  it('allow what only looks like an unwanted word', () => {
    const text = 'todo list, shared/state, artwork/x, src/global/order/registry.ts, farms-and-fields, xxx\n';
    expect(checkWords({ path: 'docs/a.md', text })).toEqual([]);
  });
});
