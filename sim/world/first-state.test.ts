import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/config/load.js';
import { toNodeSpecs } from '../../src/config/node-specs.js';
import { sleepersOf } from './first-state.js';

/** Who of two engines of 8B begins asleep on one H100 of 80 GB: 30 GiB of weights in all, and these pools and workspaces. */
function sleepers(fields: string, last = 'startAsleep: true'): string[] {
  const engine = (id: string, sleep: string) =>
    `{ id: ${id}, model: llama-3.1-8b, gpus: [0], maxModelLen: 8192, ${sleep}, ${fields} }`;
  const config = parseConfig(
    `fleet: { nodes: [{ id: n, gpus: { type: h100-sxm, count: 1 }, hostMemory: 256GiB, engines: [${engine('a', 'startAsleep: true')}, ${engine('b', last)}] }] }`,
    'fleet',
  );
  const [{ engines, gpus }] = toNodeSpecs(config) as [ReturnType<typeof toNodeSpecs>[number]];
  return engines.map(({ engineId }) => engineId).filter(sleepersOf(engines, gpus));
}

describe('the engines that begin asleep', () => {
  it('are those that have no room beside the ones before them', () => {
    expect(sleepers('kvMemory: 22GiB')).toEqual([]);
    expect(sleepers('kvMemory: 26GiB')).toEqual(['b']);
  });

  it('leave room for those that cannot sleep, wherever in the file they stand', () => {
    expect(sleepers('kvMemory: 26GiB', 'sleep: false')).toEqual(['a']);
  });

  it('need room for their workspace too', () => {
    expect(sleepers('kvMemory: 22GiB, workspace: 6GiB')).toEqual(['b']);
  });
});
