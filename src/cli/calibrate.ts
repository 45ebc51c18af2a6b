import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { formatPercent, trimmed } from '../../sim/report/format.js';
import { WallClock } from '../bus/wall-clock.js';
import { readApiKey } from '../config/keys.js';
import { measureEngine } from '../engine/calibrate/measure.js';
import { type Calibration, fitCosts, MIN_DECODE_SAMPLES, MIN_PREFILL_SAMPLES } from '../engine/calibration-fit.js';
import { VllmClient } from '../engine/vllm/client.js';
import { type DiscoveredEngine, discoverEngine } from '../engine/vllm/discover.js';
import { ENGINE_URL_HINT, parseEngineUrl, withoutPassword } from '../model/engine-address.js';
import { MaestroError } from '../model/error.js';
import { prepareFile } from '../observe/make-folder.js';
import { positiveInteger } from './numbers.js';
import { printJson, progressLine, renderTable } from './output.js';
import { type TlsArguments, tlsOfArguments, withTlsOptions } from './tls-options.js';

interface CalibrateArguments extends TlsArguments {
  readonly prompts: readonly number[];
  readonly batches: readonly number[];
  readonly contexts: readonly number[];
  readonly output: number;
  readonly repeats: number;
  readonly apiKeyEnv?: string;
  readonly out?: string;
  readonly json?: boolean;
}

/** `maestro calibrate`: measures a running engine and fits what work costs on it. */
export function registerCalibrate(program: Command): void {
  const command = program
    .command('calibrate')
    .summary('measure a running engine and write what work costs on it')
    .description(
      'Sends prompts of several lengths and batches of several sizes to a vLLM server that nobody else uses meanwhile, and fits straight lines to the times ' +
        'to the first token and per output token. What it prints goes under an engine of the fleet file (`measured`).',
    )
    .argument('<url>', 'base URL of the server, `unix:/PATH` for a socket')
    .option('--prompts <tokens>', 'prompt lengths, comma-separated', counts, [128, 512, 2048, 4096])
    .option('--batches <n>', 'sequences that decode at once, comma-separated', counts, [1, 2, 4, 8, 16])
    .option('--contexts <tokens>', 'context lengths while decoding, comma-separated', counts, [128, 2048])
    .option('--output <tokens>', 'tokens to decode in each', positiveInteger, 64)
    .option('--repeats <n>', 'of each; the median counts', positiveInteger, 3)
    .option('--api-key-env <name>', 'environment variable that holds the API key of the server');
  withTlsOptions(command)
    .option('--out <file>', 'write the fleet-file snippet there')
    .option('--json', 'print samples and fit as one JSON document')
    .addHelpText('after', '\nExample:\n  $ maestro calibrate http://127.0.0.1:8000 --out measured.yaml\n')
    .action(calibrate);
}

async function calibrate(given: string, options: CalibrateArguments): Promise<void> {
  if (!parseEngineUrl(given))
    throw new MaestroError('invalid_request', `"${withoutPassword(given)}" ${ENGINE_URL_HINT}.`);
  if (options.out !== undefined) prepareFile(options.out);
  const url = given.replace(/\/+$/, '');
  const apiKey =
    options.apiKeyEnv === undefined ? undefined : readApiKey(options.apiKeyEnv, 'the API key of the server');
  const tls = tlsOfArguments(options, new WallClock());
  const client = new VllmClient({ url, apiKey, tls });
  const found = await discoverEngine(client).finally(() => client.close());
  if (!found.ok) {
    throw new MaestroError('invalid_request', `${url} does not answer like a vLLM server: ${found.failure.message}`);
  }
  const [model] = found.value.modelNames;
  const points = pointsWithin(options, found.value);
  const progress = progressLine();
  const measured = await measureEngine({
    ...{ url, apiKey, tls, model: model!, nowMs: () => performance.now(), seed: 1, ...points },
    outputTokens: options.output,
    repeats: options.repeats,
    onProgress: (done, total) => progress.update(`${done} of ${total} points`),
  });
  progress.done();
  const fit = fitCosts(measured.prefill, measured.decode);
  const snippet = stringify({ measured: rounded(fit) });
  if (options.out !== undefined) await writeFile(options.out, snippet);
  if (options.json) printJson({ url, model, samples: measured, ...fit });
  else process.stdout.write(`${report(measured, fit)}\n\n${snippet}`);
}

/** What of the points that are asked for fits the server. Throws where that is too little for a fit, before anything is measured. */
function pointsWithin(
  { prompts, batches, contexts, output }: CalibrateArguments,
  { maxModelLen, maxNumSeqs = Number.POSITIVE_INFINITY }: DiscoveredEngine,
) {
  const fits = (tokens: number) => tokens + output + 64 <= (maxModelLen ?? Number.POSITIVE_INFINITY);
  const points = {
    promptTokens: prompts.filter(fits),
    batches: batches.filter((batch) => batch <= maxNumSeqs),
    contextTokens: contexts.filter(fits),
  };
  const pairs = points.batches.length * points.contextTokens.length;
  if (points.promptTokens.length >= MIN_PREFILL_SAMPLES && pairs >= MIN_DECODE_SAMPLES) return points;
  const length = maxModelLen === undefined ? '' : ` The server takes ${maxModelLen} tokens.`;
  throw new MaestroError(
    'invalid_request',
    `${MIN_PREFILL_SAMPLES} prompt lengths and ${MIN_DECODE_SAMPLES} pairs of batch and context are needed, and ${points.promptTokens.length} and ${pairs} fit the server: give more and smaller --prompts, --batches and --contexts.${length}`,
  );
}

function report({ prefill, decode }: Awaited<ReturnType<typeof measureEngine>>, fit: Calibration): string {
  const ttft = ({ promptTokens }: (typeof prefill)[number]) =>
    fit.costs.requestMs + promptTokens * fit.costs.prefillMsPerToken;
  const tpot = ({ batch, contextTokens }: (typeof decode)[number]) =>
    fit.costs.stepMs +
    (batch - 1) * fit.costs.stepMsPerSequence +
    batch * contextTokens * fit.costs.stepMsPerContextToken;
  const number = (value: number) => trimmed(value, 2);
  const columns = (titles: readonly string[]) => titles.map((title) => ({ title, align: 'right' }) as const);
  return [
    renderTable(
      columns(['prompt tokens', 'TTFT ms', 'fitted']),
      prefill.map((sample) => [String(sample.promptTokens), number(sample.ttftMs), number(ttft(sample))]),
    ),
    renderTable(
      columns(['sequences', 'context', 'TPOT ms', 'fitted']),
      decode.map((sample) => [
        ...[String(sample.batch), String(Math.round(sample.contextTokens))],
        ...[number(sample.tpotMs), number(tpot(sample))],
      ]),
    ),
    `error of the fit: TTFT median ${formatPercent(fit.prefill.median)}, largest ${formatPercent(fit.prefill.largest)}; ` +
      `TPOT median ${formatPercent(fit.decode.median)}, largest ${formatPercent(fit.decode.largest)}`,
  ].join('\n\n');
}

/** Four significant digits: a fifth would be noise. */
function rounded({ costs }: Calibration): Record<string, number> {
  return Object.fromEntries(Object.entries(costs).map(([name, value]) => [name, Number(value.toPrecision(4))]));
}

function counts(text: string): number[] {
  return text.split(',').map(positiveInteger);
}
