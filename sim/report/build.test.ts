import { describe, expect, it } from 'vitest';
import { buildReport } from './build.js';
import { renderJson } from './json.js';
import { input, stage, workflow } from './records-fixture.js';
import { sampleRun } from './sample-run-fixture.js';
import { reportJsonSchema, reportSchema } from './schema.js';

describe('buildReport: workflows', () => {
  it('counts late, failed, rejected and unfinished workflows as misses', () => {
    const report = buildReport(
      input({
        workflows: [
          workflow({ workflowId: 'met' }),
          workflow({ workflowId: 'late', endMs: 6000, met: false }),
          workflow({ workflowId: 'failed', completed: false, met: false, error: 'boom' }),
          workflow({ workflowId: 'unfinished', completed: false, met: false, endMs: undefined }),
          // A record that calls a failed workflow met does not talk its way into the goodput.
          workflow({ workflowId: 'liar', completed: false, met: true }),
        ],
      }),
    );
    expect(report.overall).toMatchObject({
      workflows: 5,
      completed: 2,
      failed: 2,
      unfinished: 1,
      met: 1,
      attainment: 0.2,
      throughputPerSecond: 0.2,
      goodputPerSecond: 0.1,
    });
    expect(report.overall.durationMs).toMatchObject({
      count: 2,
      min: 1000,
      max: 6000,
      p50: 3500,
      mean: 3500,
      std: 2500,
    });
    expect(report.missed.map((row) => [row.workflowId, row.result])).toEqual([
      ['unfinished', 'unfinished'],
      ['late', 'late'],
      ['failed', 'failed'],
      ['liar', 'failed'],
      ['met', 'met'],
    ]);
    expect(report.missed[2]!.why).toBe('boom');
  });

  it('cuts the warm-up by arrival and takes the stages of cut workflows with it', () => {
    const report = buildReport(
      input({
        warmupMs: 2000,
        workflows: [
          workflow({ workflowId: 'early', arrivalMs: 1999, endMs: 9000, met: false }),
          workflow({ workflowId: 'counted', arrivalMs: 2000, endMs: 3000 }),
        ],
        stages: [
          // Starts long after the warm-up, but belongs to a workflow that arrived in it.
          stage({ workflowId: 'early', startMs: 5000, firstTokenMs: 5100, endMs: 6000 }),
          stage({ workflowId: 'counted', startMs: 2000, firstTokenMs: 2050, endMs: 3000 }),
          stage({ workflowId: 'stranger', startMs: 1000 }),
        ],
      }),
    );
    expect(report.run).toMatchObject({ measuredMs: 8000, warmupWorkflows: 1 });
    expect(report.overall).toMatchObject({ workflows: 1, attainment: 1, goodputPerSecond: 1 / 8 });
    expect(report.completed).toBe(1);
    expect(report.median_ttft_ms).toBe(50);
  });

  it('keeps classes apart, in the order given, and names those that only the records know', () => {
    const report = buildReport(
      input({
        classes: [
          { name: 'batch', kind: 'batch', deadlineMs: 60_000 },
          { name: 'interactive', kind: 'interactive', deadlineMs: 5000 },
        ],
        workflows: [
          workflow({ workflowId: 'a', sloClass: 'interactive' }),
          workflow({ workflowId: 'b', sloClass: 'batch', met: false }),
          workflow({ workflowId: 'c', sloClass: 'surprise' }),
        ],
      }),
    );
    expect(report.classes.map(({ name, kind, attainment }) => [name, kind, attainment])).toEqual([
      ['batch', 'batch', 0],
      ['interactive', 'interactive', 1],
      ['surprise', null, 1],
    ]);
  });

  it('measures slowdown against the idle fleet, and fairness over it', () => {
    const report = buildReport(
      input({
        workflows: [
          workflow({ workflowId: 'a', tenant: 'x', isolatedMs: 500 }),
          workflow({ workflowId: 'b', tenant: 'y', isolatedMs: 250, met: false }),
          workflow({ workflowId: 'c', tenant: 'y' }),
        ],
      }),
    );
    expect(report.overall.slowdown).toMatchObject({ count: 2, min: 2, max: 4, p50: 3 });
    expect(report.fairness.jainSlowdown).toBeCloseTo(36 / 40, 12);
    expect(report.fairness.jainTenantAttainment).toBeCloseTo(1.5 ** 2 / (2 * 1.25), 12);
  });

  it('says why: the idle duration, the wait, or the stage that failed', () => {
    const waits = stage({ workflowId: 'waits', queueMs: 6000, firstTokenMs: 6500, endMs: 8000 });
    const report = buildReport(
      input({
        workflows: [
          workflow({ workflowId: 'waits', endMs: 8000, met: false }),
          workflow({ workflowId: 'long', endMs: 7000, met: false, isolatedMs: 5500 }),
          workflow({ workflowId: 'broken', completed: false, met: false }),
        ],
        stages: [waits, stage({ workflowId: 'broken', outcome: 'engine_failed', error: 'reset' })],
      }),
    );
    const why = Object.fromEntries(report.missed.map((row) => [row.workflowId, row.why]));
    expect(why['waits']).toBe('75 % queue, 19 % decode');
    expect(why['long']).toBe('longer than its deadline even on an idle fleet');
    expect(why['broken']).toBe('coder on m: engine_failed – reset');
  });
});

