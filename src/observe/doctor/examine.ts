import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { readHost } from '../../engine/telemetry/host.js';
import { NvidiaSmiSource } from '../../engine/telemetry/nvidia-smi.js';
import { VllmClient } from '../../engine/vllm/client.js';
import { discoverEngine } from '../../engine/vllm/discover.js';
import type { EngineSpec, NodeSpec } from '../../model/fleet.js';
import { checkEngine, isLoopback } from './engine-checks.js';
import { exposedAddresses } from './exposure.js';
import { type Finding, problem } from './finding.js';
import { checkGpus } from './gpu-checks.js';
import { checkHostMemory, checkNodeVersion, checkOnnx, checkOpenFiles } from './host-checks.js';
import { checkModel, examineModel } from './model-checks.js';

/**
 * Looks at this host, at the prediction model, and at every engine of the nodes. Changes nothing; asks each server a few questions.
 *
 * @param modelFile Undefined where no model is to predict.
 */
export async function examine(
  nodes: readonly NodeSpec[],
  modelFile: string | undefined,
  apiKeys: ReadonlyMap<string, string> = new Map(),
): Promise<Finding[]> {
  const engines = nodes.flatMap((node) => node.engines);
  const local = nodes.filter((node) => node.engines.some(({ url }) => isLoopback(new URL(url).hostname)));
  const parts = await Promise.all([
    [checkNodeVersion(process.versions.node), checkOnnx(loadOnnx()), checkOpenFiles(readLimits())],
    [modelFile === undefined ? checkModel(undefined) : await examineModel(modelFile)],
    examineHost(local.flatMap((node) => node.engines)),
    ...local.filter(({ gpus }) => gpus.length > 0).map(examineGpus),
    ...engines.map((engine) => examineEngine(engine, apiKeys.get(engine.engineId))),
  ]);
  return parts.flat();
}

async function examineHost(engines: readonly EngineSpec[]): Promise<Finding[]> {
  let neededBytes = 0;
  for (const { sleepCapable, weightBytes, gpuIndices } of engines) {
    if (sleepCapable) neededBytes += weightBytes * Math.max(1, gpuIndices.length);
  }
  try {
    return checkHostMemory(await readHost(), neededBytes);
  } catch (error) {
    return [
      problem('host-memory', 'host', `the host cannot be looked at: ${text(error)}`, 'Run where /proc is visible.'),
    ];
  }
}

async function examineGpus(node: NodeSpec): Promise<Finding[]> {
  const seen = await new NvidiaSmiSource().read().catch((error: unknown) => ({ reason: text(error) }));
  return checkGpus(node, seen);
}

async function examineEngine(spec: EngineSpec, apiKey: string | undefined): Promise<Finding[]> {
  const client = new VllmClient({ url: spec.url, apiKey });
  try {
    const [found, exposedAt] = await Promise.all([discoverEngine(client), exposedAddresses(spec.url)]);
    return checkEngine({
      spec,
      found: found.ok ? found.value : { reason: found.failure.message, status: found.failure.status },
      exposedAt,
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
    return { reason: text(error).split('\n')[0]! };
  }
}

function readLimits(): string | undefined {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return undefined;
  }
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
