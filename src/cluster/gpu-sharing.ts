import type { EngineSpec, EngineView } from '../model/fleet.js';
import type { EngineRecord } from './engine-record.js';

/**
 * Which engines share a GPU, and how many stages wait there for a sleeping one. Keeps {@link EngineRecord.heldBeside} of every engine. Constant work unless that number changes, then
 * as much as the node has engines.
 */
export class GpuSharing {
  private readonly byNode = new Map<string, EngineRecord[]>();

  /** The engine has a new view; without one before it is new itself. */
  changed(engine: EngineRecord, before: EngineView | undefined): void {
    if (before && isSamePlace(before.spec, engine.view.spec)) {
      const more = heldAsleep(engine.view) - heldAsleep(before);
      if (more !== 0) for (const other of this.beside(engine)) other.heldBeside += more;
      return;
    }
    if (before) this.leave(before.spec.nodeId, engine);
    const { nodeId } = engine.view.spec;
    const here = this.byNode.get(nodeId) ?? [];
    this.byNode.set(nodeId, [...here, engine]);
    this.countAnew(nodeId);
  }

  removed(engine: EngineRecord): void {
    this.leave(engine.view.spec.nodeId, engine);
  }

  private leave(nodeId: string, engine: EngineRecord): void {
    const left = (this.byNode.get(nodeId) ?? []).filter((other) => other !== engine);
    if (left.length > 0) this.byNode.set(nodeId, left);
    else this.byNode.delete(nodeId);
    this.countAnew(nodeId);
  }

  private countAnew(nodeId: string): void {
    for (const engine of this.byNode.get(nodeId) ?? []) {
      engine.heldBeside = this.beside(engine).reduce((sum, { view }) => sum + heldAsleep(view), 0);
    }
  }

  private beside(engine: EngineRecord): EngineRecord[] {
    const { nodeId, gpuIndices } = engine.view.spec;
    const here = this.byNode.get(nodeId) ?? [];
    return here.filter(
      (other) => other !== engine && other.view.spec.gpuIndices.some((gpu) => gpuIndices.includes(gpu)),
    );
  }
}

/** Stages that wait at an engine which sleeps: for room on its GPUs. One that wakes has it already. */
function heldAsleep({ state, leases }: EngineView): number {
  return state === 'sleeping' || state === 'sleeping-deep' ? leases : 0;
}

/** The views of one engine may carry copies of its description. */
function isSamePlace(a: EngineSpec, b: EngineSpec): boolean {
  if (a === b) return true;
  const { nodeId, gpuIndices } = a;
  return (
    nodeId === b.nodeId &&
    gpuIndices.length === b.gpuIndices.length &&
    gpuIndices.every((gpu, index) => gpu === b.gpuIndices[index])
  );
}