describe('buildReport: requests', () => {
  it('derives the latencies of one stage from its own times', () => {
    const report = buildReport(
      input({
        workflows: [workflow()],
        stages: [
          stage({ startMs: 500, firstTokenMs: 650, endMs: 1100, outputTokens: 10, promptTokens: 50, queueMs: 40 }),
        ],
      }),
    );
    expect(report).toMatchObject({
      duration: 10,
      completed: 1,
      failed: 0,
      total_input_tokens: 50,
      total_output_tokens: 10,
      request_throughput: 0.1,
      request_goodput: 0.1,
      output_throughput: 1,
      total_token_throughput: 6,
      mean_ttft_ms: 150,
      p99_ttft_ms: 150,
      std_ttft_ms: 0,
      median_tpot_ms: 50,
      mean_e2el_ms: 600,
      mean_itl_ms: null,
    });
    expect(report.overall.requests.queueMs.p50).toBe(40);
  });

  it('interpolates percentiles as numpy does', () => {
    const stages = [100, 200, 300, 400, 500].map((ttft, index) => stage({ stageId: `s${index}`, firstTokenMs: ttft }));
    const report = buildReport(input({ workflows: [workflow()], stages }));
    expect(report).toMatchObject({
      median_ttft_ms: 300,
      mean_ttft_ms: 300,
      p90_ttft_ms: 460,
      p95_ttft_ms: 480,
      p99_ttft_ms: 496,
    });
    expect(report.std_ttft_ms).toBeCloseTo(Math.sqrt(20_000), 9);
  });

  it.each([
    ['within both targets', {}, 1],
    ['first token late', { firstTokenMs: 201 }, 0],
    ['tokens slow', { firstTokenMs: 100, endMs: 100 + 9 * 51 }, 0],
    ['failed', { outcome: 'engine_failed' }, 0],
    ['one token has no TPOT', { firstTokenMs: 150, endMs: 9000, outputTokens: 1 }, 1],
    ['of a class without targets', { sloClass: 'other', firstTokenMs: 9000, endMs: 9500 }, 1],
  ])('request goodput: %s', (_name, about, good) => {
    const fast = { firstTokenMs: 100, endMs: 400 };
    const report = buildReport(input({ workflows: [workflow()], stages: [stage({ ...fast, ...about })] }));
    expect(report.overall.requests.stagesGood).toBe(good);
  });

  it('leaves failed requests out of the latencies of completed ones, but keeps their outcome', () => {
    const report = buildReport(
      input({
        workflows: [workflow()],
        stages: [
          stage({ stageId: 'ok' }),
          stage({ stageId: 'bad', outcome: 'rejected:queue_full', httpStatus: 429, firstTokenMs: undefined, endMs: 5 }),
        ],
      }),
    );
    expect(report.overall.requests.e2elMs).toMatchObject({ count: 1, max: 1000 });
    expect(report.failed).toBe(1);
    expect(report.outcomes).toEqual({ completed: 1, 'rejected:queue_full': 1 });
  });

  it('pools inter-token gaps by how many there were', () => {
    const gaps = (count: number, each: number) => ({ count, sum: count * each, p50: each, p99: each, max: each });
    const stages = [stage({ stageId: 'a', itlMs: gaps(90, 10) }), stage({ stageId: 'b', itlMs: gaps(10, 110) })];
    const report = buildReport(input({ workflows: [workflow()], stages }));
    expect(report.overall.requests.itlMs.count).toBe(100);
    expect(report.mean_itl_ms).toBe(20);
    expect(report.median_itl_ms).toBeCloseTo(10, 9);
    expect(report.p95_itl_ms).toBeCloseTo(110, 9);
  });

  it('counts cold starts and cached tokens only where they are known', () => {
    const report = buildReport(
      input({
        workflows: [workflow()],
        stages: [
          stage({ stageId: 'a', coldStartMs: 1500, cachedTokens: 25 }),
          stage({ stageId: 'b', coldStartMs: 0 }),
          stage({ stageId: 'c' }),
        ],
      }),
    );
    expect(report.coldStarts).toEqual({ fleetCount: null, fleetRequestSeconds: null, stages: 1, requestSeconds: 1.5 });
    expect(report.overall.requests.coldStartMs).toMatchObject({ count: 1, mean: 1500 });
    expect(report.overall.requests.cachedPromptShare).toBe(0.5);
  });
});

