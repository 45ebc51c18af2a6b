import type { PredictionReport, SourceFigures } from './report.js';

/** A report for the terminal: a line a template, then what holds for all of them. */
export function reportText(report: PredictionReport, title: string): string {
  const rows = Object.entries(report.templates).map(([name, figures]) => lengthLine(name, figures));
  if (rows.length > 1) rows.push(lengthLine('all', report));
  const { coverage, tool, remaining, nextRole, reservation } = report;
  const worst = coverage.worstRole;
  return [
    title,
    '',
    'output length, mean absolute error in tokens',
    columns(['', 'calls', 'model', 'role median', 'agent/phase', 'best lookup', 'EWMA', 'vs role', 'vs phase', 'tau']),
    ...rows,
    '',
    `pinball q30/q50/q95: ${Object.values(report.length.pinball).map(round).join(' / ')} tokens; R² of the logarithm ${report.length.rSquared.toFixed(2)}`,
    `tool calls: ${tool.calls} choices, AUC ${tool.auc === undefined ? '-' : tool.auc.toFixed(3)}, Brier ${tool.calls === 0 ? '-' : tool.brier.toFixed(3)}`,
    `bounds: ${percent(coverage.overflow)} of the calls outgrew theirs${coverage.overflowAfter1000 === undefined ? '' : ` (${percent(coverage.overflowAfter1000)} after the first 1000)`}` +
      `${worst ? `; worst role ${worst.role} with ${percent(worst.overflow)} of ${worst.calls}` : ''}`,
    `reserved for outputs, of 4096 a call: ${percent(reservation.perCall.reservedShare)} a call; pooled ${reservation.pooled
      .filter(({ windows }) => windows > 0)
      .map(
        ({ concurrentCalls, reservedShare, reservedOverTrue, overflow }) =>
          `${percent(reservedShare)} at ${concurrentCalls} (${reservedOverTrue.toFixed(2)} × true, ${percent(overflow)} of windows overflow)`,
      )
      .join(', ')}`,
    `remaining work: ${remaining.pairAccuracy === undefined ? '-' : percent(remaining.pairAccuracy)} of pairs of ${remaining.workflows} workflows ranked right`,
    `next role: ${percent(nextRole.top1)} first, ${percent(nextRole.top2)} among two`,
    '',
  ].join('\n');
}

function lengthLine(name: string, { length, baselines }: SourceFigures): string {
  const against = (baseline: number) => percent(length.mae / baseline - 1);
  return columns([
    name,
    String(length.calls),
    round(length.mae),
    round(baselines.roleMedian.mae),
    round(baselines.modelAgentPhaseMedian.mae),
    round(baselines.bestLookup.mae),
    round(baselines.ewma.mae),
    against(baselines.roleMedian.mae),
    against(baselines.modelAgentPhaseMedian.mae),
    length.kendallTau?.toFixed(2) ?? '-',
  ]);
}

function columns(cells: readonly string[]): string {
  return cells.map((cell, index) => (index === 0 ? cell.padEnd(20) : cell.padStart(12))).join('');
}

function round(value: number): string {
  return value < 100 ? value.toFixed(1) : value.toFixed(0);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
