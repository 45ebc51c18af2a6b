import { z } from 'zod';
import { type TraceRow, traceRowSchema } from '../schema.js';
import { parseRecord, readRecords, refuse, type SourceFile, type TraceImporter } from './importer.js';
import { fromZero } from './rows.js';

/** The fields of an Agentic Mooncake row; other keys of later versions are left out. */
const agenticRow = z.object({
  ...traceRowSchema.pick({
    request_id: true,
    session_id: true,
    delay: true,
    wait_for: true,
    branches: true,
    prefix_reset: true,
    tool_wait_ms: true,
    tool_events: true,
    hash_ids: true,
    block_tokens: true,
  }).shape,
  // Milliseconds, also since 1970.
  timestamp: z.number().min(0).max(1e13).optional(),
  input_length: z.int().min(0).optional(),
  output_length: z.int().min(0).optional(),
});

/**
 * Agentic Mooncake (JSONL, as written by Dynamo's request-trace converter). A workflow is what hangs together through `wait_for`,
 * `branches` or a session: the format itself names none.
 */
export const agenticMooncake: TraceImporter = {
  format: 'agentic-mooncake',
  summary: 'Agentic Mooncake: JSONL of requests with wait_for, delay and tool waits',
  async read(files, { limitWorkflows }) {
    const rows: TraceRow[] = [];
    for (const file of files) for (const row of await readRows(file)) rows.push(row);
    const workflowOf = connect(rows);
    const firstRow = new Map<string, string>();
    const named = rows.map((row): TraceRow => {
      const group = workflowOf(row.request_id);
      if (!firstRow.has(group)) firstRow.set(group, row.session_id ?? row.request_id);
      return { ...row, workflow_id: firstRow.get(group)!, derived: ['workflow_id:rule'] };
    });
    const kept = new Set([...firstRow.values()].slice(0, limitWorkflows));
    return {
      header: {
        maestro_trace: 1,
        source: 'Agentic Mooncake',
        notes: ['Derived: workflow_id, by connection through wait_for, branches and sessions.'],
      },
      rows: fromZero(named.filter(({ workflow_id }) => kept.has(workflow_id!))),
    };
  },
};

async function readRows(file: SourceFile): Promise<TraceRow[]> {
  const rows: TraceRow[] = [];
  for await (const { record, line } of readRecords(file)) {
    const parsed = parseRecord(agenticRow, record, file, line);
    if (!parsed) continue;
    const { input_length, output_length, ...rest } = parsed;
    if (input_length === undefined || output_length === undefined) {
      refuse(file, line, 'input_length and output_length are needed; rows without them cannot be replayed');
      continue;
    }
    const known = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)) as typeof rest;
    rows.push({ ...known, input_length, output_length });
  }
  return rows;
}

/** Union-find over rows, sessions and the links between rows. Returns the representative of a row's group. */
function connect(rows: readonly TraceRow[]): (requestId: string) => string {
  const parent = new Map<string, string>();
  const find = (key: string): string => {
    let root = key;
    for (let up = parent.get(root); up !== undefined && up !== root; up = parent.get(root)) root = up;
    for (let at = key; at !== root; ) {
      const up = parent.get(at) ?? root;
      parent.set(at, root);
      at = up;
    }
    return root;
  };
  const join = (a: string, b: string) => parent.set(find(a), find(b));
  for (const row of rows) {
    const key = `row ${row.request_id}`;
    if (row.session_id !== undefined) join(key, `session ${row.session_id}`);
    for (const other of [...(row.wait_for ?? []), ...(row.branches ?? [])]) join(key, `row ${other}`);
  }
  return (requestId) => find(`row ${requestId}`);
}
