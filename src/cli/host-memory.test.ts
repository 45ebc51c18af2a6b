import { freemem } from 'node:os';
import { expect, it, vi } from 'vitest';
import { parseConfig } from '../config/load.js';
import { availableMemory } from '../engine/telemetry/memory-limit.js';
import type { EngineSpec } from '../model/fleet.js';
import { GiB } from '../model/units.js';
import { hostAvailableBytes, tellOfMissingMemory } from './host-memory.js';

const LAUNCH = 'launch: {weights: /models/a}';

function config(started: boolean) {
  return parseConfig(
    `fleet: {nodes: [{id: n, gpus: {type: h100-sxm, count: 1}, hostMemory: 64GiB,
      engines: [{id: a, model: llama-3.1-8b, gpus: [0], url: "http://127.0.0.1:8001", sleep: true${started ? `, ${LAUNCH}` : ''}}]}]}`,
    'fleet.yaml',
  );
}

it.each([
  ['there is less', true, 32, 1],
  ['there is as much', true, 64, 0],
  ['engines of others live under other limits', false, 32, 0],
])('the start tells of host memory that is not there: %s', (_, started, mostGib, times) => {
  const warn = vi.fn();
  tellOfMissingMemory(config(started), { warn }, mostGib * GiB);
  expect(warn).toHaveBeenCalledTimes(times);
});

const HERE = ['http://127.0.0.1:8001', 'unix:/run/a.sock'];

it.each([
  ['all its engines are here, within our limits where one is started here', HERE, true, availableMemory],
  ['all its engines are here, whatever limits hold for us where others start them', HERE, false, freemem],
  ['one is elsewhere', ['http://127.0.0.1:8001', 'http://gpu-7:8000'], true, undefined],
])('what the host of a node has left is told where %s', (_, urls, started, told) => {
  const node = { nodeId: 'n', engines: urls.map((url) => ({ url }) as EngineSpec) };
  expect(hostAvailableBytes(node, config(started))).toBe(told);
});
