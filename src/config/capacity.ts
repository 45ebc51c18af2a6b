import { kvBytesForSequence } from '../model/memory.js';
import { catalogueOf } from './catalogue.js';
import type { ConfigPath, Finding } from './problem.js';
import { formatBytes } from './quantity.js';
import type { EngineConfig, MaestroConfig, NodeConfig } from './schema.js';
import { type EngineSizing, isSleepCapable, sizeEngine } from './sizing.js';

interface Sized {
  readonly engine: EngineConfig;
  readonly sizing: EngineSizing;
  readonly path: ConfigPath;
}

/**
 * Checks that every engine fits its GPUs, that what begins awake fits together, and that sleeping weights fit the host. Needs a
 * config that has passed the schema and the reference checks. Engines whose model or GPU is unknown are passed over.
 */
export function checkCapacity(config: MaestroConfig): Finding[] {
  const catalogue = catalogueOf(config);
  return config.fleet.nodes.flatMap((node, nodeIndex) => {
    const nodePath = ['fleet', 'nodes', nodeIndex];
    const sized = node.engines.flatMap((engine, index): Sized[] => {
      const sizing = sizeEngine(engine, node, catalogue);
      return sizing ? [{ engine, sizing, path: [...nodePath, 'engines', index] }] : [];
    });
    const single = sized.flatMap((entry) => checkEngine(entry, node));
    // A sum over engines that do not even fit alone would only repeat the news.
    if (single.some(({ severity }) => severity === 'error')) return single;
    const together = checkAwakeTogether(node, sized);
    return [
      ...single,
      ...(together.length > 0 ? together : checkNeverAwake(node, sized)),
      ...checkHostMemory(node, sized, nodePath),
    ];
  });
}

function checkEngine({ engine, sizing, path }: Sized, node: NodeConfig): Finding[] {
  const { llm, gpu, tp, weightBytes, kvPoolBytes, workspaceBytes, maxModelLen } = sizing;
  const error = (field: string, message: string, fix: string): Finding => ({
    path: [...path, field],
    at: 'value',
    severity: 'error',
    message,
    fix,
  });
  const mixed = engine.gpus.find((index) => node.gpus[index] !== node.gpus[engine.gpus[0]!]);
  if (mixed !== undefined) {
    return [
      error('gpus', `GPU ${mixed} is of another type than GPU ${engine.gpus[0]}`, 'A TP group needs equal GPUs.'),
    ];
  }
  if (llm.attentionHeads % tp !== 0) {
    const ofRank = engine.dataParallel > 1 ? ` of each of ${engine.dataParallel} ranks` : '';
    const fix = 'Use a number of GPUs that divides them.';
    return [error('gpus', `${llm.attentionHeads} attention heads cannot be split over ${tp} GPUs${ofRank}`, fix)];
  }
  const othersBytes = Math.max(0, ...engine.gpus.map((gpuIndex) => residueBytes(node, gpuIndex)));
  const neededBytes = weightBytes + kvPoolBytes + workspaceBytes + othersBytes;
  if (neededBytes > gpu.memoryBytes || weightBytes + othersBytes >= gpu.memoryBytes) {
    const workspace = workspaceBytes === 0 ? '' : ` + ${formatBytes(workspaceBytes)} workspace`;
    const parts = `${formatBytes(weightBytes)} weights + ${formatBytes(kvPoolBytes)} KV${workspace} + ${formatBytes(othersBytes)} residue of the engines on it`;
    return [
      error(
        engine.kvMemoryBytes === undefined ? 'model' : 'kvMemory',
        `${engine.id} does not fit its GPU: needs ${formatBytes(neededBytes)} (${parts}), ${gpu.name} has ${formatBytes(gpu.memoryBytes)}`,
        'Use a smaller kvMemory or dtype, or more GPUs.',
      ),
    ];
  }
  if (maxModelLen > llm.maxContextTokens) {
    return [
      error(
        'maxModelLen',
        `${maxModelLen} tokens are more than ${llm.name} allows`,
        `At most ${llm.maxContextTokens}.`,
      ),
    ];
  }
  const longestBytes = kvBytesForSequence(llm, Math.max(1, maxModelLen), engine.kvDtype, tp);
  if (longestBytes > kvPoolBytes) {
    const fix = `It needs ${formatBytes(longestBytes)} a GPU; the pool has ${formatBytes(kvPoolBytes)}. Use a larger kvMemory or a smaller maxModelLen.`;
    return [
      error(
        engine.maxModelLen === undefined ? 'model' : 'maxModelLen',
        `one sequence of ${Math.max(1, maxModelLen)} tokens does not fit the KV pool, so vLLM would not start`,
        fix,
      ),
    ];
  }
  return [];
}

/** GPU memory that stays taken for all engines of a GPU, awake or not. */
function residueBytes(node: NodeConfig, gpuIndex: number): number {
  return node.engines
    .filter((engine) => engine.gpus.includes(gpuIndex))
    .reduce((sum, engine) => sum + engine.residueBytes, 0);
}

