import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { parseConfig } from '../config/load.js';
import { keyFileFindings } from './doctor.js';
import { runCli } from './program.js';

const folder = mkdtempSync(join(tmpdir(), 'maestro-doctor-'));
afterEach(() => {
  vi.restoreAllMocks();
});
afterAll(() => rmSync(folder, { recursive: true }));

it('doctor tells what the fleet file says and was most likely not meant', async () => {
  const file = join(folder, 'fleet.yaml');
  writeFileSync(
    file,
    `prediction: {model: none}
fleet:
  nodes:
    - id: n
      gpus: [h100-sxm]
      hostMemory: 512GiB
      engines:
        - {id: a, model: qwen3-8b, gpus: [0], kvMemory: 30GiB, startAsleep: true, pinned: true}
        - {id: b, model: qwen3-8b, gpus: [0], kvMemory: 30GiB, startAsleep: true}
`,
  );
  let out = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text);
    return true;
  });
  await runCli(['doctor', '--fleet', file, '--json']);
  const { findings } = JSON.parse(out) as { findings: { check: string; subject: string; message: string }[] };
  expect(findings.filter(({ check }) => check === 'config')).toMatchObject([
    { subject: `${file}:9`, severity: 'warning', message: expect.stringContaining('b may never be awake') },
  ]);
});

it('doctor looks into files of keys, at which a start would end', () => {
  const file = join(folder, 'team.key');
  const findings = () =>
    keyFileFindings(
      parseConfig(`gateway: {keys: [{keyFile: ${file}, tenant: t}, {keyEnv: NOT_SET_HERE, tenant: u}]}`, 'f.yaml', {}),
    );
  expect(findings()).toMatchObject([
    { check: 'keys', severity: 'problem', message: expect.stringContaining('ENOENT') },
  ]);
  writeFileSync(file, 'long-enough-a-key\n');
  expect(findings()).toEqual([]);
});
