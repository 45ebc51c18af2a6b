import { describe, expect, it } from 'vitest';
import type { StageRecord } from '../../sim/report/types.js';
import { ManualClock } from '../../src/model/clock.js';
import type { TraceRow } from '../schema.js';
import { groupWorkflows } from '../workflow.js';
import { type ReplayProgress, ReplayScheduler, type StageRequest } from './scheduler.js';

const row = (id: string, fields: Partial<TraceRow> = {}): TraceRow => ({
  request_id: id,
  workflow_id: id.split('/')[0]!,
  input_length: 10,
  output_length: 100,
  ...fields,
});

/** Work that takes as many milliseconds as it has output tokens; rows of role `bad` fail. */
function play(rows: TraceRow[], options: { speed?: number } = {}) {
  const clock = new ManualClock(5000);
  const sent: { readonly id: string; readonly atMs: number; readonly stage: StageRequest }[] = [];
  const progress: ReplayProgress[] = [];
  const open: (() => void)[] = [];
  const scheduler = new ReplayScheduler({
    workflows: groupWorkflows(rows).sort((a, b) => a.arrivalMs! - b.arrivalMs!),
    clock,
    startedMs: 5000,
    speed: options.speed ?? 1,
    send: (stage) =>
      new Promise((resolve) => {
        const startMs = clock.nowMs() - 5000;
        sent.push({ id: stage.row.request_id, atMs: startMs, stage });
        const finish = (outcome: string) =>
          resolve({
            stageId: stage.row.request_id,
            startMs,
            endMs: clock.nowMs() - 5000,
            outputTokens: stage.row.output_length,
            outcome,
          } as StageRecord);
        open.push(() => finish('client_cancelled'));
        clock.after(stage.row.output_length, () => finish(stage.row.role === 'bad' ? 'engine_failed' : 'completed'));
      }),
    modelFor: (stage) => stage.model ?? 'm',
    defaultClass: 'interactive',
    deadlineMsFor: () => 1000,
    isolatedMs: () => undefined,
    onProgress: (now) => progress.push(now),
  });
  const result = scheduler.run();
  /** Moves the clock in small steps, letting answers be worked off between them. */
  const advance = async (ms: number) => {
    for (let step = 0; step < ms; step += 5) {
      clock.advance(5);
      for (let turn = 0; turn < 4; turn++) await Promise.resolve();
    }
  };
  return {
    clock,
    sent,
    progress,
    result,
    advance,
    scheduler,
    cancelOpen: () => open.forEach((cancel) => void cancel()),
  };
}

const times = (sent: readonly { id: string; atMs: number }[]) => sent.map(({ id, atMs }) => `${id}@${atMs}`);

describe('ReplayScheduler', () => {
  const diamond = (id: string, timestamp: number) => [
    row(`${id}/plan`, { timestamp, template: 't', tenant: 'acme', class: 'batch', deadline_ms: 390 }),
    row(`${id}/left`, { wait_for: [`${id}/plan`], tool_wait_ms: 30, delay: 20 }),
    row(`${id}/right`, { wait_for: [`${id}/plan`], output_length: 150 }),
    row(`${id}/join`, { wait_for: [`${id}/left`, `${id}/right`] }),
  ];

  it('is open loop for arrivals and closed inside a workflow', async () => {
    const run = play([...diamond('b', 1250), ...diamond('a', 1000)]);
    await run.advance(700);
    expect(times(run.sent)).toEqual([
      'a/plan@0',
      'a/right@100',
      'a/left@150',
      // The second workflow arrives although the first is under way.
      'b/plan@250',
      'a/join@250',
      'b/right@350',
      'b/left@400',
      'b/join@500',
    ]);
    const { workflows, stages, durationMs } = await run.result;
    expect(workflows[0]).toEqual({
      workflowId: 'a',
      template: 't',
      tenant: 'acme',
      sloClass: 'batch',
      arrivalMs: 0,
      endMs: 350,
      deadlineMs: 390,
      stages: 4,
      completed: true,
      met: true,
      isolatedMs: undefined,
    });
    expect(workflows[1]).toMatchObject({ workflowId: 'b', arrivalMs: 250, endMs: 600, deadlineMs: 640, met: true });
    expect(stages).toHaveLength(8);
    expect(durationMs).toBe(600);
    expect(run.sent.map(({ stage }) => stage.final)).toEqual([false, false, false, false, true, false, false, true]);
    expect(run.progress.at(-1)).toMatchObject({
      workflows: { total: 2, arrived: 2, ended: 2, met: 2 },
      stages: { total: 8, sent: 8, completed: 8, failed: 0 },
      outputTokens: 900,
    });
  });

  it('plays arrivals and waits faster, deadlines and answers not', async () => {
    const run = play([...diamond('a', 1000), ...diamond('b', 1500)], { speed: 10 });
    await run.advance(700);
    expect(times(run.sent).slice(0, 4)).toEqual(['a/plan@0', 'b/plan@50', 'a/right@100', 'a/left@105']);
    expect((await run.result).workflows[0]).toMatchObject({ deadlineMs: 390, endMs: 350 });
  });

  it('takes a failed stage as a miss: nothing is sent again, nothing after it, running siblings end', async () => {
    const rows = diamond('a', 0).map((stage) => (stage.request_id === 'a/right' ? { ...stage, role: 'bad' } : stage));
    rows[1] = { ...rows[1]!, output_length: 200, delay: 0, tool_wait_ms: 0 };
    const run = play([...rows, ...diamond('c', 5)]);
    await run.advance(700);
    expect(run.sent.filter(({ id }) => id.startsWith('a/')).map(({ id }) => id)).toEqual([
      'a/plan',
      'a/left',
      'a/right',
    ]);
    const { workflows } = await run.result;
    expect(workflows[0]).toMatchObject({ completed: false, met: false, endMs: 300, error: 'a/right: engine_failed' });
    expect(workflows[1]).toMatchObject({ completed: true });
  });

  it('sends no stage that was still thinking when its workflow failed', async () => {
    const run = play([
      row('a/1', { timestamp: 0, role: 'bad' }),
      row('a/2', { timestamp: 0, output_length: 10 }),
      row('a/3', { wait_for: ['a/2'], delay: 500 }),
    ]);
    await run.advance(800);
    expect(times(run.sent)).toEqual(['a/1@0', 'a/2@0']);
    expect((await run.result).durationMs).toBe(100);
  });

  it('is late when it ends after the deadline', async () => {
    const run = play([row('a/1', { timestamp: 0, deadline_ms: 99 })]);
    await run.advance(120);
    expect((await run.result).workflows[0]).toMatchObject({ completed: true, met: false, endMs: 100 });
  });

  it('stops: cancels what is to come, leaves out who has not arrived, ends nothing that has not ended', async () => {
    const run = play([...diamond('a', 0), ...diamond('b', 5000)]);
    await run.advance(120);
    run.scheduler.stop();
    run.cancelOpen();
    const { workflows, stages } = await run.result;
    expect(workflows).toHaveLength(1);
    expect(workflows[0]).toMatchObject({ completed: false, met: false });
    expect(workflows[0]).not.toHaveProperty('endMs');
    expect(stages.map(({ outcome }) => outcome)).toEqual(['completed', 'client_cancelled']);
    await run.advance(6000);
    expect(run.sent).toHaveLength(2);
  });

  it('has nothing to do for an empty trace', async () => {
    expect(await play([]).result).toEqual({ workflows: [], stages: [], durationMs: 0 });
  });
});
