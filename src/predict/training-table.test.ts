import { describe, expect, it } from 'vitest';
import { traceCalls } from '../../sim/predict/trace-calls.js';
import { predictionTrace } from '../../test/prediction-trace.js';
import type { CallExample } from './examples.js';
import { FEATURE_NAMES } from './features.js';
import { type TrainingTable, trainingTable } from './training-table.js';

const history = traceCalls(predictionTrace(40));
const groupOf = ({ task }: CallExample) => Number(task.replace('task-', '')) % 4;
const width = FEATURE_NAMES.length;
const rowOf = (table: TrainingTable, row: number) => table.matrix.values.slice(row * width, (row + 1) * width);
const column = (table: TrainingTable, row: number, name: string) => rowOf(table, row)[FEATURE_NAMES.indexOf(name)]!;

describe('the training table', () => {
  it('knows nothing at first, or with groups what was seen of the others', () => {
    const [alone, grouped] = [trainingTable(history), trainingTable(history, groupOf)];
    const columns = ['seen_q50', 'lookup_q50', 'seen_remaining'];
    for (const name of columns) {
      expect(column(alone, 0, name), name).toBeNaN();
      for (let row = 0; row < 8; row++) expect(column(grouped, row, name), name).toBeGreaterThan(0);
    }
    expect(grouped.calls).toEqual(alone.calls);
    for (const target of ['logTokens', 'toolCalled'] as const) expect(grouped[target]).toEqual(alone[target]);
    // Service times are learned on the way.
    expect(Array.from(grouped.logRemaining, Number.isNaN)).toEqual(Array.from(alone.logRemaining, Number.isNaN));
  });

  it('never knows the output of a call of the own group before it has ended', () => {
    const changed = history.calls.findIndex(({ stage }) => stage.stageId === 'essay-6/1');
    const other = {
      ...history,
      calls: history.calls.map((call, place) =>
        place === changed ? { ...call, outcome: { ...call.outcome, outputTokens: 30_000 } } : call,
      ),
    };
    const [before, after] = [trainingTable(history, groupOf), trainingTable(other, groupOf)];
    const endsAt = history.events.findIndex((event) => event.kind === 'end' && event.call === changed);
    const begun = history.events.flatMap((event, at) => (event.kind === 'begin' ? [{ at, place: event.call }] : []));
    let differing = 0;
    begun.forEach(({ at, place }, row) => {
      const isSame = Buffer.from(rowOf(before, row).buffer).equals(Buffer.from(rowOf(after, row).buffer));
      const isOwn = groupOf(history.calls[place]!) === groupOf(history.calls[changed]!);
      if (isOwn && at < endsAt) expect(isSame).toBe(true);
      else if (!isSame) differing += 1;
    });
    expect(differing).toBeGreaterThan(0);
  });
});
