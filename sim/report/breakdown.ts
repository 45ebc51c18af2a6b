import type { StageRecord, WorkflowRecord } from './types.js';

/** What a stage, and through it a workflow, can be busy with, in the order in which a stage goes through them. */
export const PHASES = ['queue', 'coldStart', 'prefill', 'decode', 'outside'] as const;
export type Phase = (typeof PHASES)[number];

/** Milliseconds by phase. */
export type PhaseTimes = Record<Phase, number>;

/** One stretch of a stage that is spent in one phase. */
export interface PhaseSpan {
  readonly phase: Exclude<Phase, 'outside'>;
  readonly startMs: number;
  readonly endMs: number;
}

/** What each phase is called where people read it. */
export const PHASE_LABELS: Readonly<Record<Phase, string>> = {
  queue: 'queue',
  coldStart: 'cold start',
  prefill: 'prefill',
  decode: 'decode',
  outside: 'tools and thinking',
};

export function noTime(): PhaseTimes {
  return { queue: 0, coldStart: 0, prefill: 0, decode: 0, outside: 0 };
}

/** The phases of one stage, in order, without gaps, from `startMs` to `endMs`. */
export function phaseSpans(stage: StageRecord): PhaseSpan[] {
  const spans: PhaseSpan[] = [];
  let atMs = stage.startMs;
  const until = (phase: PhaseSpan['phase'], endMs: number): void => {
    const clipped = Math.min(Math.max(endMs, atMs), Math.max(stage.endMs, stage.startMs));
    if (clipped > atMs) spans.push({ phase, startMs: atMs, endMs: clipped });
    atMs = Math.max(atMs, clipped);
  };
  // A stage that no engine took spent its whole life waiting, whatever the server could still tell about it.
  if (stage.outcome.startsWith('rejected')) {
    until('queue', stage.endMs);
    return spans;
  }
  until('queue', stage.startMs + (stage.queueMs ?? 0));
  until('coldStart', atMs + (stage.coldStartMs ?? 0));
  until('prefill', stage.firstTokenMs ?? stage.endMs);
  until('decode', stage.endMs);
  return spans;
}

/**
 * Where the time of a workflow went: its duration, cut into the phases of its stages. Where stages overlap, each takes an equal
 * part of the moment; where none is under way, the workflow is outside (tools, thinking). The parts add up to the duration.
 */
export function workflowPhases(
  workflow: Pick<WorkflowRecord, 'arrivalMs'>,
  endMs: number,
  stages: readonly StageRecord[],
): PhaseTimes {
  const times = noTime();
  const edges: { atMs: number; phase: PhaseSpan['phase']; delta: 1 | -1 }[] = [];
  for (const stage of stages) {
    for (const span of phaseSpans(stage)) {
      const startMs = Math.max(span.startMs, workflow.arrivalMs);
      const spanEndMs = Math.min(span.endMs, endMs);
      if (spanEndMs <= startMs) continue;
      edges.push({ atMs: startMs, phase: span.phase, delta: 1 }, { atMs: spanEndMs, phase: span.phase, delta: -1 });
    }
  }
  edges.sort((a, b) => a.atMs - b.atMs);
  const active = noTime();
  let activeCount = 0;
  let atMs = workflow.arrivalMs;
  for (const edge of edges) {
    spread(times, active, activeCount, edge.atMs - atMs);
    atMs = edge.atMs;
    active[edge.phase] += edge.delta;
    activeCount += edge.delta;
  }
  times.outside += Math.max(0, endMs - atMs);
  return times;
}

function spread(times: PhaseTimes, active: PhaseTimes, activeCount: number, elapsedMs: number): void {
  if (elapsedMs <= 0) return;
  if (activeCount === 0) {
    times.outside += elapsedMs;
    return;
  }
  for (const phase of PHASES) times[phase] += (elapsedMs * active[phase]) / activeCount;
}

/** Phases that took any time with their share of the whole, largest first. */
export function phasesByShare(times: PhaseTimes): { phase: Phase; share: number }[] {
  const totalMs = PHASES.reduce((sum, phase) => sum + times[phase], 0);
  return PHASES.filter((phase) => times[phase] > 0)
    .map((phase) => ({ phase, share: times[phase] / totalMs }))
    .sort((a, b) => b.share - a.share);
}
