import type { ReportInput, StageRecord, WorkflowRecord } from './types.js';

/** Records for tests: a sound default, and what the test is about on top. */
export function stage(about: Partial<StageRecord> = {}): StageRecord {
  return {
    stageId: 's1',
    workflowId: 'w1',
    role: 'coder',
    model: 'm',
    sloClass: 'interactive',
    startMs: 0,
    firstTokenMs: 100,
    endMs: 1000,
    promptTokens: 50,
    outputTokens: 10,
    outcome: 'completed',
    httpStatus: 200,
    ...about,
  };
}

export function workflow(about: Partial<WorkflowRecord> = {}): WorkflowRecord {
  return {
    workflowId: 'w1',
    template: 't',
    tenant: 'acme',
    sloClass: 'interactive',
    arrivalMs: 0,
    endMs: 1000,
    deadlineMs: 5000,
    stages: 1,
    completed: true,
    met: true,
    ...about,
  };
}

export function input(about: Partial<ReportInput> = {}): ReportInput {
  return {
    title: 'test',
    command: 'maestro replay t',
    machine: 'test',
    startedAt: '2026-01-01T00:00:00Z',
    timeScale: 1,
    durationMs: 10_000,
    warmupMs: 0,
    trace: 't',
    notes: [],
    classes: [{ name: 'interactive', kind: 'interactive', deadlineMs: 5000, ttftMs: 200, tpotMs: 50 }],
    workflows: [],
    stages: [],
    ...about,
  };
}
