import type { EngineSpec, EngineView } from '../src/model/fleet.js';

/** A running, idle engine for tests; `engineId` is `node/engine`. */
export function makeView(
  engineId: string,
  overrides: Partial<Omit<EngineView, 'spec'>> = {},
  spec: Partial<EngineSpec> = {},
): EngineView {
  return {
    spec: {
      engineId,
      nodeId: engineId.split('/')[0]!,
      model: 'model-a',
      url: 'http://127.0.0.1:8000',
      gpuIndices: [0],
      weightBytes: 16e9,
      kvPoolBytes: 50e9,
      kvBytesPerToken: 131_072,
      kvPoolTokens: 100_000,
      residueBytes: 1e9,
      maxNumSeqs: 256,
      maxModelLen: 131_072,
      seats: 8,
      sleepCapable: true,
      ...spec,
    },
    state: 'running',
    version: 1,
    observedAtMs: 0,
    seats: 8,
    leases: 0,
    reservedKvTokens: 0,
    kvPoolTokens: 100_000,
    readyInMs: 0,
    disturbanceMs: 0,
    pendingPrefillTokens: 0,
    engineWaiting: 0,
    enginePreemptions: 0,
    ...overrides,
  };
}
