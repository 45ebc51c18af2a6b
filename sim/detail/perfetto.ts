import { PHASE_LABELS, phaseSpans } from '../report/breakdown.js';
import type { SimResult } from '../types.js';

/** An event of the Chrome trace format (`ts` and `dur` in microseconds). */
interface TraceEvent {
  readonly name: string;
  readonly ph: 'M' | 'b' | 'e' | 'C';
  readonly pid: number;
  readonly tid?: number;
  readonly ts?: number;
  readonly cat?: string;
  readonly id?: string;
  readonly args?: Readonly<Record<string, string | number>>;
}

const WORKFLOWS_PID = 1;
const FIRST_NODE_PID = 2;

/**
 * A run as a trace for ui.perfetto.dev or chrome://tracing: one process with every workflow, its stages and their phases, and one for each node, with the stages on
 * each engine and, where samples were taken, counters of its batch, its queue and its KV memory.
 */
export function perfettoTrace({ workflows, stages, fleet }: SimResult): {
  readonly traceEvents: readonly TraceEvent[];
} {
  const events: TraceEvent[] = [processName(WORKFLOWS_PID, 'workflows')];
  const span = (pid: number, cat: string, id: string, name: string, startMs: number, endMs: number, args = {}) => {
    events.push({ name, ph: 'b', pid, cat, id, ts: 1000 * startMs, args });
    events.push({ name, ph: 'e', pid, cat, id, ts: 1000 * endMs });
  };
  for (const { workflowId, template, arrivalMs, endMs, deadlineMs, met, sloClass } of workflows) {
    if (endMs === undefined) continue;
    const args = { class: sloClass, deadlineMs, met: String(met) };
    span(WORKFLOWS_PID, 'workflow', workflowId, `${workflowId} (${template})`, arrivalMs, endMs, args);
  }
  // By name, and not by who was used first: the same fleet looks the same in every run.
  const nodes = [
    ...new Set([...stages.flatMap(({ node }) => node ?? []), ...fleet.samples.map(({ nodeId }) => nodeId)]),
  ];
  const pids = new Map(nodes.sort().map((node, index) => [node, FIRST_NODE_PID + index]));
  for (const [node, pid] of pids) events.push(processName(pid, `node ${node}`));
  const pidOf = (node: string) => pids.get(node)!;
  for (const stage of stages) {
    const { stageId, workflowId, role, model, node, engine, startMs, endMs, promptTokens, outputTokens, outcome } =
      stage;
    const args = { model, promptTokens, outputTokens, outcome, ...(engine === undefined ? {} : { engine }) };
    span(WORKFLOWS_PID, 'stage', stageId, `${workflowId} ${role}`, startMs, endMs, args);
    for (const { phase, startMs: fromMs, endMs: toMs } of phaseSpans(stage)) {
      span(WORKFLOWS_PID, 'stage', stageId, PHASE_LABELS[phase], fromMs, toMs);
      if (node === undefined || engine === undefined || (phase !== 'prefill' && phase !== 'decode')) continue;
      span(pidOf(node), engine, stageId, `${workflowId} ${role}: ${PHASE_LABELS[phase]}`, fromMs, toMs);
    }
  }
  for (const { atMs, nodeId, engineId, running, waiting, kvUsedTokens, kvReservedTokens } of fleet.samples) {
    const at = { ph: 'C', pid: pidOf(nodeId), ts: 1000 * atMs } as const;
    events.push({ ...at, name: `${engineId} requests`, args: { running, waiting } });
    events.push({ ...at, name: `${engineId} KV tokens`, args: { used: kvUsedTokens, reserved: kvReservedTokens } });
  }
  return { traceEvents: events };
}

function processName(pid: number, name: string): TraceEvent {
  return { name: 'process_name', ph: 'M', pid, args: { name } };
}