function checkAwakeTogether(node: NodeConfig, sized: readonly Sized[]): Finding[] {
  return node.gpus.flatMap((_, gpuIndex): Finding[] => {
    // How a running server begins is not ours to say; only emulated engines begin as the file tells.
    const awake = sized.filter(
      ({ engine }) => engine.url === undefined && !engine.startAsleep && engine.gpus.includes(gpuIndex),
    );
    const last = awake.at(-1);
    if (!last || awake.length < 2) return [];
    const neededBytes =
      residueBytes(node, gpuIndex) +
      awake.reduce((sum, { sizing }) => sum + sizing.weightBytes + sizing.workspaceBytes + sizing.kvPoolBytes, 0);
    if (neededBytes <= last.sizing.gpu.memoryBytes) return [];
    const list = awake.map(({ engine }) => engine.id).join(', ');
    return [
      {
        path: last.path,
        at: 'value',
        severity: 'error',
        message: `the engines that begin awake do not fit GPU ${gpuIndex} of node ${node.id} together: ${list} need ${formatBytes(neededBytes)}, it has ${formatBytes(last.sizing.gpu.memoryBytes)}`,
        fix: 'Set startAsleep: true on one of them, or give each a smaller kvMemory.',
      },
    ];
  });
}

/** Engines for which those that stay awake, once they are, leave no room on a GPU. */
function checkNeverAwake(node: NodeConfig, sized: readonly Sized[]): Finding[] {
  return sized.flatMap((entry): Finding[] => {
    const { engine, sizing, path } = entry;
    // A server that is given by its URL and cannot sleep is awake.
    if (engine.url !== undefined && engine.launch === undefined && !isSleepCapable(engine)) return [];
    for (const gpuIndex of engine.gpus) {
      const staying = sized.filter(
        (other) =>
          other !== entry &&
          other.engine.gpus.includes(gpuIndex) &&
          (other.engine.pinned || !isSleepCapable(other.engine)),
      );
      const leftBytes =
        sizing.gpu.memoryBytes -
        residueBytes(node, gpuIndex) -
        staying.reduce((sum, other) => sum + leastAwakeBytes(other), 0);
      const neededBytes = leastAwakeBytes(entry);
      if (staying.length === 0 || neededBytes <= leftBytes) continue;
      const list = staying.map((other) => other.engine.id).join(', ');
      return [
        {
          path,
          at: 'value',
          severity: 'warning',
          message: `${engine.id} may never be awake: it needs ${formatBytes(neededBytes)} of GPU ${gpuIndex} of node ${node.id}, and ${list}, which never sleep once awake, leave ${formatBytes(Math.max(0, leftBytes))}`,
          fix: 'Let them sleep (sleep, pinned), or give one a smaller kvMemory or another GPU.',
        },
      ];
    }
    return [];
  });
}

/** What an engine cannot do without while it is awake, per GPU, its residue not counted. */
function leastAwakeBytes({ engine, sizing }: Sized): number {
  const { weightBytes, workspaceBytes, kvPoolBytes } = sizing;
  return weightBytes + workspaceBytes + (engine.kvcached?.leastBytes ?? kvPoolBytes);
}

function checkHostMemory(node: NodeConfig, sized: readonly Sized[], path: ConfigPath): Finding[] {
  if (node.hostMemoryBytes === undefined) return [];
  const { memoryBytes: stagingBytes = 0 } = node.staging ?? {};
  if (stagingBytes > node.hostMemoryBytes) {
    return [
      {
        path: [...path, 'staging', 'memory'],
        at: 'value',
        severity: 'error',
        message: `copies of weights may take ${formatBytes(stagingBytes)} of host RAM, the node has ${formatBytes(node.hostMemoryBytes)} for all`,
        fix: 'Use a smaller staging.memory; what is left of hostMemory is for pinned weights.',
      },
    ];
  }
  const hostBytes = node.hostMemoryBytes - stagingBytes;
  const sum = (entries: readonly Sized[]) =>
    entries.reduce((total, { sizing }) => total + sizing.weightBytes * sizing.gpuCount, 0);
  const asleepBytes = sum(sized.filter(({ engine }) => engine.startAsleep));
  const allBytes = sum(sized.filter(({ engine }) => isSleepCapable(engine)));
  const finding = { path: [...path, 'hostMemory'], at: 'value' } as const;
  if (asleepBytes > hostBytes) {
    return [
      {
        ...finding,
        severity: 'error',
        message: `the weights that begin asleep need ${formatBytes(asleepBytes)} of host RAM, the node has ${formatBytes(hostBytes)}`,
      },
    ];
  }
  if (allBytes <= hostBytes) return [];
  return [
    {
      ...finding,
      severity: 'warning',
      message: `all engines asleep would need ${formatBytes(allBytes)} of host RAM, the node has ${formatBytes(hostBytes)}`,
      fix: 'Some then drop their weights and read them again from disk, or from a copy in RAM (staging).',
    },
  ];
}
