import { quantile } from '../../sim/report/stats.js';
import type { WorkflowRecord } from '../../sim/report/types.js';
import { durationOf } from '../../sim/report/workflow-stats.js';

const QUANTILES = [0.5, 0.9, 0.99] as const;

/** The same workflows, played twice. Times in milliseconds. */
export interface Agreement {
  readonly load: number;
  readonly workflows: number;
  /** Workflows that did not complete. */
  readonly failed: { readonly live: number; readonly simulated: number };
  /** Workflows within their deadline, 0 to 1. */
  readonly attainment: { readonly live: number; readonly simulated: number };
  /** Of the duration of workflows. */
  readonly quantiles: readonly { readonly q: number; readonly liveMs: number; readonly simulatedMs: number }[];
  /** Live over simulated duration of each workflow that completed in both: quantiles 0.1, 0.5 and 0.9. */
  readonly ratioOfEach: readonly [number, number, number];
}

export function agreementOf(
  load: number,
  live: readonly WorkflowRecord[],
  simulated: readonly WorkflowRecord[],
): Agreement {
  const simulatedMs = new Map(simulated.map((workflow) => [workflow.workflowId, durationOf(workflow)]));
  const ratios = live.flatMap((workflow) => {
    const [ms, otherMs] = [durationOf(workflow), simulatedMs.get(workflow.workflowId)];
    return ms === undefined || otherMs === undefined ? [] : [ms / otherMs];
  });
  const at = (workflows: readonly WorkflowRecord[], q: number) =>
    quantile(
      workflows.map(durationOf).filter((ms) => ms !== undefined),
      q,
    ) ?? Number.NaN;
  const share = (workflows: readonly WorkflowRecord[]) =>
    workflows.filter(({ met }) => met).length / Math.max(1, workflows.length);
  const failed = (workflows: readonly WorkflowRecord[]) => workflows.filter(({ completed }) => !completed).length;
  const ratio = (q: number) => quantile(ratios, q) ?? Number.NaN;
  return {
    load,
    workflows: live.length,
    failed: { live: failed(live), simulated: failed(simulated) },
    attainment: { live: share(live), simulated: share(simulated) },
    quantiles: QUANTILES.map((q) => ({ q, liveMs: at(live, q), simulatedMs: at(simulated, q) })),
    ratioOfEach: [ratio(0.1), ratio(0.5), ratio(0.9)],
  };
}

export function renderAgreement(results: readonly Agreement[]): string {
  const seconds = (ms: number) => (ms / 1000).toFixed(2);
  const lines = [
    '| load | workflows | quantile | live s | simulated s | live / simulated |',
    '| ---: | ---: | --- | ---: | ---: | ---: |',
    ...results.flatMap(({ load, workflows, quantiles }) =>
      quantiles.map(({ q, liveMs, simulatedMs }) => {
        const ratio = (liveMs / simulatedMs).toFixed(3);
        return `| ${load} | ${workflows} | p${Math.round(100 * q)} | ${seconds(liveMs)} | ${seconds(simulatedMs)} | ${ratio} |`;
      }),
    ),
    '',
  ];
  for (const { load, failed, attainment, ratioOfEach } of results) {
    const percent = (share: number) => (100 * share).toFixed(1);
    lines.push(
      `Load ${load}: in time ${percent(attainment.live)} % live, ${percent(attainment.simulated)} % simulated; not completed ${failed.live} and ${failed.simulated}; ` +
        `live / simulated of single workflows ${ratioOfEach.map((ratio) => ratio.toFixed(2)).join(' / ')} (p10 / p50 / p90)`,
    );
  }
  return `${lines.join('\n')}\n`;
}
