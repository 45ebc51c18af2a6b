import { freemem, totalmem } from 'node:os';
import type { MaestroConfig } from '../config/schema.js';
import { availableMemory, memoryLimit } from '../engine/telemetry/memory-limit.js';
import { engineAddress, isLoopback } from '../model/engine-address.js';
import type { NodeSpec } from '../model/fleet.js';
import type { Logger } from '../observe/log.js';

type Fleet = Pick<MaestroConfig, 'fleet'>;

/** Told at the start, because nothing would tell later: what pins too much is ended by the kernel, and all else in its container with it. */
export function tellOfMissingMemory(
  config: Fleet,
  logger: Pick<Logger, 'warn'>,
  mostBytes = memoryLimit()?.limitBytes ?? totalmem(),
): void {
  const statedBytes = statedHostMemory(config);
  if (statedBytes <= mostBytes) return;
  logger.warn(
    { statedBytes, mostBytes },
    'hostMemory counts on more RAM than this host, or the limit of this container, has; sleeping engines may be ended for want of memory (maestro doctor)',
  );
}

/** What the nodes whose engines are started here may take for sleeping weights and copies, where the file says. */
function statedHostMemory({ fleet: { nodes } }: Fleet): number {
  let statedBytes = 0;
  for (const { engines, hostMemoryBytes = 0 } of nodes) {
    if (engines.some(({ launch }) => launch !== undefined)) statedBytes += hostMemoryBytes;
  }
  return statedBytes;
}

/**
 * Tells what this host has left, for a node whose engines are all on it; undefined for others. The limits of our own control groups hold for engines that are started here; those of others live
 * in groups of their own.
 */
export function hostAvailableBytes(
  { nodeId, engines }: Pick<NodeSpec, 'nodeId' | 'engines'>,
  { fleet: { nodes } }: Fleet,
): (() => number) | undefined {
  if (!engines.every(({ url }) => isLoopback(engineAddress(url).host))) return undefined;
  const starts = nodes.some(({ id, engines }) => id === nodeId && engines.some(({ launch }) => launch !== undefined));
  return starts ? availableMemory : freemem;
}
