import { parseConfig } from '../../src/config/load.js';
import { toNodeSpecs } from '../../src/config/node-specs.js';
import type { EngineSpec, NodeSpec } from '../../src/model/fleet.js';
import type { Rng } from '../../src/model/rng.js';

const MODELS = ['llama-3.1-8b', 'qwen3-8b', 'qwen2.5-7b', 'mistral-small-24b', 'qwen3-32b'];
const GPUS = ['h100-sxm', 'h200-sxm', 'l40s', 'a100-sxm-80gb'];

/**
 * A fleet in the config syntax: one to three nodes in one or two clusters, engines that share GPUs or span two, some that cannot sleep or are pinned, some with an elastic pool, much host memory or little,
 * with copies of weights in RAM or without. Every engine can be awake beside those that never sleep.
 */
export function randomFleet(rng: Rng): string {
  for (;;) {
    const nodes = Array.from({ length: 1 + Math.floor(rng.next() * 3) }, (_, index) => randomNode(rng, index));
    const deadline = 5 + Math.floor(rng.next() * 60);
    const fleet = `
classes:
  - { name: interactive, kind: interactive, deadline: ${deadline}s, tpot: 60ms }
  - { name: batch, kind: batch, deadline: 10m }
fleet:
  nodes:
${nodes.join('\n')}
`;
    if (isSound(fleet)) return fleet;
  }
}

function randomNode(rng: Rng, index: number): string {
  const chance = (share: number) => rng.next() < share;
  const int = (from: number, to: number) => from + Math.floor(rng.next() * (to - from + 1));
  const pick = <T>(items: readonly T[]): T => items[int(0, items.length - 1)]!;
  const gpus = int(1, 2);
  const hostGiB = int(40, 400);
  const engines = Array.from({ length: int(1, 4) }, (_, engine) =>
    [
      `id: n${index}e${engine}`,
      `model: ${pick(MODELS)}`,
      `gpus: [${gpus === 2 && chance(0.25) ? '0, 1' : int(0, gpus - 1)}]`,
      `kvMemory: ${int(3, 30)}GiB`,
      `maxModelLen: ${pick([8192, 16384])}`,
      `maxNumSeqs: ${pick([2, 8, 32, 256])}`,
      ...(chance(0.4) ? [`kvcached: { least: ${int(1, 3)}GiB }`] : []),
      ...(chance(0.15) ? ['sleep: false'] : ['startAsleep: true', ...(chance(0.15) ? ['pinned: true'] : [])]),
    ].join(', '),
  );
  return [
    `    - id: n${index}`,
    `      cluster: c${int(0, 1)}`,
    `      gpus: { type: ${pick(GPUS)}, count: ${gpus} }`,
    `      hostMemory: ${hostGiB}GiB`,
    ...(chance(0.4) ? [`      staging: { memory: ${Math.floor(0.6 * hostGiB)}GiB }`] : []),
    '      engines:',
    ...engines.map((engine) => `        - { ${engine} }`),
  ].join('\n');
}

/** Can it be read, and can each engine be awake beside those that never sleep? */
function isSound(fleet: string): boolean {
  let nodes: readonly NodeSpec[];
  try {
    nodes = toNodeSpecs(parseConfig(fleet, 'fleet'));
  } catch {
    return false;
  }
  return nodes.every(({ engines, gpus }) =>
    gpus.every(({ memoryBytes }, gpu) => {
      const here = engines.filter(({ gpuIndices }) => gpuIndices.includes(gpu));
      const staying = here.filter(({ sleepCapable, pinned }) => !sleepCapable || pinned);
      const others = here.filter((engine) => !staying.includes(engine));
      const takenBytes =
        here.reduce((sum, { residueBytes }) => sum + residueBytes, 0) +
        staying.reduce((sum, engine) => sum + awakeBytes(engine), 0);
      return takenBytes + Math.max(0, ...others.map(awakeBytes)) <= memoryBytes;
    }),
  );
}

function awakeBytes({ weightBytes, workspaceBytes = 0, kvPoolBytes }: EngineSpec): number {
  return weightBytes + workspaceBytes + kvPoolBytes;
}
