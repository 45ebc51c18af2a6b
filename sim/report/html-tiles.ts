import { formatKvSeconds, formatMs, formatNumber, formatPercent, formatRate, formatRatio, MISSING } from './format.js';
import type { Report } from './schema.js';
import { escapeXml } from './svg/element.js';

/** Attainment from which a run counts as good, and below which as poor; what the colours of the page mean. */
const GOOD_ATTAINMENT = 0.95;
const POOR_ATTAINMENT = 0.8;

/** The sentence at the top of the page. */
export function verdict(report: Report): string {
  const { workflows, met, attainment, failed, unfinished } = report.overall;
  if (attainment === null) return '<p class="verdict">No workflow arrived after the warm-up.</p>';
  const share = `<b class="${attainmentClass(attainment)}">${formatPercent(attainment)}</b>`;
  const misses = [
    [report.overall.completed - met, 'late'],
    [failed, 'failed'],
    [unfinished, 'unfinished'],
  ] as const;
  const parts = misses.filter(([count]) => count > 0).map(([count, label]) => `${formatNumber(count)} ${label}`);
  const rest = parts.length === 0 ? 'None missed it' : `Misses: ${parts.join(', ')}`;
  return `<p class="verdict">${share} of ${formatNumber(workflows)} workflows finished within their deadline. ${rest}.</p>`;
}

function attainmentClass(attainment: number | null): string {
  if (attainment === null) return '';
  return attainment >= GOOD_ATTAINMENT ? 'good' : attainment >= POOR_ATTAINMENT ? 'fair' : 'poor';
}

/** What a reader wants to know first. */
export function tiles(report: Report): string {
  const { overall, coldStarts } = report;
  const { requests } = overall;
  const parts = [
    tile('Attainment by class', attainmentMeters(report), true),
    tile('KV memory promised', kvMeters(report), true),
    tile(
      'Goodput',
      value(formatRate(overall.goodputPerSecond)) +
        note(`workflows in time; ${formatRate(report.request_goodput)} requests within TTFT and TPOT targets`),
    ),
    tile(
      'Workflow duration',
      value(formatMs(overall.durationMs.p50), 'p50') +
        note(`p95 ${formatMs(overall.durationMs.p95)}; slowdown p50 ${formatRatio(overall.slowdown.p50)}`),
    ),
    tile(
      'Queue wait of a request',
      value(formatMs(requests.queueMs.p50), 'p50') +
        note(`p95 ${formatMs(requests.queueMs.p95)}, longest ${formatMs(requests.queueMs.max)}`),
    ),
    tile(
      'Cold starts',
      value(formatMs(coldStarts.requestSeconds * 1000), 'waited') +
        note(
          `${formatNumber(coldStarts.stages)} of ${formatNumber(requests.stages)} requests waited for weights` +
            (coldStarts.fleetCount === null ? '' : `; ${formatNumber(coldStarts.fleetCount)} wakes and loads in all`),
        ),
    ),
  ];
  return `<section class="tiles" aria-label="Verdict">${parts.join('')}</section>`;
}

function tile(title: string, body: string, big = false): string {
  return `<div class="tile${big ? ' big' : ''}"><h3>${title}</h3>${body}</div>`;
}

function value(text: string, what = ''): string {
  return `<div class="value">${unbroken(text)}${what === '' ? '' : ` <small>${unbroken(what)}</small>`}</div>`;
}

function note(text: string): string {
  return `<p>${unbroken(text)}</p>`;
}

/** Markup of a text whose numbers stay on one line with their units. */
function unbroken(text: string): string {
  return escapeXml(text).replace(/(\d) (?=%|\/|[a-zA-Z]{1,3}\b)/g, '$1\u00a0');
}

interface Meter {
  readonly label: string;
  /** 0..1 */
  readonly share: number;
  readonly value: string;
  readonly swatch: string;
}

function meters(rows: readonly Meter[]): string {
  const cells = rows.map(({ label, share, value, swatch }) => {
    const percent = (Math.min(1, Math.max(0, share)) * 100).toFixed(1);
    return `<span>${escapeXml(label)}</span><span class="meter ${swatch}"><i style="width:${percent}%"></i></span><b>${escapeXml(value)}</b>`;
  });
  return `<div class="meters">${cells.join('')}</div>`;
}

function attainmentMeters(report: Report): string {
  const rows = report.classes.map(
    ({ name, attainment, met, workflows }): Meter => ({
      label: name,
      share: attainment ?? 0,
      value:
        workflows === 0 ? MISSING : `${formatPercent(attainment)} · ${formatNumber(met)} of ${formatNumber(workflows)}`,
      swatch: `m-${attainmentClass(attainment) || 'none'}`,
    }),
  );
  return value(formatPercent(report.overall.attainment), 'of all workflows') + meters(rows);
}

function kvMeters(report: Report): string {
  const { kv } = report;
  if (kv === null) return value(MISSING) + note('The target does not report its KV reservations.');
  const most = Math.max(1, kv.maxTokenByteSeconds, kv.reservedByteSeconds, kv.usedByteSeconds);
  const meter = (label: string, amount: number, swatch: string): Meter => ({
    label,
    share: amount / most,
    value: formatKvSeconds(amount, kv.unit),
    swatch,
  });
  const overflow =
    kv.nodeOverflowRate === null ? '' : `; true use exceeded it ${formatPercent(kv.nodeOverflowRate, 2)} of the time`;
  return (
    value(formatPercent(kv.reservedOverMaxToken), 'of max-token reservation') +
    meters([
      meter('max-token', kv.maxTokenByteSeconds, 'c7'),
      meter('reserved', kv.reservedByteSeconds, 'c0'),
      meter('used', kv.usedByteSeconds, 'c2'),
    ]) +
    note(`${formatRatio(kv.reservedOverUsed)} what was truly used${overflow}`)
  );
}
