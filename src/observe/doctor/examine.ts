import { readFileSync } from 'node:fs';
import { stat, statfs } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { checkpointFiles, sumBytes } from '../../engine/staging/checkpoint-files.js';
import { TMPFS_MAGIC } from '../../engine/staging/ram-disk.js';
import { readHost } from '../../engine/telemetry/host.js';
import { availableMemory } from '../../engine/telemetry/memory-limit.js';
import { NvidiaSmiSource } from '../../engine/telemetry/nvidia-smi.js';
import { VllmClient } from '../../engine/vllm/client.js';
import { discoverEngine } from '../../engine/vllm/discover.js';
import type { EngineTls } from '../../engine/vllm/engine-tls.js';
import { messageOf } from '../../model/error.js';
import type { EngineSpec, NodeSpec } from '../../model/fleet.js';
import { type AskedEmbedder, examineEmbedder } from './embedder-checks.js';
import { checkEngine, isLocal } from './engine-checks.js';
import { exposedAddresses } from './exposure.js';
import { type Finding, problem } from './finding.js';
import { checkGpus } from './gpu-checks.js';
import { checkDisks, checkHostMemory, checkNodeVersion, checkOnnx, checkOpenFiles, checkSwap } from './host-checks.js';
import { examineKvcached } from './kvcached-checks.js';
import { type PlannedLaunch, probeLaunch } from './launch-checks.js';
import { checkModel, examineModel } from './model-checks.js';
import { serversAt } from './servers-at.js';
import { checkStaging } from './staging-checks.js';

/** What is known of the set-up beside its nodes. */
export interface Known {
  /** By engine id, as are the launches of engines that Maestro starts. */
  readonly apiKeys?: ReadonlyMap<string, string>;
  readonly launches?: ReadonlyMap<string, PlannedLaunch>;
  /** For engines at `https://` URLs. */
  readonly tls?: EngineTls | undefined;
  /** Undefined where none is to be asked. */
  readonly embedder?: AskedEmbedder;
}

/**
 * Looks at this host, at the prediction model, and at every engine of the nodes. Changes nothing; asks each server a few questions.
 *
 * @param modelFile Undefined where no model is to predict.
 */
export async function examine(
  nodes: readonly NodeSpec[],
  modelFile: string | undefined,
  { apiKeys, launches, tls, embedder }: Known = {},
): Promise<Finding[]> {
  const engines = nodes.flatMap((node) => node.engines);
  const local = nodes.filter((node) => node.engines.some(({ url }) => isLocal(url)));
  const parts = await Promise.all([
    [checkNodeVersion(process.versions.node), checkOnnx(loadOnnx()), checkOpenFiles(readLimits())],
    [modelFile === undefined ? checkModel(undefined) : await examineModel(modelFile)],
    embedder ? [await examineEmbedder(embedder)] : [],
    examineHost(local, launches),
    ...local.map(examineStaging),
    ...local.map(examineKvcached),
    ...local.filter(({ gpus }) => gpus.length > 0).map(examineGpus),
    ...engines.map((engine) =>
      examineEngine(engine, apiKeys?.get(engine.engineId), tls, launches?.get(engine.engineId)),
    ),
  ]);
  return parts.flat();
}

async function examineHost(nodes: readonly NodeSpec[], launches: Known['launches']): Promise<Finding[]> {
  let neededBytes = 0;
  let statedBytes = 0;
  for (const { engines, hostMemoryBytes } of nodes) {
    statedBytes += hostMemoryBytes;
    for (const { sleepCapable, weightBytes, gpuIndices } of engines) {
      if (sleepCapable) neededBytes += weightBytes * Math.max(1, gpuIndices.length);
    }
  }
  try {
    const seen = await readHost();
    const engines = nodes.flatMap((node) => node.engines);
    // Engines that somebody else starts on this host are in control groups of their own, as the containers of one pod are.
    const limited = engines.length === 0 || engines.some(({ engineId }) => launches?.has(engineId));
    const host = limited ? seen : { ...seen, memoryLimit: undefined };
    const memory = checkHostMemory(host, neededBytes, nodes.length === 0 ? undefined : statedBytes);
    return [memory, ...checkSwap(host), ...checkDisks(host)];
  } catch (error) {
    return [
      problem(
        'host-memory',
        'host',
        `the host cannot be looked at: ${messageOf(error)}`,
        'Run where /proc is visible.',
      ),
    ];
  }
}

async function examineStaging({ nodeId, staging, engines }: NodeSpec): Promise<Finding[]> {
  if (!staging) return [];
  const nearest = await nearestFolder(staging.folder);
  const { type, bsize, bavail } = await statfs(nearest);
  const copies = await Promise.all(
    engines
      .filter(({ sleepCapable }) => sleepCapable)
      .map(async ({ engineId, weightsFolder }) => ({
        engineId,
        files: weightsFolder === undefined ? undefined : await filesOf(weightsFolder),
      })),
  );
  const place = { ramDisk: type === TMPFS_MAGIC, freeBytes: bsize * bavail, availableBytes: availableMemory() };
  return checkStaging(nodeId, staging, place, copies);
}

/** The folder is made at the first start: until then its parent tells. */
async function nearestFolder(folder: string): Promise<string> {
  for (let at = folder; ; at = dirname(at)) {
    if (at === dirname(at) || (await stat(at).catch(() => undefined))?.isDirectory()) return at;
  }
}

async function filesOf(folder: string): Promise<{ bytes: number } | { reason: string }> {
  return checkpointFiles(folder).then(
    (files) => ({ bytes: sumBytes(files) }),
    (error: unknown) => ({ reason: messageOf(error) }),
  );
}

async function examineGpus(node: NodeSpec): Promise<Finding[]> {
  const seen = await new NvidiaSmiSource().read().catch((error: unknown) => ({ reason: messageOf(error) }));
  return checkGpus(node, seen);
}

async function examineEngine(
  spec: EngineSpec,
  apiKey: string | undefined,
  tls: EngineTls | undefined,
  launch: PlannedLaunch | undefined,
): Promise<Finding[]> {
  const client = new VllmClient({ url: spec.url, apiKey, tls });
  try {
    const [found, exposedAt] = await Promise.all([discoverEngine(client), exposedAddresses(spec.url)]);
    return checkEngine({
      servers: found.ok ? await serversAt({ url: spec.url, apiKey, tls }) : 1,
      spec,
      found: found.ok
        ? found.value
        : { reason: found.failure.message, status: found.failure.status, kind: found.failure.kind },
      exposedAt,
      hasKey: apiKey !== undefined,
      launch: launch && (await probeLaunch(launch)),
    });
  } finally {
    await client.close();
  }
}

function loadOnnx(): { version: string } | { reason: string } {
  try {
    const require = createRequire(import.meta.url);
    require('onnxruntime-node');
    const { version } = require('onnxruntime-node/package.json') as { version: string };
    return { version };
  } catch (error) {
    return { reason: messageOf(error).split('\n')[0]! };
  }
}

function readLimits(): string | undefined {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return undefined;
  }
}
