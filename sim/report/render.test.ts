import { mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildReport } from './build.js';
import { renderHtml } from './html.js';
import { escapeMarkdown, renderMarkdown } from './markdown.js';
import { input, stage, workflow } from './records-fixture.js';
import { sampleRun } from './sample-run-fixture.js';
import { renderTerminal } from './terminal.js';
import type { ReportInput } from './types.js';
import { writeReport } from './write.js';

const EVIL = `<script>alert("1")</script>&'|\`\u001b[31m`;

/** A run in which every text that comes from outside is hostile. */
function hostileRun(): ReportInput {
  return input({
    title: EVIL,
    subtitle: EVIL,
    command: EVIL,
    machine: EVIL,
    startedAt: EVIL,
    trace: EVIL,
    notes: [EVIL],
    classes: [{ name: EVIL, kind: 'interactive', deadlineMs: 100 }],
    workflows: [0, 1, 2].map((index) =>
      workflow({
        workflowId: `${EVIL}${index}`,
        template: EVIL,
        tenant: `${EVIL}${index}`,
        sloClass: EVIL,
        completed: false,
        met: false,
        error: EVIL,
      }),
    ),
    stages: [0, 1, 2].map((index) =>
      stage({
        stageId: EVIL,
        workflowId: `${EVIL}${index}`,
        role: EVIL,
        model: EVIL,
        sloClass: EVIL,
        node: EVIL,
        engine: EVIL,
        policy: EVIL,
        outcome: index === 0 ? EVIL : 'completed',
        error: EVIL,
        queueMs: 5,
      }),
    ),
    fleet: {
      outcomes: { [EVIL]: 1 },
      samples: [0, 500].map((atMs) => ({
        atMs,
        nodeId: EVIL,
        engineId: EVIL,
        model: EVIL,
        state: EVIL,
        running: 1,
        waiting: 0,
        leases: 1,
        kvReservedTokens: 10,
        kvUsedTokens: 5,
        kvPoolTokens: Number.POSITIVE_INFINITY,
      })),
      hbm: [{ atMs: 0, nodeId: EVIL, gpu: 0, usedBytes: 1, totalBytes: 2 }],
    },
  });
}

const html = (run: ReportInput): string => renderHtml(buildReport(run), run);

/** Elements that are opened and never closed, or closed and never opened. */
function unbalanced(markup: string): string[] {
  const voids = new Set(['meta', 'br', 'hr', 'img']);
  const open: string[] = [];
  for (const [, closing, name, selfClosing] of markup.matchAll(/<(\/)?([a-z][a-z0-9]*)\b[^>]*?(\/)?>/gi)) {
    if (selfClosing || voids.has(name!)) continue;
    if (!closing) open.push(name!);
    else if (open.at(-1) === name) open.pop();
    else return [...open, `/${name}`];
  }
  return open;
}

describe('the same figures in text', () => {
  it('has the workflows of each tenant, late ones beside failed ones, and explains its columns', () => {
    const text = renderMarkdown(buildReport(sampleRun({ workflows: 40, samplesPerEngine: 4, seed: 1 })));
    const [head] = /^\| tenant \|.*$/m.exec(text)!;
    expect(head).toContain('| attainment | goodput | late | failed | unfinished |');
    expect(text).toContain('| within targets |');
    expect(text).toContain('| within targets, request goodput | share, requests/s |');
  });

  it('leaves nothing beside a report that has no room', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'maestro-full-'));
    await symlink('/dev/full', join(folder, `.report.html.${process.pid}.partial`));
    await expect(writeReport(folder, input({}))).rejects.toMatchObject({
      ...{ code: 'ENOSPC', path: join(folder, 'report.html') },
    });
    expect(await readdir(folder)).toEqual([]);
    await rm(folder, { recursive: true });
  });
});

