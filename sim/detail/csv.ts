import type { StageRecord } from '../report/types.js';

const COLUMNS = [
  'stageId',
  'workflowId',
  'role',
  'model',
  'sloClass',
  'startMs',
  'queueMs',
  'coldStartMs',
  'firstTokenMs',
  'endMs',
  'promptTokens',
  'cachedTokens',
  'outputTokens',
  'maxTokens',
  'node',
  'engine',
  'outcome',
] as const satisfies readonly (keyof StageRecord)[];

/** One line for each stage, in the order in which they ended. Times in milliseconds of the run; an empty field is not known. */
export function stagesCsv(stages: readonly StageRecord[]): string {
  const lines = stages.map((stage) => COLUMNS.map((name) => field(stage[name])).join(','));
  return `${[COLUMNS.join(','), ...lines].join('\n')}\n`;
}

function field(value: string | number | undefined): string {
  if (value === undefined) return '';
  if (typeof value === 'number') return String(Math.round(value * 1000) / 1000);
  return /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
}