describe('buildReport: fleet', () => {
  it('weighs engine samples by how long they held inside the measured window', () => {
    const base = { nodeId: 'n', engineId: 'e', model: 'm', waiting: 0, leases: 0, kvUsedTokens: 0, kvPoolTokens: 100 };
    const report = buildReport(
      input({
        warmupMs: 2000,
        fleet: {
          // Out of order, as several pollers would deliver them.
          samples: [
            { ...base, atMs: 6000, state: 'sleeping', running: 0, kvReservedTokens: 0 },
            { ...base, atMs: 0, state: 'running', running: 4, kvReservedTokens: 40 },
          ],
          hbm: [{ atMs: 0, nodeId: 'n', gpu: 0, usedBytes: 60, totalBytes: 80 }],
          kv: { reservedByteSeconds: 20, maxTokenByteSeconds: 100, usedByteSeconds: 16 },
        },
      }),
    );
    expect(report.fleet.engines).toMatchObject([
      {
        stateShare: { running: 0.5, sleeping: 0.5 },
        stateChanges: 1,
        meanRunning: 2,
        maxRunning: 4,
        meanKvReservedTokens: 20,
      },
    ]);
    expect(report.fleet.gpus).toEqual([{ nodeId: 'n', gpu: 0, totalBytes: 80, meanUsedBytes: 60, maxUsedBytes: 60 }]);
    expect(report.kv).toMatchObject({
      reservedOverMaxToken: 0.2,
      savedAgainstMaxToken: 0.8,
      reservedOverUsed: 1.25,
      nodeOverflowRate: null,
    });
  });
});

describe('report.json', () => {
  it.each([
    ['an empty run', input({ durationMs: 0, classes: [] })],
    ['one stage', input({ workflows: [workflow()], stages: [stage()] })],
    ['a large run', sampleRun({ workflows: 60, samplesPerEngine: 50, seed: 3 })],
  ])('of %s satisfies its own schema, nothing more and nothing less', (_name, run) => {
    const parsed = JSON.parse(renderJson(buildReport(run)));
    expect(reportSchema.strict().parse(parsed)).toEqual(parsed);
  });

  it('has no number that is not one', () => {
    const text = renderJson(buildReport(input({ durationMs: 0, classes: [] })));
    expect(JSON.parse(text)).toMatchObject({
      request_throughput: null,
      mean_ttft_ms: null,
      overall: { attainment: null },
    });
  });

  it('comes with a JSON Schema that requires the names of vllm bench serve', () => {
    const { required } = reportJsonSchema();
    const metrics = ['ttft', 'tpot', 'itl', 'e2el'];
    const latencies = metrics.flatMap((metric) =>
      ['mean', 'median', 'std', 'p90', 'p95', 'p99'].map((name) => `${name}_${metric}_ms`),
    );
    expect(required).toEqual(
      expect.arrayContaining([
        'duration',
        'completed',
        'failed',
        'total_input_tokens',
        'request_goodput',
        ...latencies,
      ]),
    );
  });
});
