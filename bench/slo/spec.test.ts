import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.js';
import { toNodeSpecs } from '../../src/config/node-specs.js';
import { cellsOf, POLICY_NAMES } from './cells.js';
import { readSpec, runsIn, SLO_FOLDER } from './spec.js';

const spec = readSpec();

describe('slo.yaml', () => {
  it.each(spec.workloads.map((workload) => [workload.name, workload] as const))(
    '%s has what it names',
    (_, workload) => {
      const nodes = toNodeSpecs(loadConfig(join(SLO_FOLDER, workload.fleet)));
      const clusters = new Set(nodes.map(({ clusterId }) => clusterId));
      expect(Object.keys(workload.rttMs).filter((cluster) => !clusters.has(cluster))).toEqual([]);
      expect((workload.policies ?? []).filter((name) => !POLICY_NAMES.includes(name))).toEqual([]);
      for (const { spec: file } of 'phases' in workload ? workload.phases : [workload]) {
        expect(existsSync(join(SLO_FOLDER, file))).toBe(true);
      }
    },
  );

  it('has a fleet of 64 GPUs of three kinds in three clusters, each at a round trip of its own', () => {
    const workload = spec.workloads.find(({ name }) => name === 'three-clusters')!;
    const nodes = toNodeSpecs(loadConfig(join(SLO_FOLDER, workload.fleet)));
    const gpus = nodes.flatMap((node) => node.gpus.map(({ name }) => name));
    expect(gpus).toHaveLength(64);
    expect(new Set(gpus).size).toBe(3);
    expect(new Set(nodes.map(({ clusterId }) => clusterId))).toEqual(new Set(Object.keys(workload.rttMs)));
    const groups = new Set(nodes.flatMap(({ engines }) => engines.map(({ gpuIndices }) => gpuIndices.length)));
    expect([...groups].sort()).toEqual([1, 2, 4, 8]);
  });

  it('plays traffic with phases at load 1, as they say, in the full form', () => {
    const workload = spec.workloads.find(({ name }) => name === 'burst')!;
    expect([runsIn(workload, 'quick'), runsIn(workload, 'full')]).toEqual([false, true]);
    const cells = cellsOf(spec, [workload], 'full', ['edf'], ['runs', 'ablations']);
    expect(new Set(cells.map(({ load }) => load))).toEqual(new Set([1]));
    expect(cells).toHaveLength(spec.deadlineRules.length * spec.seeds.full);
  });

  it('has every policy at loads 0.9, 1.2 and 1.5 under both rules in the short form too', () => {
    const workloads = spec.workloads.filter((workload) => runsIn(workload, 'quick'));
    expect(workloads.map(({ name }) => name)).toEqual(['one-gpu', 'eight-a100']);
    const cells = cellsOf(spec, workloads, 'quick', undefined, ['runs']);
    const kinds = (of: (cell: (typeof cells)[number]) => unknown) => [...new Set(cells.map(of))];
    expect(kinds(({ load }) => load)).toEqual([0.9, 1.2, 1.5]);
    expect(kinds(({ deadlineRule }) => deadlineRule)).toEqual(['class', 'proportional']);
    expect(kinds(({ policy }) => policy)).toEqual(POLICY_NAMES);
    // Seeds up to 100 are for tuning.
    expect(kinds(({ seed }) => seed)).toEqual([101, 102]);
    expect(cells).toHaveLength(2 * 3 * 2 * POLICY_NAMES.length * 2);
  });
});
