import type { Command } from 'commander';
import { composeFile } from '../../traces/compose/compose.js';
import { importTrace } from '../../traces/import/import.js';
import { LeftOut } from '../../traces/import/left-out.js';
import { IMPORTERS } from '../../traces/import/registry.js';
import { checkTrace, readTrace } from '../../traces/reader.js';
import { type Trace, traceJsonSchema } from '../../traces/schema.js';
import { traceStats } from '../../traces/stats.js';
import { renderStats } from '../../traces/stats-text.js';
import { describeIssue } from '../../traces/validator.js';
import { groupWorkflows } from '../../traces/workflow.js';
import { requireWritable, writeTrace } from '../../traces/writer.js';
import { MaestroError, messageOf } from '../model/error.js';
import { type Embedder, loadEmbedder } from '../predict/embedder/service.js';
import { integer, positiveInteger } from './numbers.js';
import { printJson } from './output.js';

/** `maestro trace …`: import public traces, check them, look into them, compose workloads. */
export function registerTrace(program: Command): void {
  const trace = program.command('trace').summary('import, check and compose workload traces');
  trace.addHelpText('after', '\nExample:\n  $ maestro trace stats traces/data/demo.jsonl.gz\n');
  registerImport(trace);
  registerCheck(trace);
  registerStats(trace);
  registerCompose(trace);
  trace
    .command('schema')
    .summary('print the JSON Schema of the trace format')
    .addHelpText('after', '\nExample:\n  $ maestro trace schema\n')
    .action(() => {
      printJson(traceJsonSchema());
    });
}

function registerImport(trace: Command): void {
  const formats = IMPORTERS.map(({ format, summary }) => `  ${format.padEnd(22)}${summary}`).join('\n');
  trace
    .command('import')
    .summary('turn a public trace into a canonical one')
    .argument('<format>', 'one of the formats below')
    .argument('<files...>', 'files of the source, or its folder')
    .requiredOption('-o, --output <file>', 'trace to write; gzip when it ends in .gz')
    .option('--limit-workflows <n>', 'only the first so many workflows', positiveInteger)
    .option('--seed <n>', 'seed of what has to be sampled', integer, 1)
    .option(
      '--skip-bad',
      'leave out records that are not of the format, and say how many; without it the first one ends the import',
    )
    .option(
      '--text-grams',
      'keep hashed words of the last messages (chatdev, marble, metagpt-rsp-cache, tau-bench): for predictors that read text',
    )
    .option(
      '--embedder <dir>',
      'keep what a sentence embedder says of the last messages of the same sources: folder with model.onnx and tokenizer.json',
    )
    .addHelpText(
      'after',
      `\nFormats:\n${formats}\n\nExample:\n  $ maestro trace import agentic-mooncake traces/examples/agentic-mooncake.jsonl -o report.jsonl.gz\n`,
    )
    .action(
      async (
        format: string,
        files: string[],
        options: {
          output: string;
          limitWorkflows?: number;
          skipBad?: boolean;
          textGrams?: boolean;
          embedder?: string;
          seed: number;
        },
      ) => {
        await requireWritable(options.output);
        const leftOut = new LeftOut();
        const embedder = options.embedder === undefined ? undefined : await openEmbedder(options.embedder);
        const imported = await importTrace(format, files, {
          seed: options.seed,
          textGrams: options.textGrams === true,
          embedder,
          ...(options.limitWorkflows !== undefined && { limitWorkflows: options.limitWorkflows }),
          ...(options.skipBad && { passOver: (error) => leftOut.add(error) }),
        }).finally(() => {
          for (const line of leftOut.describe()) process.stderr.write(`${line}\n`);
        });
        await embedder?.close();
        for (const line of imported.header?.left_out ?? []) process.stderr.write(`left out: ${line}\n`);
        await save(options.output, imported);
      },
    );
}

async function openEmbedder(folder: string): Promise<Embedder> {
  try {
    return await loadEmbedder(folder);
  } catch (error) {
    const why = messageOf(error);
    throw new MaestroError('invalid_request', `--embedder ${folder} cannot be used: ${why}`);
  }
}

function registerCheck(trace: Command): void {
  trace
    .command('check')
    .summary('check a trace; every mistake with its row and field')
    .argument('<file>', 'canonical trace')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro trace check traces/data/demo.jsonl.gz\n')
    .action(async (file: string, options: { json?: boolean }) => {
      const { rows, issues, isComplete } = await checkTrace(file);
      if (options.json) printJson({ file, rows, issues, isComplete });
      else if (issues.length === 0)
        process.stdout.write(`${file}: ${rows} ${rows === 1 ? 'row' : 'rows'}, no mistakes\n`);
      else process.stdout.write(`${issues.map((issue) => `${file}: ${describeIssue(issue)}\n`).join('')}`);
      if (!isComplete) process.stderr.write(`stopped after ${issues.length} mistakes; there may be more\n`);
      if (issues.length > 0) process.exitCode = 1;
    });
}

function registerStats(trace: Command): void {
  trace
    .command('stats')
    .summary('what a trace holds: workflows, roles, tokens, times, fields')
    .argument('<file>', 'canonical trace')
    .option('--json', 'print one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro trace stats traces/data/demo.jsonl.gz\n')
    .action(async (file: string, options: { json?: boolean }) => {
      const { rows, header } = await readTrace(file);
      const stats = traceStats(rows);
      if (options.json) printJson({ file, header, ...stats });
      else process.stdout.write(`${header ? `source  ${header.source}\n\n` : ''}${renderStats(stats)}`);
    });
}

function registerCompose(trace: Command): void {
  trace
    .command('compose')
    .summary('build a workload out of traces: workflows, arrivals, models, classes')
    .argument('<spec>', 'YAML file, see docs/traces.md')
    .requiredOption('-o, --output <file>', 'trace to write; gzip when it ends in .gz')
    .option('--seed <n>', 'instead of the seed in the spec', integer)
    .addHelpText('after', '\nExample:\n  $ maestro trace compose traces/specs/demo.yaml -o demo.jsonl.gz\n')
    .action(async (spec: string, options: { output: string; seed?: number }) => {
      await requireWritable(options.output);
      await save(options.output, await composeFile(spec, { seed: options.seed }));
    });
}

async function save(output: string, trace: Trace): Promise<void> {
  const { issues } = await checkTrace(linesOf(trace));
  if (issues.length > 0) {
    throw new MaestroError(
      'internal',
      `${output} was not written, as the trace is not sound: ${issues.map(describeIssue).join('; ')}`,
    );
  }
  const rows = await writeTrace(output, trace.header, trace.rows);
  process.stderr.write(`${output}: ${groupWorkflows(trace.rows).length} workflows, ${rows} stages\n`);
}

function* linesOf({ header, rows }: Trace): Generator<string> {
  if (header) yield JSON.stringify(header);
  for (const row of rows) yield JSON.stringify(row);
}
