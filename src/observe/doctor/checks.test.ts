import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from 'vitest';
import type { DiscoveredEngine } from '../../engine/vllm/discover.js';
import { unknownEngineSpec } from '../../engine/vllm/discover.js';
import { findGpu } from '../../model/gpu-catalogue.js';
import { checkEngine } from './engine-checks.js';
import { exposedAddresses } from './exposure.js';
import type { Finding } from './finding.js';
import { checkGpus } from './gpu-checks.js';
import { checkDisks, checkHostMemory, checkNodeVersion, checkOnnx, checkOpenFiles, checkSwap } from './host-checks.js';
import { checkKvcached, examineKvcached } from './kvcached-checks.js';
import { probeLaunch } from './launch-checks.js';
import { checkStaging } from './staging-checks.js';

const GIB = 1024 ** 3;

function brief(findings: readonly Finding[]): string[] {
  return findings.map(({ severity, check }) => `${severity} ${check}`);
}

describe('host', () => {
  it.each([
    ['v20.19.0', 'ok'],
    ['20.20.2', 'ok'],
    ['v22.1.0', 'ok'],
    ['20.18.3', 'problem'],
    ['18.20.0', 'problem'],
  ])('Node %s: %s', (version, severity) => {
    expect(checkNodeVersion(version).severity).toBe(severity);
  });

  it('says which evaluator the predictors run on', () => {
    expect(checkOnnx({ version: '1.30.0' }).severity).toBe('ok');
    expect(checkOnnx({ reason: 'Cannot find module' })).toMatchObject({
      severity: 'warning',
      message: expect.stringContaining('TypeScript evaluator'),
    });
  });

  it.each([
    ['Max open files            1024                 524288               files', 'warning'],
    ['Max open files            unlimited            unlimited            files', 'ok'],
    ['Max open files            65536                65536                files', 'ok'],
    [undefined, 'ok'],
  ])('open files: %s', (limits, severity) => {
    expect(checkOpenFiles(limits).severity).toBe(severity);
  });

  const HOST = {
    cpuCores: 8,
    cpuLoad: 0,
    memoryTotalBytes: 100 * GIB,
    memoryAvailableBytes: 60 * GIB,
    swapUsedBytes: 0,
    disks: [{ mount: '/', totalBytes: 100 * GIB, freeBytes: 50 * GIB }],
  };
  const limit = (gib: number, available = gib) => ({ limitBytes: gib * GIB, availableBytes: available * GIB });
  it.each([
    ['fits', HOST, 50 * GIB, ['ok host-memory']],
    ['fits only when others leave', HOST, 80 * GIB, ['warning host-memory']],
    ['never fits', HOST, 120 * GIB, ['problem host-memory']],
    ['fits a limit of the container', { ...HOST, memoryLimit: limit(60) }, 50 * GIB, ['ok host-memory']],
    ['does not fit a limit', { ...HOST, memoryLimit: limit(40) }, 50 * GIB, ['problem host-memory']],
    ['fits a limit when others leave', { ...HOST, memoryLimit: limit(60, 20) }, 50 * GIB, ['warning host-memory']],
    ['swaps', { ...HOST, swapUsedBytes: 20 * GIB }, 0, ['ok host-memory', 'warning swap']],
    [
      'a full disk',
      { ...HOST, disks: [{ mount: '/var', totalBytes: GIB, freeBytes: 1 }] },
      0,
      ['ok host-memory', 'warning disk'],
    ],
  ])('memory: %s', (_name, host, neededBytes, expected) => {
    expect(brief([checkHostMemory(host, neededBytes), ...checkSwap(host), ...checkDisks(host)])).toEqual(expected);
  });

  it('memory: what the fleet file states is held against the host, and the weights against what it states', () => {
    expect(brief([checkHostMemory(HOST, 10, 2 * HOST.memoryTotalBytes)])).toContain('problem host-memory');
    expect(brief([checkHostMemory(HOST, 2 * HOST.memoryTotalBytes, 0.1 * HOST.memoryTotalBytes)])).toContain(
      'warning host-memory',
    );
    expect(brief([checkHostMemory(HOST, 10, 0.5 * HOST.memoryTotalBytes)])).toContain('ok host-memory');
    const container = { ...HOST, memoryLimit: limit(40) };
    expect(checkHostMemory(container, 10, 50 * GIB)).toMatchObject({
      severity: 'problem',
      message: expect.stringContaining('may take 40.0 GiB of the 100.0 GiB of this host'),
      fix: expect.stringContaining('MemoryMax'),
    });
  });

  const place = { ramDisk: true, freeBytes: 100 * GIB, availableBytes: 100 * GIB };
  it.each([
    ['all is well', place, { bytes: 10 * GIB }, ['ok']],
    ['a disk', { ...place, ramDisk: false }, { bytes: 1 }, ['warning']],
    ['the RAM disk is too small', { ...place, freeBytes: GIB }, { bytes: 1 }, ['problem']],
    ['the host has too little RAM', { ...place, availableBytes: GIB }, { bytes: 1 }, ['problem']],
    ['weights by name', place, undefined, ['ok', 'warning']],
    ['no weights there', place, { reason: 'no such folder' }, ['ok', 'problem']],
    ['weights that never fit', place, { bytes: 60 * GIB }, ['ok', 'warning']],
  ])('copies of weights in RAM: %s', (_name, where, files, expected) => {
    const staging = { folder: '/dev/shm/maestro', memoryBytes: 50 * GIB };
    const findings = checkStaging('n1', staging, where, [{ engineId: 'e1', files }]);
    expect(findings.map(({ severity }) => severity)).toEqual(expected);
    // Whatever is wrong says what to do.
    expect(findings.every(({ severity, fix }) => severity === 'ok' || fix !== undefined)).toBe(true);
  });
});

