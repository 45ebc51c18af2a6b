import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { configReference } from './reference.js';
import { configSchema } from './schema.js';

const FILE = join(import.meta.dirname, '../../docs/configuration.md');
const MARK = '<!-- fields -->\n';

it('docs/configuration.md lists every field as the schema has it', async () => {
  const [prose] = readFileSync(FILE, 'utf8').split(MARK);
  await expect(`${prose}${MARK}\n${configReference()}`).toMatchFileSnapshot(FILE);
});

it('the default classes in the docs are the default classes', () => {
  const [, yaml = ''] = /```yaml\n(classes:[\s\S]*?)```/.exec(readFileSync(FILE, 'utf8')) ?? [];
  const { classes, defaultClass } = configSchema.parse(parse(yaml));
  expect({ classes, defaultClass }).toEqual({
    classes: configSchema.parse({}).classes,
    defaultClass: configSchema.parse({}).defaultClass,
  });
});
