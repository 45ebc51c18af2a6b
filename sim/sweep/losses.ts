import { MINUTE_MS } from '../../src/model/units.js';
import { explainWorkflow } from '../detail/explain.js';
import { phaseSpans } from '../report/breakdown.js';
import type { StageRecord, WorkflowRecord } from '../report/types.js';
import { runSimulation } from '../simulation.js';
import type { SimResult } from '../types.js';
import { scenarioOf } from './run-cell.js';
import type { RunRow, SweepCell, SweepWorkload } from './types.js';

/** The two that are laid side by side. */
const RIVALS = ['maestro', 'edf'] as const;
/** Workflows that are drawn, and those whose fates are told; further ones of the minute are only counted. */
const DRAWN = 18;
const TOLD = 12;

/** One minute of a run under each of {@link RIVALS}: the workflows that arrived in it, who lost, and why. */
export interface Losses {
  readonly workload: string;
  readonly deadlineRule: RunRow['deadlineRule'];
  readonly load: number;
  readonly seed: number;
  /** The minute in which they arrived, from 0, and how many did. */
  readonly minute: number;
  readonly arrived: number;
  readonly sides: readonly LossSide[];
  /** Workflows that one side kept in time and the other did not. */
  readonly differences: readonly Difference[];
}

export interface LossSide {
  readonly policy: string;
  readonly missed: number;
  readonly workflows: readonly WorkflowBars[];
}

/** Times in milliseconds of the run. */
export interface WorkflowBars {
  readonly workflowId: string;
  readonly sloClass: string;
  readonly arrivalMs: number;
  readonly deadlineMs: number;
  readonly endMs: number | null;
  readonly met: boolean;
  /** Each call: sent, begun by an engine or taken by one whose weights were not there, weights there, ended. */
  readonly calls: readonly (readonly [sentMs: number, takenMs: number, servedMs: number, endMs: number])[];
}

export interface Difference {
  readonly workflowId: string;
  readonly sloClass: string;
  readonly template: string;
  readonly winner: string;
  /** What became of it under each policy, in words. */
  readonly fates: Readonly<Record<string, string>>;
}

/** For each workload the cell in which the two rivals differ by most workflows; none where they did not both run. */
export function cellsToTell(runs: readonly RunRow[]): RunRow[] {
  const [own, other] = RIVALS;
  const furthest = new Map<string, { readonly row: RunRow; readonly apart: number }>();
  const keyOf = ({ workload, deadlineRule, load, seed }: RunRow) => [workload, deadlineRule, load, seed].join(' ');
  const others = new Map(runs.filter(({ policy }) => policy === other).map((row) => [keyOf(row), row]));
  for (const row of runs.filter(({ policy }) => policy === own)) {
    const rival = others.get(keyOf(row));
    if (!rival) continue;
    const apart = Math.abs(row.attainment - rival.attainment) * row.workflows;
    if (apart > (furthest.get(row.workload)?.apart ?? 0)) furthest.set(row.workload, { row, apart });
  }
  return [...furthest.values()].map(({ row }) => row);
}

/** Plays the cell under both rivals, keeps every call, and tells of the minute whose arrivals fared most differently. */
export function tellLosses(workload: SweepWorkload, row: RunRow): Losses {
  const played = RIVALS.map((policy) => {
    const { deadlineRule, load, seed, placement, reservation } = row;
    const cell: SweepCell = {
      ...{ workload: row.workload, deadlineRule, policy, load, seed, placement, reservation },
      prediction: { kind: 'online' },
    };
    return { policy, result: runSimulation(scenarioOf(workload, cell, 'requests')) };
  });
  return lossesOf(row, played);
}

