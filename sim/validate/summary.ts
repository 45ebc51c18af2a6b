import { type ErrorSummary, summariseErrors } from './errors.js';
import type { ComparedRow, SiliconRow } from './silicon.js';

export interface GroupSummary {
  readonly name: string;
  readonly rows: number;
  readonly tpot: ErrorSummary;
  readonly ttft: ErrorSummary;
}

export interface SiliconSummary {
  readonly compared: number;
  readonly skipped: number;
  /** By backend and model family. */
  readonly families: readonly GroupSummary[];
  /** By backend, GPU, model, precision and TP. */
  readonly partitions: readonly GroupSummary[];
  readonly reasons: readonly { readonly reason: string; readonly rows: number }[];
}

export function summariseSilicon(rows: readonly SiliconRow[]): SiliconSummary {
  const compared = rows.filter((row): row is ComparedRow => 'partition' in row);
  const reasons = new Map<string, number>();
  for (const row of rows) if ('skipped' in row) reasons.set(row.skipped, (reasons.get(row.skipped) ?? 0) + 1);
  return {
    compared: compared.length,
    skipped: rows.length - compared.length,
    families: grouped(
      compared,
      ({ backend, family }) => `${backend}, ${family === 'moe' ? 'mixtures of experts' : 'dense'}`,
    ),
    partitions: grouped(compared, ({ backend, gpu, model, precision, tp, dataParallel }) =>
      [backend, gpu, model, precision, dataParallel === undefined ? `TP${tp}` : `DP${dataParallel} of ${tp} GPUs`].join(
        ' ',
      ),
    ),
    reasons: [...reasons].map(([reason, count]) => ({ reason, rows: count })).sort((a, b) => b.rows - a.rows),
  };
}

function grouped(
  rows: readonly ComparedRow[],
  nameOf: (partition: ComparedRow['partition']) => string,
): GroupSummary[] {
  const groups = new Map<string, ComparedRow[]>();
  for (const row of rows) {
    const name = nameOf(row.partition);
    const group = groups.get(name);
    if (group) group.push(row);
    else groups.set(name, [row]);
  }
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, members]) => ({
      name,
      rows: members.length,
      tpot: summariseErrors(
        members.flatMap(({ tpotMs, measuredTpotMs }) =>
          tpotMs === undefined || measuredTpotMs === undefined ? [] : [[tpotMs, measuredTpotMs]],
        ),
      ),
      ttft: summariseErrors(members.map(({ ttftMs, measuredTtftMs }) => [ttftMs, measuredTtftMs])),
    }));
}
