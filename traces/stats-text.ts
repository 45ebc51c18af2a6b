import type { Percentiles, TraceStats } from './stats.js';

/** The statistics of a trace as text for a terminal. */
export function renderStats(stats: TraceStats): string {
  const lines: string[] = [];
  const row = (label: string, text: string) => lines.push(`${label.padEnd(22)}${text}`);
  row('workflows', number(stats.workflows));
  row('stages', number(stats.stages));
  const partly = stats.arrivals < stats.workflows ? `, of ${number(stats.arrivals)} workflows only` : '';
  row('arrivals', stats.spanMs === undefined ? 'none recorded' : `over ${duration(stats.spanMs)}${partly}`);
  lines.push('', `${''.padEnd(22)}${['mean', 'p50', 'p90', 'p99', 'max'].map((head) => head.padStart(11)).join('')}`);
  const spread = (label: string, values: Percentiles | undefined, format: (value: number) => string) => {
    if (!values) return;
    const { mean, p50, p90, p99, max } = values;
    row(label, [mean, p50, p90, p99, max].map((value) => format(value).padStart(11)).join(''));
  };
  spread('prompt tokens', stats.inputTokens, number);
  spread('output tokens', stats.outputTokens, number);
  spread('stages a workflow', stats.stagesPerWorkflow, number);
  spread('depth', stats.depth, number);
  spread('fan-out', stats.fanOut, number);
  spread('join', stats.join, number);
  spread('think/tool time', stats.waitMs, duration);
  spread('gap between arrivals', stats.arrivalGapMs, duration);
  lines.push('', `${'template / role'.padEnd(36)}${'stages'.padStart(8)}   prompt p50 / p90      output p50 / p90`);
  for (const role of stats.roles) {
    const pair = ({ p50, p90 }: Percentiles) => `${number(p50).padStart(8)} /${number(p90).padStart(8)}`;
    lines.push(
      `${`${role.template} / ${role.role}`.padEnd(36)}${number(role.stages).padStart(8)}   ${pair(role.inputTokens)}   ${pair(role.outputTokens)}`,
    );
  }
  lines.push('');
  row('stages by model', counts(stats.models));
  row('stages by class', counts(stats.classes));
  row('rows with field', counts(stats.fields));
  if (Object.keys(stats.derived).length > 0) row('not recorded', counts(stats.derived));
  return `${lines.join('\n')}\n`;
}

function counts(tally: Readonly<Record<string, number>>): string {
  return Object.entries(tally)
    .map(([word, count]) => `${word} ${number(count)}`)
    .join(', ');
}

function number(value: number): string {
  if (value < 100 && !Number.isInteger(value)) return value.toFixed(1);
  return Math.round(value).toLocaleString('en-US');
}

function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 7_200_000 ? `${(ms / 60_000).toFixed(1)} min` : `${(ms / 3_600_000).toFixed(1)} h`;
}
