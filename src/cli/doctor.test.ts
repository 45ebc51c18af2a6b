import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { runCli } from './program.js';

const folder = mkdtempSync(join(tmpdir(), 'maestro-doctor-'));
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

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
