import { MaestroError } from '../../src/model/error.js';
import { nextInt, type Rng } from '../../src/model/rng.js';
import type { TraceRow } from '../schema.js';
import { groupWorkflows, type TraceWorkflow } from '../workflow.js';
import type { ComposePart, ComposeSpec } from './spec.js';
import { cutAbove, splitAtUserMessages } from './split.js';

/** The workflows of a trace that meet the conditions of a part. */
export function candidatesOf(part: ComposePart, rows: readonly TraceRow[]): TraceWorkflow[] {
  let candidates = groupWorkflows(rows);
  const { templates, cutAboveInputTokens, maxInputTokens = Infinity, minStages, maxStages = Infinity } = part;
  if (templates)
    candidates = candidates.filter(({ template }) => template !== undefined && templates.includes(template));
  if (part.splitAt === 'user-message') candidates = candidates.flatMap(splitAtUserMessages);
  if (cutAboveInputTokens !== undefined)
    candidates = candidates.map((workflow) => cutAbove(workflow, cutAboveInputTokens));
  return candidates.filter(
    ({ rows }) =>
      rows.length >= minStages && rows.length <= maxStages && rows.every((row) => row.input_length <= maxInputTokens),
  );
}

/** Draws without replacement, over all parts of a spec. */
export class Drawn {
  private readonly workflows = new Set<string>();
  private readonly calls = new Set<string>();

  /** The workflows of one part, among those whose ids no earlier part has taken. */
  take(part: ComposePart, candidates: readonly TraceWorkflow[], rng: Rng): TraceWorkflow[] {
    const free = candidates.filter(
      ({ workflowId, rows }) =>
        !this.workflows.has(workflowId) && !rows.some(({ request_id }) => this.calls.has(request_id)),
    );
    if (free.length < part.take) {
      const gone = candidates.length - free.length;
      throw new MaestroError(
        'invalid_request',
        `${part.trace}: ${part.take} workflows wanted, ${free.length} fit the conditions${gone > 0 ? `; ${gone} more have ids that an earlier part of the spec has drawn` : ''}`,
      );
    }
    shuffle(free, rng);
    const taken = free.slice(0, part.take);
    for (const { workflowId, rows } of taken) {
      this.workflows.add(workflowId);
      for (const { request_id } of rows) this.calls.add(request_id);
    }
    return taken;
  }
}

/** The arrival times that the spec draws from, in order, with those that it skips. */
export function recordedTimes({ arrivals: { template } }: ComposeSpec, rows: readonly TraceRow[]): number[] {
  return rows
    .filter((row) => row.timestamp !== undefined && (template === undefined || row.template === template))
    .map((row) => row.timestamp!)
    .sort((a, b) => a - b);
}

/** Fisher and Yates. */
export function shuffle<T>(items: T[], rng: Rng): void {
  for (let last = items.length - 1; last > 0; last--) {
    const other = nextInt(rng, last + 1);
    [items[last], items[other]] = [items[other]!, items[last]!];
  }
}