export function lossesOf(
  { workload, deadlineRule, load, seed }: Pick<RunRow, 'workload' | 'deadlineRule' | 'load' | 'seed'>,
  played: readonly { readonly policy: string; readonly result: SimResult }[],
): Losses {
  const byId = played.map(({ result }) => new Map(result.workflows.map((each) => [each.workflowId, each])));
  const minute = widestMinute(byId);
  const arrived = [...byId[0]!.values()]
    .filter(({ arrivalMs }) => Math.floor(arrivalMs / MINUTE_MS) === minute)
    .sort((a, b) => a.arrivalMs - b.arrivalMs || (a.workflowId < b.workflowId ? -1 : 1));
  const differs = ({ workflowId }: WorkflowRecord) =>
    byId.some((records) => records.get(workflowId)!.met !== byId[0]!.get(workflowId)!.met);
  const differing = arrived.filter(differs);
  const drawn = new Set(
    [...differing, ...arrived.filter((each) => !differs(each))].slice(0, DRAWN).map(({ workflowId }) => workflowId),
  );
  return {
    ...{ workload, deadlineRule, load, seed, minute, arrived: arrived.length },
    sides: played.map(({ policy, result }, side) => {
      const own = arrived.map(({ workflowId }) => byId[side]!.get(workflowId)!);
      const calls = callsOf(result.stages, drawn);
      return {
        policy,
        missed: own.filter(({ met }) => !met).length,
        workflows: own
          .filter(({ workflowId }) => drawn.has(workflowId))
          .map((each) => barsOf(each, calls.get(each.workflowId) ?? [])),
      };
    }),
    differences: differing.slice(0, TOLD).map(({ workflowId, sloClass, template }): Difference => {
      const winner = played.find((_, side) => byId[side]!.get(workflowId)!.met)!.policy;
      const fates = Object.fromEntries(played.map(({ policy, result }) => [policy, fateOf(result, workflowId)]));
      return { workflowId, sloClass, template, winner, fates };
    }),
  };
}

/** The minute of arrival in which the numbers of missed workflows are furthest apart; the first of equals. */
function widestMinute(byId: readonly ReadonlyMap<string, WorkflowRecord>[]): number {
  const apart = new Map<number, number>();
  for (const [workflowId, { arrivalMs, met }] of byId[0]!) {
    const minute = Math.floor(arrivalMs / MINUTE_MS);
    const gained = Number(met) - Number(byId[1]!.get(workflowId)!.met);
    apart.set(minute, (apart.get(minute) ?? 0) + gained);
  }
  const [minute = 0] = [...apart].sort(([a, m], [b, n]) => Math.abs(n) - Math.abs(m) || a - b)[0] ?? [];
  return minute;
}

function callsOf(stages: readonly StageRecord[], workflowIds: ReadonlySet<string>): Map<string, StageRecord[]> {
  const calls = new Map<string, StageRecord[]>();
  for (const stage of stages) {
    if (!workflowIds.has(stage.workflowId)) continue;
    calls.set(stage.workflowId, [...(calls.get(stage.workflowId) ?? []), stage]);
  }
  return calls;
}

function barsOf(workflow: WorkflowRecord, stages: readonly StageRecord[]): WorkflowBars {
  const { workflowId, sloClass, arrivalMs, deadlineMs, endMs, met } = workflow;
  return {
    ...{ workflowId, sloClass, met, endMs: endMs === undefined ? null : Math.round(endMs) },
    ...{ arrivalMs: Math.round(arrivalMs), deadlineMs: Math.round(deadlineMs) },
    calls: [...stages]
      .sort((a, b) => a.startMs - b.startMs)
      .map((stage) => {
        const endOf = (phase: string) => phaseSpans(stage).findLast((span) => span.phase === phase)?.endMs;
        const takenMs = endOf('queue') ?? stage.startMs;
        const times = [stage.startMs, takenMs, endOf('coldStart') ?? takenMs, stage.endMs] as const;
        return [Math.round(times[0]), Math.round(times[1]), Math.round(times[2]), Math.round(times[3])] as const;
      }),
  };
}

/** "late, 12.00 s after its deadline; 61 % queue, 30 % decode; 14 older and 3 younger calls of others were begun before its own". */
function fateOf(result: SimResult, workflowId: string): string {
  const { summary, stages } = explainWorkflow(result, workflowId)!;
  const [end, time] = [summary[1]!.split(': ').at(-1)!, summary.at(-1)!.split(': ').at(-1)!];
  const older = stages.reduce((sum, { overtakenBy }) => sum + overtakenBy.older, 0);
  const younger = stages.reduce((sum, { overtakenBy }) => sum + overtakenBy.younger, 0);
  return `${end}; ${time}; ${older} older and ${younger} younger calls of others were begun before its own`;
}
