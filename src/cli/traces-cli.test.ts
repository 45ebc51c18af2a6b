import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { reportSchema } from '../../sim/report/index.js';
import { JOURNAL_FILE, readJournal } from '../../sim/sweep/journal.js';
import type { SweepReport } from '../../sim/sweep/report.js';
import { FleetRecorder } from './fleet-recorder.js';
import { packageVersion } from './package-files.js';
import { runCli } from './program.js';
import { TimerLag } from './timer-lag.js';

let folder: string;
let server: Server | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'maestro-cli-'));
});
afterAll(() => rm(folder, { recursive: true }));
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  process.exitCode = 0;
});

/** Runs a command line and gives its exit code and what it printed. */
async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const capture = (stream: NodeJS.WriteStream) => {
    const texts: string[] = [];
    const spy = vi.spyOn(stream, 'write').mockImplementation((text) => texts.push(String(text)) > 0);
    return { text: () => texts.join(''), restore: () => spy.mockRestore() };
  };
  const stdout = capture(process.stdout);
  const stderr = capture(process.stderr);
  try {
    const code = await runCli(args);
    return { code, out: stdout.text(), err: stderr.text() };
  } finally {
    stdout.restore();
    stderr.restore();
  }
}

const EXAMPLE = 'traces/examples/agentic-mooncake.jsonl';

describe('maestro trace', () => {
  it('imports, checks and counts the example of its help', async () => {
    const output = join(folder, 'report.jsonl.gz');
    expect(await run('trace', 'import', 'agentic-mooncake', EXAMPLE, '-o', output)).toMatchObject({
      code: 0,
      out: '',
      err: `${output}: 1 workflows, 6 stages\n`,
    });
    expect((await run('trace', 'check', output)).out).toContain('6 rows, no mistakes');
    const stats = JSON.parse((await run('trace', 'stats', output, '--json')).out) as Record<string, unknown>;
    expect(stats).toMatchObject({ workflows: 1, stages: 6, totalOutputTokens: 1565 });
  });

  it('lists every mistake and fails', async () => {
    const bad = join(folder, 'bad.jsonl');
    await writeFile(bad, '{"request_id":"a","input_length":1,"output_length":1}\n{"request_id":"a"}\n');
    const { code, out } = await run('trace', 'check', bad, '--json');
    expect(code).toBe(1);
    expect(JSON.parse(out)).toMatchObject({
      issues: [
        { row: 2, field: 'input_length' },
        { row: 2, field: 'output_length' },
      ],
      isComplete: true,
    });
    await writeFile(bad, '{"request_id":"a"}\n'.repeat(500));
    const many = await run('trace', 'check', bad);
    expect(many.out.trim().split('\n')).toHaveLength(20);
    expect(many.err).toContain('stopped after 20 mistakes; there may be more');
  });

  it('names the path of a broken file, and writes no trace that is not sound', async () => {
    const broken = join(folder, 'broken.jsonl');
    const output = join(folder, 'unsound.jsonl');
    await writeFile(broken, '{"timestamp":1}\n');
    const import_ = (format: string) => run('trace', 'import', format, broken, '-o', output);
    expect(await import_('mooncake-fast25')).toMatchObject({
      code: 1,
      err: expect.stringContaining(`${broken}: line 1`),
    });
    const row = { request_id: 'twice', session_id: 's', input_length: 1, output_length: 1, timestamp: 0 };
    await writeFile(broken, `${JSON.stringify(row)}\n${JSON.stringify(row)}\n`);
    const { code, err } = await import_('agentic-mooncake');
    expect([code, err]).toEqual([1, expect.stringContaining('was not written')]);
    expect(await readdir(folder)).not.toContain('unsound.jsonl');
  });

  it('sees that a trace can be written before it imports anything', async () => {
    const nowhere = join(folder, 'nowhere');
    const output = join(nowhere, 'out.jsonl');
    const { code, err } = await run('trace', 'import', 'agentic-mooncake', join(folder, 'gone'), '-o', output);
    expect([code, err]).toEqual([1, `error: ${nowhere}: no such file or folder\n`]);
  });

  it('writes into a pipe, and leaves it a pipe', async () => {
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const [text, { code }] = await Promise.all([
      readFile(pipe, 'utf8'),
      run('trace', 'import', 'agentic-mooncake', EXAMPLE, '-o', pipe),
    ]);
    expect(code).toBe(0);
    expect(text.split('\n')[0]).toContain('maestro_trace');
    expect((await stat(pipe)).isFIFO()).toBe(true);
    await rm(pipe);
  });

  it('names the path that cannot be written, and leaves nothing beside it', async () => {
    const output = join(folder, 'taken');
    await mkdir(output);
    const before = await readdir(folder);
    const { code, err } = await run('trace', 'import', 'agentic-mooncake', EXAMPLE, '-o', output);
    expect([code, err]).toEqual([1, `error: ${output}: is a folder\n`]);
    expect(await readdir(folder)).toEqual(before);
  });

  it.each<[string, string[], string]>([
    [
      'an unknown format',
      ['trace', 'import', 'nope', EXAMPLE, '-o', 'x'],
      'unknown trace format nope; known: agentic-mooncake',
    ],
    ['a missing source', ['trace', 'import', 'marble', '/nowhere', '-o', 'x'], '/nowhere: no such file or folder'],
    ['a missing trace', ['trace', 'stats', '/nowhere'], '/nowhere: no such file'],
    ['a missing spec', ['trace', 'compose', '/nowhere', '-o', 'x'], '/nowhere cannot be read'],
  ])('tells of %s in one line', async (_name, args, message) => {
    const { code, out, err } = await run(...args);
    expect([code, out]).toEqual([1, '']);
    expect(err).toContain(message);
    expect(err).not.toContain('bug');
  });
});