describe('renderHtml', () => {
  it('lets no text from outside become markup', () => {
    const page = html(hostileRun());
    expect(page).not.toMatch(/<script/i);
    expect(page).not.toContain('alert("1")');
    expect(page).not.toContain('\u001b');
    expect(page).toContain('&lt;script&gt;');
    expect(unbalanced(page)).toEqual([]);
  });

  it('tells when a run was, unless it was simulated', () => {
    const run = input({});
    expect(html(run)).toContain('<li>started <b>');
    const simulated = html({ ...run, startedAt: null });
    expect(simulated).not.toContain('<li>started');
    expect(simulated).not.toContain('<li>time ');
    expect(renderMarkdown(buildReport({ ...run, startedAt: null }))).not.toContain('started');
  });

  it('needs nothing from the network and runs nothing', () => {
    const page = html(sampleRun({ workflows: 40, samplesPerEngine: 40, seed: 1 }));
    expect(page).not.toMatch(/<(?:script|link|img|iframe)|url\(|@import|\son[a-z]+="/i);
    expect(page).toContain("default-src 'none'");
  });

  it('has every chart, with a name for readers who cannot see it, and well-formed markup', () => {
    const page = html(sampleRun({ workflows: 60, samplesPerEngine: 60, seed: 2 }));
    expect(unbalanced(page)).toEqual([]);
    const titles = [...page.matchAll(/<figcaption><h3>([^<]*)/g)].map(([, title]) => title);
    expect(titles).toEqual([
      'Attainment over time',
      'Workflow duration',
      'Slowdown',
      'Time to first token',
      'Time per output token',
      'End-to-end latency of a request',
      'Queue wait over time',
      'Where the time goes',
      'Outcomes',
      'KV memory over time',
      'Engines',
      'HBM of each GPU',
      'A busy stretch',
    ]);
    expect(page.match(/<svg /g)).toHaveLength(titles.length);
    expect(page.match(/<svg [^>]*role="img" aria-label="[^"]+"/g)).toHaveLength(titles.length);
    expect(page).not.toMatch(/NaN|Infinity|undefined|\[object/);
  });

  it.each([
    ['nothing at all', input({ durationMs: 0, classes: [] })],
    ['one stage', input({ workflows: [workflow()], stages: [stage({ queueMs: 0 })] })],
    ['a stage without tokens', input({ stages: [stage({ firstTokenMs: undefined, endMs: 0, outputTokens: 0 })] })],
    ['only the warm-up', input({ warmupMs: 10_000, workflows: [workflow()], stages: [stage()] })],
    ['a fleet that was seen once', hostileRun()],
  ])('renders %s without a broken number', (_name, run) => {
    const page = html(run);
    expect(page).not.toMatch(/NaN|Infinity|undefined|\[object/);
    expect(unbalanced(page)).toEqual([]);
  });

  it('has no label at an axis that is wider than the margin', () => {
    const waits = [1_000, 40_000, 95_000, 119_000, 110_000];
    const page = html(input({ workflows: [workflow()], stages: waits.map((queueMs) => stage({ queueMs })) }));
    const labels = [...page.matchAll(/<text x="54" [^>]*class="tick end"[^>]*>([^<]*)/g)].map(([, label]) => label!);
    expect(labels.length).toBeGreaterThan(20);
    expect(labels.filter((label) => label.length > 7)).toEqual([]);
  });

  it('is the same to the byte for the same run', () => {
    const size = { workflows: 50, samplesPerEngine: 80, seed: 5 };
    expect(html(sampleRun(size))).toBe(html(sampleRun(size)));
  });

  it('stays below 1.5 MB for 2 000 stages and 20 000 samples', () => {
    const run = sampleRun({ workflows: 420, samplesPerEngine: 4_000, seed: 9 });
    expect(run.stages.length).toBeGreaterThan(2_000);
    expect(run.fleet!.samples).toHaveLength(20_000);
    expect(Buffer.byteLength(html(run))).toBeLessThan(1.5e6);
  });
});

describe('renderMarkdown', () => {
  it('keeps text from outside in its cell', () => {
    const text = renderMarkdown(buildReport(hostileRun()));
    expect(text.replace(/`[^\n]*`/g, '')).not.toContain('<script');
    const cells = (line: string): number => line.replaceAll('\\|', '').split('|').length;
    const lines = text.split('\n');
    for (const [index, line] of lines.entries()) {
      if (line.startsWith('|') && lines[index - 1]?.startsWith('|'))
        expect(cells(line), line).toBe(cells(lines[index - 1]!));
    }
    expect(escapeMarkdown('a\n*b* [c](d) <e>')).toBe('a \\*b\\* \\[c\\](d) &lt;e>');
  });

  it('states the attainment of each class and what every metric means', () => {
    const text = renderMarkdown(
      buildReport(input({ workflows: [workflow(), workflow({ workflowId: 'w2', met: false })] })),
    );
    expect(text).toMatch(/\| interactive \| 5 s \| 2 \| 50 % \|/);
    expect(text).toMatch(/\| TTFT \| ms \| From the moment the client sent the request/);
  });
});

describe('renderTerminal', () => {
  const report = buildReport(sampleRun({ workflows: 60, samplesPerEngine: 10, seed: 4 }));

  it.each([40, 60, 80, 100, 140])('keeps the table and the facts within %i columns', (width) => {
    const lines = renderTerminal(report, { width, colour: false }).split('\n');
    expect(Math.max(...lines.slice(2).map((line) => line.length))).toBeLessThanOrEqual(width);
    expect(lines.join('\n')).toContain('attainment');
  });

  it('colours without moving a column', () => {
    const plain = renderTerminal(report, { width: 140, colour: false });
    const colourful = renderTerminal(report, { width: 140, colour: true });
    expect(colourful).toContain('\u001b[');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes start with one
    expect(colourful.replace(/\u001b\[[0-9;]*m/g, '')).toBe(plain);
  });

  it('names the KV saving and the outcomes, and lets no name steer the terminal', () => {
    const text = renderTerminal(report, { width: 140, colour: false });
    expect(text).toMatch(/^KV {7}reserved 2\.1 TB·s = 21\.6 % of max-token/m);
    expect(text).toMatch(/^outcomes completed \d+/m);
    expect(renderTerminal(buildReport(hostileRun()), { width: 200, colour: false })).not.toContain('\u001b');
  });
});

describe('writeReport', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'report-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('leaves exactly the three files, in a directory it makes, also the second time', async () => {
    const target = join(directory, 'deep', 'er');
    await writeReport(target, input());
    const written = await writeReport(target, input({ title: 'second' }));
    expect((await readdir(target)).sort()).toEqual(['report.html', 'report.json', 'report.md']);
    expect(JSON.parse(await readFile(written.jsonPath, 'utf8'))).toMatchObject({ title: 'second' });
    expect(await readFile(written.markdownPath, 'utf8')).toMatch(/^# second\n/);
    expect(await readFile(written.htmlPath, 'utf8')).toMatch(/^<!doctype html>\n/);
  });
});
