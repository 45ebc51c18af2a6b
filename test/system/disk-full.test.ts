/** A disk that is full under everything that `maestro up` writes: its log, the decision log, what the predictor has learned, the records of started engines. */
import { type ChildProcess, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import { mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MAESTRO, ROOT } from './built.js';
import { ScriptedEngine } from './scripted-engine.js';

let folder = '';
let child: ChildProcess | undefined;
const engine = new ScriptedEngine();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'maestro-full-'));
});
afterEach(async () => {
  child?.kill('SIGKILL');
  await engine.stop();
  rmSync(folder, { recursive: true, force: true });
});

it('serves on, counts what it could not write, and ends in order', { timeout: 120_000 }, async () => {
  const full = (name: string) => {
    symlinkSync('/dev/full', join(folder, name));
    return join(folder, name);
  };
  full('state.json.new');
  const config = {
    fleet: { nodes: [{ id: 'n', engines: [{ id: 'e', model: 'm', url: await engine.start() }] }] },
    prediction: { stateFile: join(folder, 'state.json') },
    observe: { logLevel: 'debug', decisionLog: full('decisions.jsonl') },
  };
  const file = join(folder, 'fleet.json');
  writeFileSync(file, JSON.stringify(config));
  child = spawn(process.execPath, [MAESTRO, 'up', '--fleet', file, '--port', '0'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', openSync('/dev/full', 'w')],
  });
  let address = '';
  for await (const [chunk] of on(child.stdout!, 'data', { close: ['end'] })) {
    address = /serves at (http:\/\/\S+)/.exec(String(chunk))?.[1] ?? '';
    if (address) break;
  }
  for (let count = 0; count < 20; count++) {
    const { statusCode, body } = await request(`${address}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hello' }], max_tokens: 4 }),
    });
    await body.dump();
    expect(statusCode).toBe(200);
  }
  for (let lost = 0; lost !== 20; ) {
    const page = await (await request(`${address}/metrics`)).body.text();
    lost = Number(/^maestro_decision_log_lost_total (\d+)$/m.exec(page)![1]);
    expect(lost).toBeLessThanOrEqual(20);
  }
  child.kill('SIGTERM');
  expect(await once(child, 'exit')).toEqual([0, null]);
});