describe('maestro sim', () => {
  it('prints in the report of one run the command that plays this run, and the version', async () => {
    const out = join(folder, 'one-run');
    const detail = join(folder, 'requests.csv');
    const limits = ['--capacity', '1', '--limit-workflows', '2', '--warmup', '0'];
    const { code, err } = await run(
      ...['sim', '--policy', 'fcfs', '--load', '1', '--seed', '2', ...limits, '--detail', detail, '--out', out],
    );
    expect([code, err]).toEqual([0, expect.stringContaining('report of the run')]);
    const report = reportSchema.parse(JSON.parse(await readFile(join(out, 'report.json'), 'utf8')));
    expect(report.run.command).toContain('--load 1 --seed 2 --detail requests.csv --deadline class');
    expect(report.run.command).not.toContain('--seeds');
    expect(report.run.notes).toContain(`Played by maestro ${packageVersion()}.`);
  });

  it('puts the clusters as far away as it is told, and names them in the command', async () => {
    const limits = ['--capacity', '1', '--limit-workflows', '1', '--warmup', '0', '--seed', '1'];
    const one = (...more: string[]) => run('sim', '--policy', 'fcfs', '--load', '1', ...limits, ...more);
    const workflows = async (...more: string[]) => {
      const detail = join(folder, 'distance.json');
      await one('--detail', detail, ...more);
      return JSON.parse(await readFile(detail, 'utf8')) as { stages: { startMs: number; endMs: number }[] };
    };
    const lasts = ({ stages }: Awaited<ReturnType<typeof workflows>>) =>
      stages.reduce((last, { endMs }) => Math.max(last, endMs), 0) - stages[0]!.startMs;
    // At least one round trip for each of the calls that follow each other.
    expect(lasts(await workflows('--rtt', 'local=400'))).toBeGreaterThan(lasts(await workflows()) + 400);
    const out = join(folder, 'distant');
    await one('--detail', join(folder, 'distance.json'), '--rtt', 'local=400', '--out', out);
    expect(await readFile(join(out, 'report.json'), 'utf8')).toContain('--rtt local=400');
    expect((await one('--detail', join(folder, 'mars.json'), '--rtt', 'mars=1')).err).toContain(
      'The fleet has no cluster mars; it has',
    );
    expect((await one('--rtt', 'local')).err).toContain('It must be like east=2,west=30');
  });

  it('makes of the parts of a sweep the report of the whole, each run once, and tells which is missing', async () => {
    const limits = ['--capacity', '1', '--limit-workflows', '3', '--warmup', '0', '--jobs', '1'];
    const sweep = ['sim', '--policy', 'fcfs,edf', '--load', '1', '--seeds', '2', ...limits, '--out'];
    const runsOf = (dir: string) => [...readJournal(join(folder, dir))!.rows.keys()];
    await run(...sweep, join(folder, 'whole'));
    await run(...sweep, join(folder, 'part-1'), '--shard', '1/2');
    const early = await run('sim', 'merge', join(folder, 'part-1'), '--out', join(folder, 'merged'));
    expect([early.code, early.err]).toEqual([1, expect.stringMatching(/run 2 of 4 .* is missing/)]);
    await run(...sweep, join(folder, 'part-2'), '--shard', '2/2');
    expect([runsOf('part-1'), runsOf('part-2')]).toEqual([
      [0, 2],
      [1, 3],
    ]);
    const parts = ['part-2', 'part-1'].map((dir) => join(folder, dir));
    expect((await run('sim', 'merge', ...parts, '--out', join(folder, 'merged'))).code).toBe(0);
    const [merged, whole] = ['merged', 'whole'].map((dir) => readFile(join(folder, dir, 'report.json'), 'utf8'));
    expect(await merged).toBe(await whole);
  });

  it('plays no run again that had ended before the sweep was cut off', async () => {
    const limits = ['--capacity', '1', '--limit-workflows', '3', '--warmup', '0', '--jobs', '1'];
    const sweep = () =>
      run('sim', '--policy', 'fcfs', '--load', '1', '--seeds', '3', ...limits, '--out', join(folder, 'cut'));
    await sweep();
    const path = join(folder, 'cut', JOURNAL_FILE);
    const [head, first, second] = (await readFile(path, 'utf8')).split('\n');
    // A figure that no run gives shows which runs were taken as they stood.
    const marked = first!.replace(/"attainment":[\d.]+/, '"attainment":0.123');
    await writeFile(path, `${head}\n${marked}\n${second!.slice(0, 40)}`);
    await sweep();
    const { runs } = JSON.parse(await readFile(join(folder, 'cut', 'report.json'), 'utf8')) as SweepReport;
    expect(runs.map(({ attainment }) => attainment === 0.123)).toEqual([true, false, false]);
    expect(readJournal(join(folder, 'cut'))!.rows.size).toBe(3);
  });
});

