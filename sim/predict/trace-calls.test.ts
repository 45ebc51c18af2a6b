import { describe, expect, it } from 'vitest';
import { FEATURE_NAMES } from '../../src/predict/features.js';
import { trainingTable } from '../../src/predict/training-table.js';
import type { TraceRow } from '../../traces/schema.js';
import { traceCalls } from './trace-calls.js';

/** Workflows of a plan, two siblings and a summary. */
function fanOuts(count: number, lengthOf: (id: string) => number): TraceRow[] {
  return Array.from({ length: count }, (_, index) => {
    const row = (name: string, role: string, waitFor: readonly string[]): TraceRow => ({
      request_id: `w${index}/${name}`,
      workflow_id: `w${index}`,
      ...(waitFor.length > 0 && { wait_for: waitFor.map((each) => `w${index}/${each}`) }),
      ...{ input_length: 100, output_length: lengthOf(`w${index}/${name}`), template: 'team', role, model: 'm' },
    });
    return [
      row('plan', 'plan', []),
      row('a', 'act', ['plan']),
      row('b', 'act', ['plan']),
      row('end', 'end', ['a', 'b']),
    ];
  }).flat();
}

function tableOf(rows: readonly TraceRow[]) {
  const history = traceCalls(rows);
  const table = trainingTable(history);
  const width = FEATURE_NAMES.length;
  const byRequest = new Map(
    Array.from(table.calls, (call, row) => [
      history.calls[call]!.stage.stageId,
      table.matrix.values.slice(row * width, (row + 1) * width),
    ]),
  );
  return { history, table, byRequest };
}

const usual = (id: string) => 50 + ((id.length * 7919 + id.charCodeAt(id.length - 1) * 31) % 400);

describe('the calls of a trace', () => {
  it('begin when what they wait for has ended, and all of them end', () => {
    const { history } = tableOf(fanOuts(20, usual));
    const at = new Map(history.events.map((event, place) => [`${event.kind} ${nameOf(event)}`, place]));
    function nameOf(event: (typeof history.events)[number]): string {
      return event.kind === 'workflowEnded' ? event.workflowId : history.calls[event.call]!.stage.stageId;
    }
    expect(history.calls).toHaveLength(80);
    expect(at.size).toBe(180);
    for (let index = 0; index < 20; index++) {
      expect(at.get(`end w${index}/plan`)).toBeLessThan(at.get(`begin w${index}/a`)!);
      expect(at.get(`begin w${index}/b`)).toBeLessThan(at.get(`end w${index}/a`)!);
      expect(at.get(`end w${index}/b`)).toBeLessThan(at.get(`begin w${index}/end`)!);
    }
  });

  it('see what their workflow did, and not what runs beside them', () => {
    const { history } = tableOf(fanOuts(1, usual));
    const past = (name: string) => history.calls.find(({ stage }) => stage.stageId === `w0/${name}`)!.context.past!;
    expect(past('plan').ofWorkflow).toBeUndefined();
    expect(past('b').ofWorkflow).toMatchObject({ calls: 1, lastTokens: usual('w0/plan') });
    expect(past('b').ofRole).toBeUndefined();
    expect(past('end').ofParents).toMatchObject({ calls: 2 });
  });

  /** Whatever leaks the future shows here: the features of a call depend on no output of a call that had not ended when it began. */
  it.each(['w3/plan', 'w3/a', 'w19/end'])('never know the output of %s before it has ended', (changed) => {
    const before = tableOf(fanOuts(30, usual));
    const after = tableOf(fanOuts(30, (id) => (id === changed ? 30_000 : usual(id))));
    const endsAt = before.history.events.findIndex(
      (event) => event.kind === 'end' && before.history.calls[event.call]!.stage.stageId === changed,
    );
    let differing = 0;
    before.history.events.forEach((event, place) => {
      if (event.kind !== 'begin') return;
      const id = before.history.calls[event.call]!.stage.stageId;
      const same = Buffer.from(before.byRequest.get(id)!.buffer).equals(Buffer.from(after.byRequest.get(id)!.buffer));
      if (place < endsAt) expect(same, id).toBe(true);
      else if (!same) differing += 1;
    });
    // The check can fail: later calls do see it.
    if (!changed.endsWith('end')) expect(differing).toBeGreaterThan(0);
  });

  it('teach no length that an importer made up', () => {
    const rows = fanOuts(1, usual).map(
      (row, index): TraceRow => (index === 0 ? { ...row, derived: ['output_length:sample:role'] } : row),
    );
    const { table } = tableOf(rows);
    expect(Array.from(table.logTokens, Number.isNaN)).toEqual([true, false, false, false]);
  });

  it('do not tell their length by their limit', () => {
    const { history } = tableOf(fanOuts(1, (id) => (id === 'w0/a' ? 9000 : 10)));
    expect(new Set(history.calls.map(({ stage }) => stage.maxTokens)).size).toBe(1);
  });
});
