import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTrace } from './reader.js';
import type { TraceRow } from './schema.js';
import { groupWorkflows, hashRunsOf, toRuns } from './workflow.js';
import { writeTrace } from './writer.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maestro-roundtrip-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Sound traces: rows of a few workflows, each waiting only for earlier rows of its own. */
const traces = fc
  .array(
    fc.record({
      workflow: fc.integer({ min: 0, max: 3 }),
      input_length: fc.nat(1e6),
      output_length: fc.nat(1e5),
      before: fc.array(fc.nat(20), { maxLength: 3 }),
      delay: fc.option(fc.double({ min: 0, max: 1e6, noNaN: true }), { nil: undefined }),
      hash_ids: fc.option(fc.array(fc.nat(50), { maxLength: 30 }), { nil: undefined }),
      role: fc.option(fc.constantFrom('planner', 'worker'), { nil: undefined }),
    }),
    { minLength: 1, maxLength: 25 },
  )
  .map((drafts) =>
    drafts.map(({ workflow, before, ...fields }, index): TraceRow => {
      const wait_for = [...new Set(before.filter((other) => other < index && drafts[other]?.workflow === workflow))];
      const row: TraceRow = { request_id: `r${index}`, workflow_id: `w${workflow}`, ...fields };
      if (wait_for.length > 0) row.wait_for = wait_for.map((other) => `r${other}`);
      return JSON.parse(JSON.stringify(row)) as TraceRow;
    }),
  );

describe('a written trace', () => {
  it('reads back the same, gzip or not', async () => {
    await fc.assert(
      fc.asyncProperty(traces, fc.constantFrom('t.jsonl', 't.jsonl.gz'), async (rows, name) => {
        const path = join(folder, name);
        const header = { maestro_trace: 1 as const, source: 'generated' };
        expect(await writeTrace(path, header, rows)).toBe(rows.length);
        expect(await readTrace(path)).toEqual({ header, rows });
      }),
      { numRuns: 40 },
    );
  });

  it('keeps every row in exactly one workflow', () => {
    fc.assert(
      fc.property(traces, (rows) => {
        const grouped = groupWorkflows(rows).flatMap((workflow) => workflow.rows);
        expect(new Set(grouped)).toEqual(new Set(rows));
        expect(grouped).toHaveLength(rows.length);
      }),
    );
  });

  it('loses no block in runs', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40)), (ids) => {
        const runs = toRuns(ids);
        expect(runs.flatMap(([first, count]) => Array.from({ length: count }, (_, index) => first + index))).toEqual(
          ids,
        );
        expect(hashRunsOf({ request_id: 'r', input_length: 1, output_length: 1, hash_ids: ids })).toEqual(runs);
      }),
    );
  });
});
