import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { effectiveConfig } from './effective.js';
import { checkConfig } from './load.js';
import { configSchema } from './schema.js';

type Tree = Record<string, unknown> | unknown[];

const DEMO = parse(readFileSync('deploy/demo-fleet.yaml', 'utf8')) as Tree;

/** Every place of a tree: the mapping or list, and the key in it. */
function places(tree: Tree): { parent: Tree; key: string }[] {
  return Object.entries(tree).flatMap(([key, value]) => [
    { parent: tree, key },
    ...(typeof value === 'object' && value !== null ? places(value as Tree) : []),
  ]);
}

/** Something that somebody could have written by mistake. */
const mistake = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    '',
    [],
    {},
    -1,
    0,
    1e12,
    'llama-3.1-8',
    '80GiB',
    'node-a',
    'a-llama-8b',
    [0, 0],
    [9],
  ),
  fc.string(),
  fc.double(),
);

it('a config with any field replaced is either used or refused with problems that stand in the file', () => {
  const edit = fc.tuple(fc.nat(), mistake);
  fc.assert(
    fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
      const written = structuredClone(DEMO);
      for (const [pick, value] of edits) {
        const all = places(written);
        const place = all[pick % all.length];
        if (place) (place.parent as Record<string, unknown>)[place.key] = structuredClone(value);
      }
      const text = stringify(written);
      const { config, problems, written: read } = checkConfig(text, 'f.yaml', {});
      expect(config === undefined).toBe(problems.some(({ severity }) => severity === 'error'));
      const lines = text.split('\n');
      for (const { line, column, message } of problems) {
        expect(message).not.toBe('');
        expect(line).toBeLessThanOrEqual(lines.length);
        expect(column).toBeLessThanOrEqual((lines[line - 1]?.length ?? 0) + 1);
      }
      if (config) expect(configSchema.parse(effectiveConfig(read))).toEqual(config);
    }),
    { numRuns: 300 },
  );
});
