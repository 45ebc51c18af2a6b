import { describe, expect, it } from 'vitest';
import type { WorkflowRecord } from '../../sim/report/types.js';
import type { TraceRow } from '../../traces/schema.js';
import { agreementOf, renderAgreement } from './compare.js';
import { parseOptions, TARGET_NAMES } from './options.js';
import { type CellResult, renderMarkdown } from './report.js';
import { TARGETS, withUrls } from './targets.js';
import { atLoad, lastArrivalMs, readWorkload } from './workload.js';

describe('the flags of bench:live', () => {
  it('have defaults for all of them', () => {
    const options = parseOptions([]);
    expect(options).toMatchObject({
      loads: [0.7, 1, 1.3],
      json: false,
      out: undefined,
      limitWorkflows: undefined,
      seed: undefined,
    });
    expect(options.targets).toEqual(TARGET_NAMES);
  });

  it('are read', () => {
    const options = parseOptions([
      '--targets',
      'nginx,maestro',
      '--loads',
      '2',
      '--limit-workflows',
      '7',
      '--seed',
      '3',
      '--json',
    ]);
    expect(options).toMatchObject({
      targets: ['nginx', 'maestro'],
      loads: [2],
      limitWorkflows: 7,
      seed: 3,
      json: true,
    });
  });

  it.each([
    [['--targets', 'apache'], '--targets: "apache" is none of nginx'],
    [['--loads', '1,0'], '--loads: "0" is not a number above 0'],
    [['--loads', ''], '--loads: "" is not a number above 0'],
    [['--limit-workflows', 'x'], '--limit-workflows: "x"'],
  ])('%j is refused with what would be right', (args, message) => {
    expect(() => parseOptions(args)).toThrow(message);
  });
});

describe('the targets', () => {
  it('are those that the flags name, in that order', () => {
    expect(TARGETS.map(({ name }) => name)).toEqual(TARGET_NAMES);
  });

  it('that are not installed say why and how to get them', () => {
    const path = process.env['PATH'];
    process.env['PATH'] = '';
    try {
      expect(TARGETS[0]!.prepare('/nowhere')).toContain('nginx is not in PATH');
    } finally {
      process.env['PATH'] = path;
    }
  });

  it('get a fleet file with the address of each engine', () => {
    const nodes = [{ engines: [{ id: 'a' }, { id: 'b' }] }, { engines: [{ id: 'c' }] }];
    const file = withUrls({ fleet: { nodes } }, ['u1', 'u2', 'u3']);
    expect(file.fleet.nodes.flatMap(({ engines }) => engines)).toEqual([
      { id: 'a', url: 'u1' },
      { id: 'b', url: 'u2' },
      { id: 'c', url: 'u3' },
    ]);
  });
});

describe('the workload', () => {
  it('can be composed from what ships, for one model', async () => {
    const { rows, config } = await readWorkload(10);
    expect(new Set(rows.map(({ workflow_id }) => workflow_id)).size).toBe(10);
    const served = config.fleet.nodes.flatMap(({ engines }) => engines.map(({ model }) => model));
    expect([...new Set([...rows.map(({ model }) => model), ...served])]).toHaveLength(1);
    expect(served).toHaveLength(4);
    expect((await readWorkload(10, 8)).rows).not.toEqual(rows);
  });

  it('arrives faster at a higher load, and is the same inside', () => {
    const row = { input_length: 1, output_length: 1 };
    const rows: TraceRow[] = [
      { ...row, request_id: 'a1', workflow_id: 'a', timestamp: 1000 },
      { ...row, request_id: 'a2', workflow_id: 'a', timestamp: 1300 },
      { ...row, request_id: 'a3', workflow_id: 'a', wait_for: ['a1'], delay: 50 },
      { ...row, request_id: 'b1', workflow_id: 'b', timestamp: 4000 },
    ];
    const fast = atLoad(rows, 2);
    expect(fast.map(({ timestamp }) => timestamp)).toEqual([500, 800, undefined, 2000]);
    expect(fast[2]).toEqual(rows[2]);
    expect(lastArrivalMs(fast)).toBe(2000);
  });
});

describe('the report', () => {
  const cell: CellResult = {
    target: 'nginx',
    load: 1,
    workflows: 40,
    attainment: 0.5,
    durationMs: { p50: 20_000, p90: 30_000, p99: 40_000 },
    ttftMs: { p50: 100, p99: 900 },
    cachedShare: 0.25,
    preemptions: 3,
    stages: 400,
    failedStages: 2,
    unfinishedWorkflows: 1,
    cpu: { targetMsPerStage: 1.25, benchShare: 0.2, machineShare: 0.4, wakeLateMs: 1 },
    wallSeconds: 100,
  };

  it('sets targets side by side and says how far behind the best each is', () => {
    const text = renderMarkdown({
      command: 'c',
      startedAt: 't',
      machine: 'm',
      targets: [{ name: 'nginx', about: 'round robin' }],
      skipped: [{ name: 'vllm-router', reason: 'no Python' }],
      cells: [
        cell,
        { ...cell, target: 'maestro', attainment: 0.75, durationMs: { p50: 10_000, p90: null, p99: null } },
      ],
    });
    expect(text).toContain('- **vllm-router** was left out: no Python');
    expect(text).toContain('## Load 1: 40 workflows, 400 calls');
    expect(text).toContain('| nginx | 50.0 | 25.0 | 20.0 | 30.0 | 40.0 | 2.00 | 100 | 900 | 25.0 | 3 | 2 | 1 |');
    expect(text).toContain('| maestro | 75.0 | 0.0 | 10.0 |  |  | 1.00 |');
  });
});

describe('the comparison of two plays', () => {
  const ended = (workflowId: string, endMs: number | undefined): WorkflowRecord => ({
    ...{ workflowId, template: 't', tenant: 'a', sloClass: 'c', arrivalMs: 1000, deadlineMs: 5000, stages: 1 },
    ...(endMs === undefined ? { completed: false, met: false } : { endMs, completed: true, met: endMs <= 5000 }),
  });

  it('sets quantiles and single workflows side by side; what did not complete has no duration', () => {
    const live = [ended('a', 3000), ended('b', 7000), ended('c', undefined)];
    const simulated = [ended('b', 5000), ended('a', 2000), ended('c', 9000)];
    const agreement = agreementOf(1, live, simulated);
    expect(agreement.failed).toEqual({ live: 1, simulated: 0 });
    expect(agreement.attainment).toEqual({ live: 1 / 3, simulated: 2 / 3 });
    expect(agreement.quantiles[0]).toEqual({ q: 0.5, liveMs: 4000, simulatedMs: 4000 });
    // a took 2 s instead of 1, b 6 s instead of 4.
    expect(agreement.ratioOfEach[1]).toBe(1.75);
    expect(renderAgreement([agreement])).toContain('| 1 | 3 | p50 | 4.00 | 4.00 | 1.000 |');
  });
});
