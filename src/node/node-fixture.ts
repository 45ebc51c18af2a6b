import type { Demand, EngineSpec, NodeSpec } from '../model/fleet.js';
import { findGpu } from '../model/gpu-catalogue.js';
import { GiB } from '../model/units.js';
import type { NodeAction } from './actions.js';
import type { NodeManager } from './manager.js';

/** Builders for the tests of this room. Weights are in GiB, so that sums are read at a glance. */
export function testEngine(
  engineId: string,
  changes: Partial<EngineSpec> & { weightGiB?: number; kvGiB?: number } = {},
): EngineSpec {
  const { weightGiB = 30, kvGiB = 20, ...rest } = changes;
  return {
    engineId,
    nodeId: 'n1',
    model: engineId,
    url: 'http://127.0.0.1:1',
    gpuIndices: [0],
    weightBytes: weightGiB * GiB,
    kvPoolBytes: kvGiB * GiB,
    kvBytesPerToken: 1,
    kvPoolTokens: 10_000,
    residueBytes: GiB,
    maxNumSeqs: 256,
    maxModelLen: 8192,
    seats: 2,
    sleepCapable: true,
    ...rest,
  };
}

export function testNode(engines: readonly EngineSpec[], changes: Partial<NodeSpec> = {}): NodeSpec {
  const gpu = { ...findGpu('h100-sxm')!, memoryBytes: 80 * GiB };
  return { nodeId: 'n1', clusterId: 'c1', gpus: [gpu, gpu], hostMemoryBytes: 512 * GiB, engines, ...changes };
}

export function testDemand(stageId: string, engineId: string, changes: Partial<Demand> = {}): Demand {
  return {
    stageId,
    engineId,
    sloClass: 'interactive',
    interactive: true,
    promptTokens: 100,
    kvTokens: 200,
    orderKey: 0,
    epoch: 1,
    ...changes,
  };
}

/** Actions in short: `grant s1`, `wake a 1`. */
export function brief(actions: readonly NodeAction[]): string[] {
  return actions.map((action) => {
    switch (action.kind) {
      case 'grant':
        return `grant ${action.lease.stageId}`;
      case 'release-hold':
        return `release ${action.stageId} ${action.reason}`;
      case 'requeue':
        return `requeue ${action.stageId}`;
      case 'kv-limit':
        return `kv-limit ${action.engineId} ${action.bytes / GiB}`;
      case 'canary':
        return `canary ${action.engineId}`;
      case 'stage':
      case 'unstage':
        return `${action.kind} ${action.folder}`;
      case 'wake':
        return `wake ${action.engineId} ${action.level}${action.from === 'host' ? ' from host' : ''}`;
      default:
        return `sleep ${action.engineId} ${action.level}`;
    }
  });
}

/** Brings engines up at the given levels. */
export function bringUp(manager: NodeManager, levels: Readonly<Record<string, 0 | 1 | 2>>, nowMs = 0): void {
  for (const [engineId, level] of Object.entries(levels)) {
    manager.engineEvent({ kind: 'engine-up', engineId, level }, nowMs);
  }
  manager.tick(nowMs);
}
