import { describe, expect, it } from 'vitest';
import { parseOptions } from './options.js';
import { readSpec } from './spec.js';

const spec = readSpec();

describe('parseOptions', () => {
  it.each([
    [['--foo'], '--foo: not a flag of this benchmark'],
    [['--jobs', 'abc'], '--jobs: abc is not a whole number above 0'],
    [['--seeds', '0'], '--seeds: 0 is not a whole number above 0'],
    [['--workloads', 'one-gpu,two-gpus'], '--workloads: no two-gpus; there are one-gpu,'],
    [['--policies', 'lifo'], '--policies: no lifo; there are fcfs,'],
    [['--loads', '0.9,high'], '--loads: "high" is not a number above 0'],
    [['--parts', 'runs,all'], '--parts: no all; there are runs,'],
  ])('refuses %j and says what it takes', (args, message) => {
    expect(() => parseOptions(args, spec)).toThrow(message);
  });

  it('reads the loads', () => {
    const { loads, command } = parseOptions(['--loads', '0.9,1.2'], spec);
    expect([loads, command]).toEqual([[0.9, 1.2], 'npm run bench:slo -- --loads 0.9,1.2']);
    expect(parseOptions([], spec).loads).toBeUndefined();
  });

  it('says the command that gives the same report', () => {
    const { command, workloads, parts, jobs } = parseOptions(
      ['--quick', '--policies', 'edf', '--traces', 'here', '--jobs', '3', '--out', 'there'],
      spec,
    );
    expect(command).toBe('npm run bench:slo -- --quick --policies edf --traces (others)');
    expect(workloads.map(({ name }) => name)).toEqual(['one-gpu', 'eight-a100']);
    expect([parts, jobs]).toEqual([['runs'], 3]);
  });
});
