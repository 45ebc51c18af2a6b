import type { CallExample, CallHistory } from '../examples.js';

/** What must not be torn apart between training and judging. `time` keeps back what came last. */
export const SPLIT_KEYS = ['task', 'workflow', 'time'] as const;
export type SplitKey = (typeof SPLIT_KEYS)[number];

/** Says of a call whether it is kept back. Equal histories, keys and seeds give equal splits, on every machine. */
export function keptBack(
  history: CallHistory,
  key: SplitKey,
  share: number,
  seed: number,
): (call: CallExample) => boolean {
  if (key === 'time') return lastWorkflows(history, share);
  const nameOf = (call: CallExample) => (key === 'task' ? call.task : call.stage.workflowId);
  return (call) => unitHash(`${seed}\n${nameOf(call)}`) < share;
}

/** Workflows that began last. Whole ones: a workflow that began before and goes on is not judged. */
function lastWorkflows(history: CallHistory, share: number): (call: CallExample) => boolean {
  const order = [...new Set(history.calls.map(({ stage }) => stage.workflowId))];
  const late = new Set(order.slice(Math.ceil(order.length * (1 - share))));
  return (call) => late.has(call.stage.workflowId);
}

/** A number in [0, 1) that is spread evenly over texts (FNV-1a, with the finaliser of MurmurHash3). */
export function unitHash(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
