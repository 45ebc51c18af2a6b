import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { sweepWorkload } from '../../src/cli/sweep-workload.js';
import { parseConfig } from '../../src/config/load.js';
import { SMALL_FLEET } from '../../test/sim-scenario.js';
import type { TraceRow } from '../../traces/schema.js';
import { HALF_PLOT } from '../report/charts/figure.js';
import type { NodeVariant } from '../types.js';
import { loadFigure } from './charts.js';
import { executeSweep } from './execute.js';
import { renderSweepHtml } from './html.js';
import { JOURNAL_FILE, openJournal, readJournal } from './journal.js';
import { renderSweepMarkdown } from './markdown.js';
import { type PlannedCell, planSweep } from './plan.js';
import { policyColours } from './policy-colours.js';
import { buildSweepReport, type SweepReport } from './report.js';
import { sweepReportJsonSchema, sweepReportSchema } from './report-schema.js';
import { runCell } from './run-cell.js';
import { groupCells } from './tables.js';

const config = parseConfig(SMALL_FLEET, 'fleet');
const rows = Array.from(
  { length: 40 },
  (_, index): TraceRow => ({
    request_id: `r${index}`,
    timestamp: index * 100,
    input_length: 200,
    output_length: 50 + (index % 7) * 40,
    model: 'llama-3.1-8b',
  }),
);
const workload = sweepWorkload({
  ...{ name: 'small', about: 'for the test', rows, config, modelMap: new Map(), capacitySpeed: 1, warmupShare: 0 },
  limitWorkflows: undefined,
});
it('a load of workflows that all arrive at once is refused, unless its speed is given', () => {
  const args = { ...{ name: 'once', about: '', config, modelMap: new Map(), warmupShare: 0 }, rows: rows.slice(0, 1) };
  expect(() => sweepWorkload(args)).toThrow('arrive at one time');
  const once = sweepWorkload({ ...args, capacitySpeed: 1 });
  expect(once.workflows).toHaveLength(1);
  const { goodputPerSecond } = runCell(once, { ...cells[0]!, workload: 'once' });
  // One workflow of 50 tokens, which take half a second or so.
  expect(goodputPerSecond).toBeGreaterThan(0.2);
  expect(goodputPerSecond).toBeLessThan(10);
});

const cells = ['fcfs', 'edf'].flatMap((policy) =>
  [1, 2].map(
    (seed): PlannedCell => ({
      ...{ part: 'runs', workload: 'small', deadlineRule: 'class', policy, load: 1, seed },
      ...{ placement: 'maestro', reservation: 'predicted', prediction: { kind: 'online' } },
    }),
  ),
);
const plan = planSweep({ title: 'T', command: 'c', notes: [] }, [workload], cells);

