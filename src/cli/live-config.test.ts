import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig, readConfig } from '../config/load.js';
import type { MaestroConfig } from '../config/schema.js';
import { createLogger } from '../observe/log.js';
import { ConfigReload, changedFields, LIVE_FIELDS, withLiveFields } from './live-config.js';

const KEY = '{key: a-long-enough-key, tenant: t}';
/** A value of each live field that is not its default. */
const VALUES: Readonly<Record<string, string>> = {
  aliases: 'aliases: {small: llama-3.1-8b}',
  defaultClass: 'defaultClass: batch',
  templates: 'templates: {nightly: {class: batch}}',
  parameters: 'parameters: {"*": {caps: {max_tokens: 5}}}',
  'gateway.keys': `gateway: {keys: [${KEY}]}`,
  'gateway.bodyLimit': 'gateway: {bodyLimit: 1MiB}',
  'gateway.heartbeat': 'gateway: {heartbeat: 3s}',
  'gateway.heartbeatWhole': 'gateway: {heartbeatWhole: 3s}',
  'gateway.timeouts.firstToken': 'gateway: {timeouts: {firstToken: 3s}}',
  'gateway.timeouts.betweenTokens': 'gateway: {timeouts: {betweenTokens: 3s}}',
  'gateway.timeouts.total': 'gateway: {timeouts: {total: 3s}}',
  'gateway.timeouts.idleWrite': 'gateway: {timeouts: {idleWrite: 3s}}',
  'observe.logLevel': 'observe: {logLevel: warn}',
  models: `models: [{name: own, layers: 2, hiddenSize: 64, attentionHeads: 4, kvHeads: 4, headDim: 16, ffnSize: 128, vocabSize: 1000, parametersB: 0.1, activeParametersB: 0.1, maxContextTokens: 4096}]`,
  gpus: 'gpus: [{name: own, memory: 8GiB, memoryBandwidth: 1TB/s, bf16Flops: 100TFLOPS, peerBandwidth: 50GB/s, hostBandwidth: 20GB/s}]',
  'fleet.nodes':
    'fleet: {nodes: [{id: other, gpus: [h100-sxm], engines: [{id: o, model: llama-3.1-8b, gpus: [0], url: "http://127.0.0.1:9"}]}]}',
};
const FLEET = `fleet: {nodes: [{id: n, gpus: [h100-sxm], hostMemory: 64GiB, engines: [{id: e, model: llama-3.1-8b, gpus: [0], kvMemory: 8GiB}]}]}`;

const config = (text: string) => parseConfig(text.startsWith('fleet:') ? text : `${text}\n${FLEET}`, 'f.yaml');
const running = config('');

describe('fields that take effect without a restart', () => {
  it.each(LIVE_FIELDS)('%s is taken from the new config, and all of it', (name) => {
    const next = config(VALUES[name]!);
    expect(withLiveFields(running, next)).toEqual(next);
    expect(next).not.toEqual(running);
  });

  it.each([
    'scheduling: {policy: edf}',
    'gateway: {timeouts: {queue: 3s}}',
    'gateway: {maxOpenRequests: 3}',
    'gateway: {insecure: true}',
    'observe: {decisionLog: /tmp/d.jsonl}',
    'listen: {port: 9999}',
  ])('not %s', (text) => {
    expect(config(text)).not.toEqual(running);
    expect(withLiveFields(running, config(text))).toEqual(running);
  });

  it('a default class that does not run yet waits', () => {
    const next = config(
      'classes: [{name: gold, kind: interactive, deadline: 5s}, {name: bulk, kind: batch, deadline: 1h}]\ndefaultClass: gold',
    );
    expect(withLiveFields(running, next)).toEqual(running);
  });
});

describe('changed fields', () => {
  it.each<[object, object, string[]]>([
    [{}, {}, []],
    [{ aliases: { a: 'x' } }, { aliases: { a: 'y' } }, ['aliases']],
    [{}, { gateway: { keys: [], maxOpenRequests: 1 } }, ['gateway.keys', 'gateway.maxOpenRequests']],
    [{ gateway: { timeouts: { total: '1h' } } }, {}, ['gateway.timeouts.total']],
    [{ fleet: { nodes: [1] } }, { fleet: { nodes: [1, 2] } }, ['fleet.nodes']],
    [{ fleet: 3 }, { fleet: {} }, ['fleet']],
  ])('from %j to %j: %j', (before, after, names) => {
    expect(changedFields(before, after)).toEqual(names);
  });

  it('an empty file is no fields', () => {
    expect(changedFields(null, { aliases: { a: 'x' } })).toEqual(['aliases']);
  });
});

describe('a reload', () => {
  it('compares with what was started, not with what the file has become since, and takes no empty file for a config', () => {
    const folder = mkdtempSync(join(tmpdir(), 'maestro-reload-'));
    const file = join(folder, 'f.yaml');
    const lines: string[] = [];
    const logger = createLogger({ level: 'debug', destination: { write: (line) => lines.push(line) } });
    const applied: MaestroConfig[] = [];
    try {
      writeFileSync(file, `gateway: {keys: [${KEY}]}\n${FLEET}`);
      const loaded = readConfig(file);
      writeFileSync(file, '');
      const apply = (next: MaestroConfig) => {
        applied.push(next);
        return ['fleet.nodes[n].gpus'];
      };
      const reload = new ConfigReload(loaded, apply, logger);
      for (const text of ['', '# soon\n']) {
        writeFileSync(file, text);
        reload.reload();
      }
      expect(applied).toEqual([]);
      expect(lines.join('')).toContain('the file is empty');
      writeFileSync(file, FLEET);
      reload.reload();
      expect(applied).toHaveLength(1);
      expect(lines.at(-2)).toContain('"changed":["gateway.keys"]');
      expect(lines.at(-1)).toContain('"waiting":["fleet.nodes[n].gpus"]');
      expect([reload.reloads, reload.failures]).toEqual([1, 2]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
