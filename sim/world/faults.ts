import type { NodeSpec } from '../../src/model/fleet.js';
import type { EventLoop } from '../event-loop.js';
import type { SimFault } from '../types.js';

/** Sets every fault at its time. A node that dies takes all of its engines along. */
export function planFaults(
  faults: readonly SimFault[],
  nodes: readonly NodeSpec[],
  loop: EventLoop,
  crash: (engineId: string, downMs: number) => void,
  restartController: (downMs: number) => void,
): void {
  for (const fault of faults) {
    loop.at(fault.atMs, () => {
      if (fault.kind === 'controller-restart') restartController(fault.downMs);
      else if (fault.kind === 'engine-crash') crash(fault.engineId, fault.downMs);
      else {
        const engines = nodes.find(({ nodeId }) => nodeId === fault.nodeId)?.engines ?? [];
        for (const { engineId } of engines) crash(engineId, fault.downMs);
      }
    });
  }
}