describe('the report of a sweep', () => {
  let directory: string;
  let report: SweepReport;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'maestro-sweep-'));
    const found = await executeSweep(plan, [workload], { directory, jobs: 1 });
    report = buildSweepReport(
      plan,
      plan.cells.map((_, index) => found.get(index)!),
    );
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it('is as its schema says', () => {
    const document: unknown = JSON.parse(JSON.stringify(report));
    expect(sweepReportSchema.parse(document)).toEqual(document);
    expect(sweepReportSchema.safeParse({ ...report, more: 1 }).success).toBe(false);
    const node: Required<NodeVariant> = {
      ...{ weights: 'lru', retention: 'none', prefetch: false, firstSleep: false },
      ...{ elasticKv: false, pooledKv: false, staging: false, coLocation: false },
    };
    const ablations = [{ ...report.runs[0]!, node }];
    expect(sweepReportSchema.safeParse({ ...report, ablations }).error).toBeUndefined();
  });

  it('says how many runs and workflows a figure is the mean of, and what its mark means', () => {
    const text = renderSweepMarkdown(report);
    expect(text).toContain('n = 2 runs (seeds) of each policy and load, each of 40 workflows after the warm-up.');
    expect(text).toContain('marked (◂ or green)');
  });

  it('has its JSON Schema in the documentation; -u brings it up to date', async () => {
    const text = `${JSON.stringify(sweepReportJsonSchema(), null, 2)}\n`;
    await expect(text).toMatchFileSnapshot('../../docs/schemas/sweep-report.json');
  });

  it('states a distribution that rises at as many points as the report names, and goodput by GPU and dollar', () => {
    for (const { slowdown, goodputPerSecond, goodputPerGpuHour, goodputPerDollar } of report.runs) {
      expect(slowdown.cdf).toHaveLength(report.slowdownPoints.length);
      expect(slowdown.cdf).toEqual([...slowdown.cdf].sort((a, b) => a - b));
      expect(slowdown.cdf.at(-1)).toBe(1);
      const { gpus, dollarsPerHour } = report.workloads[0]!;
      expect(goodputPerGpuHour * gpus).toBeCloseTo(goodputPerSecond * 3600, 6);
      expect(goodputPerDollar! * dollarsPerHour!).toBeCloseTo(goodputPerSecond * 3600, 6);
    }
  });

  it('states a bound that no run exceeds, the same for all policies on the same traffic', () => {
    for (const { attainment, bound, seed } of report.runs) {
      expect(bound).toBeGreaterThanOrEqual(attainment);
      expect(bound).toBe(report.runs.find((row) => row.seed === seed)!.bound);
    }
    expect(renderSweepMarkdown(report)).toContain('| clairvoyant-bound | ≤ ');
  });

  it('has the same sections as a page and as text', () => {
    const html = [...renderSweepHtml(report).matchAll(/<h2>(.*?)<\/h2>/g)].map(([, title]) => title);
    const text = [...renderSweepMarkdown(report).matchAll(/^## (.*)$/gm)].map(([, title]) => title);
    // Only pictures have no place in a text.
    expect(html.filter((title) => title !== 'Slowdown')).toEqual(text);
    expect(text).toEqual(['Workloads', 'small, deadlines class', 'What the numbers mean']);
  });

  it('draws attainment against load where there are loads to draw it against', () => {
    expect(renderSweepHtml(report)).not.toContain('Attainment against load');
    const cells = [...report.cells, ...report.cells.map((cell) => ({ ...cell, load: 2 }))];
    expect(renderSweepHtml({ ...report, cells })).toContain('<h2>Attainment against load</h2>');
  });

  it('names every policy in the legend, and keeps every interval within the plot', () => {
    const figure = loadFigure(groupCells(report.cells)[0]!);
    expect(figure.legend.map(({ label }) => label)).toEqual(['edf', 'fcfs', 'clairvoyant-bound']);
    const many = [...Array(12).keys()].map((index) => `policy-${index}`);
    expect(policyColours(many).legend.map(({ label }) => label)).toEqual(many);
    const wide = { ...report.cells[0]!, attainment: { mean: 0.9, ci95: 1.5 } };
    const { svg } = loadFigure(groupCells([wide])[0]!);
    const ends = [...svg.matchAll(/ y[12]="([\d.]+)"/g)].map(([, y]) => Number(y));
    expect(Math.min(...ends)).toBeGreaterThanOrEqual(HALF_PLOT.top);
    // Ticks of the axis stand out below by four pixels.
    expect(Math.max(...ends)).toBeLessThanOrEqual(HALF_PLOT.bottom + 4);
  });

  it.each([
    [[0.96, 0.83], 'The axis begins at 70 %.'],
    [[0.96, 0.3], undefined],
  ])('begins the axis of shares %j where they can be told apart', (means, note) => {
    const cells = means.map((mean, index) => ({
      ...report.cells[0]!,
      policy: `p${index}`,
      attainment: { mean, ci95: 0 },
    }));
    const { caption, svg } = loadFigure(groupCells(cells)[0]!);
    expect(caption.endsWith(note ?? 'can exceed.')).toBe(true);
    expect(svg.includes('>0 %<')).toBe(note === undefined);
  });

  it('sets every column of numbers to the right, gains and losses too', () => {
    const row = (policy: string, attainment: number) => ({ ...report.runs[0]!, policy, seed: 1, attainment });
    const runs = [row('maestro', 0.9), row('edf', 0.8), row('fcfs', 0.95)];
    const cells = runs.map(({ policy }) => ({ ...report.cells[0]!, policy }));
    const markup = renderSweepHtml({ ...report, runs, cells });
    const gains = /<th[^>]*>maestro against<\/th>.*?<\/table>/.exec(markup)![0];
    expect(gains).toContain('>+10<');
    expect(gains).toContain('>−5<');
    expect([...gains.matchAll(/class="(\w+)"/g)].map(([, kind]) => kind)).not.toContain('text');
  });

  it('draws the distributions and names the waits of each class', () => {
    expect(renderSweepHtml(report)).toContain('<h2>Slowdown</h2>');
    expect(renderSweepMarkdown(report)).toContain('interactive, worst 1 % wait');
  });

  it('loses the runs of another sweep only when told to', async () => {
    const other = planSweep({ title: 'T', command: 'maestro sim --other', notes: [] }, [workload], cells.slice(0, 1));
    const path = join(directory, JOURNAL_FILE);
    const text = readFileSync(path, 'utf8');
    await expect(executeSweep(other, [workload], { directory, jobs: 1 })).rejects.toThrow(
      `${directory} holds the runs of another sweep (c); name another folder with --out, or replace them with --force.`,
    );
    expect(readFileSync(path, 'utf8')).toBe(text);
    await executeSweep(other, [workload], { directory, jobs: 1, replace: true });
    expect(readJournal(directory)).toMatchObject({ plan: { key: other.key }, rows: { size: 1 } });
    writeFileSync(path, text);
  });

  it('refuses the journal of a version that wrote other runs, whether to go on or to merge', async () => {
    const path = join(directory, JOURNAL_FILE);
    const text = readFileSync(path, 'utf8');
    expect(readJournal(directory)?.rows.size).toBe(4);
    writeFileSync(path, text.replace(/"format":\d+,/, ''));
    expect(() => readJournal(directory)).toThrow(/another version of maestro.*run the sweep again/);
    await expect(executeSweep(plan, [workload], { directory, jobs: 1 })).rejects.toThrow('another version');
    for (const other of [text.replace(/"format":\d+,/, ''), 'no journal\n']) {
      writeFileSync(path, other);
      await executeSweep(plan, [workload], { directory, jobs: 1, replace: true });
      expect(readJournal(directory)?.rows.size).toBe(4);
    }
    writeFileSync(path, text);
  });

  it('names the file that has no room for a run', () => {
    const full = mkdtempSync(join(tmpdir(), 'maestro-full-'));
    const { add } = openJournal(full, plan);
    rmSync(join(full, JOURNAL_FILE));
    symlinkSync('/dev/full', join(full, JOURNAL_FILE));
    expect(() => add(0, report.runs[0]!)).toThrow(
      expect.objectContaining({ code: 'ENOSPC', path: join(full, JOURNAL_FILE) }),
    );
    rmSync(full, { recursive: true });
  });

  it('does not go on with runs of other code', async () => {
    const path = join(directory, JOURNAL_FILE);
    const text = readFileSync(path, 'utf8');
    vi.resetModules();
    vi.doMock('./code-digest.js', () => ({ codeDigest: () => 'changed' }));
    const { planSweep: planAnew } = await import('./plan.js');
    const changed = planAnew({ title: 'T', command: 'c', notes: [] }, [workload], cells);
    vi.doUnmock('./code-digest.js');
    expect(changed.key).not.toBe(plan.key);
    await expect(executeSweep(changed, [workload], { directory, jobs: 1 })).rejects.toThrow(
      'holds runs of the same sweep on other traces or fleets, or by other code; name another folder',
    );
    expect(readFileSync(path, 'utf8')).toBe(text);
  });
});