describe('maestro replay', () => {
  it('prints one JSON document on stdout and writes the three reports', async () => {
    server = createServer((request, response) => {
      request.resume().on('end', () => {
        if (request.url === '/v1/models') return response.end('{"data":[{"id":"m"}]}');
        response.writeHead(200);
        return response.end(
          'data: {"choices":[{"delta":{"content":"w"}}]}\n\ndata: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\ndata: [DONE]\n\n',
        );
      });
    });
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const out = join(folder, 'reports');
    const result = await run('replay', EXAMPLE, '--target', target, '--speed', '100', '--out', out, '--json');
    // The example leaves workflow ids to the importer, so its rows are workflows of sessions that wait for each other.
    expect(result.code).toBe(1);
    expect(result.err).toContain('give both the same workflow_id');
    const trace = join(folder, 'replay.jsonl');
    await run('trace', 'import', 'agentic-mooncake', EXAMPLE, '-o', trace);
    const replayed = await run('replay', trace, '--target', target, '--speed', '100', '--out', out, '--json');
    expect(replayed.code).toBe(0);
    const report = reportSchema.parse(JSON.parse(replayed.out));
    expect(report).toMatchObject({ completed: 6, failed: 0, total_output_tokens: 24 });
    expect((await readdir(out)).sort()).toEqual(['report.html', 'report.json', 'report.md']);
    expect(JSON.parse(await readFile(join(out, 'report.json'), 'utf8'))).toEqual(JSON.parse(replayed.out));
  });

  it('says whose deadlines it holds workflows against, and that the machine was slow', async () => {
    const sent: unknown[] = [];
    server = createServer(({ url, headers }, response) => {
      if (url === '/v1/models') return response.end('{"data":[{"id":"m"}]}');
      if (url === '/v1/maestro/fleet') return response.writeHead(404).end();
      if (url === '/v1/maestro/identity') return response.end('{"sloClass":"batch","deadlineMs":20000}');
      sent.push([headers['x-maestro-class'], headers['x-maestro-deadline-ms']]);
      return response.end('data: {"choices":[{"delta":{"content":"w"}}]}\n\ndata: [DONE]\n\n');
    });
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const trace = join(folder, 'no-deadline.jsonl');
    await writeFile(trace, '{"request_id":"a","timestamp":0,"input_length":1,"output_length":1}\n');
    const lag = vi.spyOn(TimerLag.prototype, 'stop').mockReturnValue(250);
    const { out } = await run('replay', trace, '--target', target, '--time-scale', '10', '--json');
    lag.mockRestore();
    const { classes, run: played } = reportSchema.parse(JSON.parse(out));
    expect(sent).toEqual([['interactive', '20000']]);
    expect(classes).toMatchObject([{ name: 'interactive', deadlineMs: 20_000 }]);
    expect(played.notes.join()).toContain('those of the classes at the gateway (interactive 20 s)');
    expect(played.notes.join()).toContain('came 250 ms late, 2.5 s of emulated time');
    expect(played.notes.join()).toContain('Calls of class interactive were served as batch');
  });

  it('looks at the fleet no more when the replay has failed', async () => {
    const fleet = { atMs: 0, engines: [], gpus: [], outcomes: {}, kv: {}, coldStarts: {}, moves: {} };
    server = createServer((request, response) => {
      response.end(request.url === '/v1/models' ? '{"data":[{"id":"m"}]}' : JSON.stringify(fleet));
    });
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const trace = join(folder, 'no-times.jsonl');
    await writeFile(trace, '{"request_id":"a","input_length":1,"output_length":1}\n');
    const stops = vi.spyOn(FleetRecorder.prototype, 'stop');
    const { code, err } = await run('replay', trace, '--target', target);
    expect([code, err]).toEqual([1, expect.stringContaining('a has no timestamp')]);
    expect(stops).toHaveBeenCalledOnce();
    stops.mockRestore();
  });

  it('sees that the report can be written before it plays anything', async () => {
    const out = join(folder, 'a-file');
    await writeFile(out, '');
    const { code, err } = await run(
      'replay',
      'traces/data/demo.jsonl.gz',
      '--target',
      'http://127.0.0.1:9',
      '--out',
      out,
    );
    expect([code, err]).toEqual([1, `error: ${out}: is a file, and a folder is needed\n`]);
  });

  it('says which models are served when the trace names others', async () => {
    server = createServer((_request, response) => response.end('{"data":[{"id":"tiny"}]}'));
    await new Promise<void>((resolve) => server!.listen(0, '127.0.0.1', resolve));
    const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { code, err } = await run('replay', 'traces/data/demo.jsonl.gz', '--target', target);
    expect(code).toBe(1);
    expect(err).toContain('the target serves tiny. Map them, for example --model-map "*=tiny".');
  });
});