const FOUND: DiscoveredEngine = {
  modelNames: ['tiny'],
  adapters: [],
  maxLoras: undefined,
  emulated: false,
  root: 'tiny-llama',
  llm: undefined,
  version: '0.29.0',
  maxModelLen: 2048,
  kvPoolTokens: 1000,
  kvDtype: 'bf16',
  maxNumSeqs: 128,
  dataParallelRanks: 1,
  tensorParallelSize: 1,
  schedulingPolicy: 'priority',
  devMode: true,
  sleepMode: true,
  reloadsWeights: true,
  level: 0,
  metrics: undefined,
};

describe('engines', () => {
  const spec = { ...unknownEngineSpec('e1', 'n1', 'http://127.0.0.1:8000'), model: 'tiny', sleepCapable: true };
  const CASES: [string, Partial<DiscoveredEngine>, readonly string[], readonly string[]][] = [
    ['all is well', {}, [], ['ok reachable', 'ok sleep', 'ok exposure']],
    ['sleep mode off', { sleepMode: false }, [], ['ok reachable', 'problem sleep', 'ok exposure']],
    ['no sleep endpoints', { devMode: false, sleepMode: undefined }, [], ['ok reachable', 'problem sleep']],
    ['open to the network', {}, ['10.0.0.5:8000'], ['ok reachable', 'ok sleep', 'problem exposure']],
    [
      'another order inside',
      { schedulingPolicy: 'fcfs' },
      [],
      ['ok reachable', 'ok sleep', 'ok exposure', 'warning priority'],
    ],
    ['an untried version', { version: '0.41.0' }, [], ['ok reachable', 'warning version', 'ok sleep', 'ok exposure']],
    ['another model', { modelNames: ['big'] }, [], ['ok reachable', 'problem model', 'ok sleep', 'ok exposure']],
  ];
  it.each(CASES)('%s', (_name, found, exposedAt, expected) => {
    const findings = checkEngine({ spec, found: { ...FOUND, ...found }, exposedAt });
    expect(brief(findings)).toEqual(expected);
    for (const finding of findings) expect(finding.fix === undefined).toBe(finding.severity === 'ok');
  });

  it.each([
    [2, undefined],
    [1, 'a batch has calls of 1 of its 2 adapters at most; those of others wait inside it'],
  ])('an engine whose batches may mix %i adapters', (maxLoras, warning) => {
    const found = { ...FOUND, adapters: ['planner', 'critic'], maxLoras };
    const findings = checkEngine({ spec, found, exposedAt: [] });
    expect(findings.find(({ check }) => check === 'adapters')?.message).toBe(warning);
  });

  it.each([
    ['has the adapters of the config, and more', ['planner', 'critic'], undefined],
    ['lacks one', ['critic'], 'it has no adapter planner, which the config names'],
  ])('an engine that %s', (_, adapters, problem) => {
    const named = { ...spec, adapters: ['planner'] };
    const findings = checkEngine({ spec: named, found: { ...FOUND, adapters }, exposedAt: [] });
    expect(findings.find(({ check }) => check === 'adapters')?.message).toBe(problem);
    expect(findings[0]!.message).toContain(adapters.join(', '));
  });

  it.each([
    ['as the config says', [0, 1, 2, 3], 2, { dataParallelRanks: 2, tensorParallelSize: 2 }, undefined],
    ['more than the config says', [0, 1], undefined, { dataParallelRanks: 2 }, 'Set `dataParallel: 2`'],
    ['fewer than the config says', [0, 1], 2, {}, 'Set `dataParallel: 1`'],
    ['on fewer GPUs', [0, 1, 2, 3], 2, { dataParallelRanks: 2 }, 'Correct `gpus`'],
    ['of which only the URL is known', [], undefined, { dataParallelRanks: 2 }, undefined],
    ['without GPUs, as the config says', [], 2, { dataParallelRanks: 2 }, undefined],
    ['without GPUs, more than the config says', [], 2, { dataParallelRanks: 4 }, 'Set `dataParallel: 4`'],
  ])('data-parallel ranks %s', (_name, gpuIndices, dataParallel, found, fix) => {
    const ranked = { ...spec, gpuIndices, ...(dataParallel ? { dataParallel } : {}) };
    const findings = checkEngine({ spec: ranked, found: { ...FOUND, ...found }, exposedAt: [] });
    const warnings = findings.filter(({ severity }) => severity === 'warning');
    expect(warnings.map((warning) => warning.fix)).toEqual(fix === undefined ? [] : [expect.stringContaining(fix)]);
  });

  it('says what becomes of ranks that would be chosen', () => {
    const ranked = { ...spec, gpuIndices: [0, 1], dataParallel: 2, chosenRanks: 2 };
    const [warned] = checkEngine({ spec: ranked, found: FOUND, exposedAt: [] }).filter(
      ({ check }) => check === 'ranks',
    );
    expect(warned?.message).toContain('until they agree, vLLM chooses the rank of each call');
  });

  it('an engine with development endpoints on another host is exposed by that alone, unless it asks for certificates', async () => {
    expect(await exposedAddresses('http://gpu7:8000')).toEqual(['gpu7:8000']);
    const [, , exposure] = checkEngine({
      ...{ spec: { ...spec, url: 'https://gpu7:8000' }, found: FOUND, exposedAt: [] },
    });
    expect(exposure).toMatchObject({ severity: 'ok', message: expect.stringContaining('who show a certificate') });
  });

  it('says of an address behind which servers take turns that each needs its own', () => {
    const findings = checkEngine({ spec, found: FOUND, exposedAt: [], servers: 2 });
    expect(brief(findings)).toEqual(['ok reachable', 'problem servers', 'ok sleep', 'ok exposure']);
    expect(findings[1]).toMatchObject({ message: expect.stringContaining('2 servers'), fix: expect.any(String) });
  });

  it.each([
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '[::1]'],
  ])('finds development endpoints that answer at %s, of the old or the new protocol', async (address, host) => {
    const server = createServer((_request, response) => response.end('{"is_sleeping":false}'));
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const other = address === '::1' ? '127.0.0.2' : '::1';
      expect(await exposedAddresses(`http://localhost:${port}`, [address, other])).toEqual([`${host}:${port}`]);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it('an engine that asks for a key is told with the way to give it', () => {
    const found = { reason: 'GET /v1/models: 401 Unauthorized', status: 401 };
    const [finding] = checkEngine({ spec, found, exposedAt: [] });
    expect(finding).toMatchObject({ severity: 'problem', fix: expect.stringContaining('--api-key-env') });
    const [wrong] = checkEngine({ spec, found, exposedAt: [], hasKey: true });
    expect(wrong?.message).toContain('refuses the API key that it is sent');
  });

  it.each([
    ['can', {}, ['ok launch']],
    ['has no such program', { programFound: false }, ['problem launch']],
    ['has no such weights', { weightsFound: false }, ['problem launch']],
    ['fetches the weights', { weightsFound: false, fetch: ['hf', 'download'], fetchFound: true }, ['ok launch']],
    ['cannot fetch the weights', { weightsFound: false, fetch: ['hf', 'download'] }, ['problem launch']],
  ])('an engine that is not there yet, and that Maestro starts, on a host that %s', (_name, seen, expected) => {
    const launch = {
      program: ['vllm', 'serve'],
      weights: '/models/a',
      programFound: true,
      weightsFound: true,
      fetchFound: false,
      ...seen,
    };
    const findings = checkEngine({ spec, found: { reason: 'connect ECONNREFUSED' }, exposedAt: [], launch });
    expect(brief(findings)).toEqual(expected);
    const odd = { reason: 'GET /health: 500', status: 500 };
    expect(brief(checkEngine({ spec, found: odd, exposedAt: [], launch }))).toEqual(['problem reachable']);
  });

  it('looks for the program where a shell would, and for weights that are named by a path', async () => {
    const probe = (program: string, weights: string) => probeLaunch({ program: [program], weights });
    expect(await probe('node', 'org/model')).toMatchObject({ programFound: true, weightsFound: undefined });
    expect(await probe(process.execPath, import.meta.dirname)).toMatchObject({
      programFound: true,
      weightsFound: true,
    });
    expect(await probe('no-such-program', '/no/such')).toMatchObject({ programFound: false, weightsFound: false });
  });

  it('an engine that does not answer is told with the reason', () => {
    const [finding] = checkEngine({ spec, found: { reason: 'connect ECONNREFUSED' }, exposedAt: [] });
    expect(finding).toMatchObject({ severity: 'problem', message: expect.stringContaining('ECONNREFUSED') });
  });
});

it.each([
  ['lends', { flockFound: true, writable: true }, ['ok kvcached']],
  ['has no flock', { flockFound: false, writable: true }, ['problem kvcached']],
  ['has no shared memory', { flockFound: true, writable: false }, ['problem kvcached']],
  ['has neither', { flockFound: false, writable: false }, ['problem kvcached', 'problem kvcached']],
])('kvcached on a host that %s', (_name, place, expected) => {
  const findings = checkKvcached('n1', place);
  expect(brief(findings)).toEqual(expected);
  for (const finding of findings) expect(finding.fix === undefined).toBe(finding.severity === 'ok');
});

it('kvcached is looked at where an engine lends its pool', async () => {
  const node = (kvSegment?: string) => ({
    ...{ nodeId: 'n', clusterId: 'c', gpus: [], hostMemoryBytes: 1 },
    engines: [{ ...unknownEngineSpec('e1', 'n', 'http://127.0.0.1:1'), ...(kvSegment ? { kvSegment } : {}) }],
  });
  expect(await examineKvcached(node())).toEqual([]);
  expect((await examineKvcached(node('e1'))).map(({ check }) => check)).toContain('kvcached');
});

describe('GPUs', () => {
  const gpu = findGpu('h100-sxm')!;
  const node = { nodeId: 'n', clusterId: 'c', gpus: [gpu, gpu], hostMemoryBytes: 1, engines: [] };
  const reading = (index: number, totalBytes = gpu.memoryBytes) => ({
    index,
    uuid: undefined,
    name: 'NVIDIA H100 80GB HBM3',
    usedBytes: 0,
    totalBytes,
    utilization: undefined,
    temperatureC: undefined,
    powerW: undefined,
    xid: undefined,
  });

  it.each([
    ['as configured', [reading(0), reading(1)], ['ok gpu', 'ok gpu']],
    ['one is missing', [reading(0)], ['ok gpu', 'problem gpu']],
    ['another card', [reading(0), reading(1, 24 * GIB)], ['ok gpu', 'problem gpu']],
    ['an Xid', [reading(0), { ...reading(1), xid: 79 }], ['ok gpu', 'ok gpu', 'problem xid']],
    ['no driver', { reason: 'nvidia-smi is not installed' }, ['warning driver']],
  ])('%s', (_name, seen, expected) => {
    expect(brief(checkGpus(node, seen))).toEqual(expected);
  });
});
