import { Agent, request } from 'undici';
import { engineAddress } from '../../model/engine-address.js';
import { MaestroError } from '../../model/error.js';
import { nextInt, SeededRng } from '../../model/rng.js';
import type { DecodeSample, PrefillSample } from '../calibration-fit.js';
import { connectorWith, type EngineTls } from '../vllm/engine-tls.js';

export interface MeasureOptions {
  /** Base URL, without a path; `unix:/PATH` for a socket. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** For an `https://` URL. */
  readonly tls?: EngineTls | undefined;
  readonly model: string;
  /** Milliseconds that only go forward. */
  readonly nowMs: () => number;
  /** Prompt lengths, and for decoding: sequences at once and context lengths. Tokens are aimed at; what counts is what the server tells. */
  readonly promptTokens: readonly number[];
  readonly batches: readonly number[];
  readonly contextTokens: readonly number[];
  readonly outputTokens: number;
  readonly repeats: number;
  readonly seed: number;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Measurements {
  readonly prefill: readonly PrefillSample[];
  readonly decode: readonly DecodeSample[];
}

const REQUEST_LIMIT_MS = 120_000;
/** Of words such as those below; corrected by the first answer. */
const FIRST_TOKENS_PER_WORD = 1.5;

interface Answer {
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly firstMs: number;
  readonly endMs: number;
  readonly sentMs: number;
}

/** Asks a running engine, which nobody else uses meanwhile, for prompts of several lengths and batches of several sizes, and keeps the medians. The first of each is not counted. */
export async function measureEngine(options: MeasureOptions): Promise<Measurements> {
  const dispatcher = dispatcherTo(options.url, options.tls);
  return measure(options, dispatcher).finally(() => dispatcher.destroy());
}

async function measure(options: MeasureOptions, dispatcher: Agent): Promise<Measurements> {
  const { promptTokens, batches, contextTokens, repeats, outputTokens, nowMs, onProgress } = options;
  const rng = new SeededRng(options.seed);
  let tokensPerWord = FIRST_TOKENS_PER_WORD;
  const words = (tokens: number) => {
    const count = Math.max(1, Math.round(tokens / tokensPerWord));
    // Every prompt is another one from its first word, so that no prefix cache helps.
    return Array.from({ length: count }, () => `w${nextInt(rng, 9000) + 1000}`).join(' ');
  };
  const ask = (tokens: number, maxTokens: number) => complete(options, dispatcher, words(tokens), maxTokens);
  const total = promptTokens.length + batches.length * contextTokens.length;
  let done = 0;
  const step = () => onProgress?.(++done, total);

  const first = await ask(64, 4);
  tokensPerWord *= first.promptTokens / 64;
  const prefill: PrefillSample[] = [];
  for (const tokens of promptTokens) {
    const answers: Answer[] = [];
    // Kernels are compiled or chosen when a shape comes first.
    await ask(tokens, 1);
    for (let repeat = 0; repeat < repeats; repeat++) answers.push(await ask(tokens, 1));
    prefill.push({
      promptTokens: median(answers.map((answer) => answer.promptTokens)),
      ttftMs: median(answers.map(({ firstMs, sentMs }) => firstMs - sentMs)),
    });
    step();
  }
  const decode: DecodeSample[] = [];
  for (const context of contextTokens) {
    for (const batch of batches) {
      const runs: DecodeSample[] = [];
      await Promise.all(Array.from({ length: batch }, () => ask(context, 2)));
      for (let repeat = 0; repeat < repeats; repeat++) {
        const startedMs = nowMs();
        const answers = await Promise.all(Array.from({ length: batch }, () => ask(context, outputTokens)));
        // The one that began last decodes beside all the others.
        const last = answers.reduce((latest, answer) => (answer.firstMs > latest.firstMs ? answer : latest));
        if (last.outputTokens < 2) throw tooFewTokens(nowMs() - startedMs);
        runs.push({
          batch,
          contextTokens: last.promptTokens + last.outputTokens / 2,
          tpotMs: (last.endMs - last.firstMs) / (last.outputTokens - 1),
        });
      }
      runs.sort((a, b) => a.tpotMs - b.tpotMs);
      decode.push(runs[Math.floor(runs.length / 2)]!);
      step();
    }
  }
  return { prefill, decode };
}

function tooFewTokens(tookMs: number): MaestroError {
  return new MaestroError(
    'engine_failed',
    `The engine ended a completion after one token although ignore_eos was set (after ${Math.round(tookMs)} ms). Is it a generating model?`,
  );
}

/** The way to the engine. Bodies may be silent for long, so only {@link REQUEST_LIMIT_MS} bounds them. */
function dispatcherTo(url: string, tls: EngineTls | undefined): Agent {
  const { socketPath } = engineAddress(url);
  return new Agent({
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: connectorWith(tls, socketPath === undefined ? {} : { socketPath }),
  });
}

/** One streamed completion; times are those of its first and last token frames. */
async function complete(
  options: MeasureOptions,
  dispatcher: Agent,
  prompt: string,
  maxTokens: number,
): Promise<Answer> {
  const { url, apiKey, model, nowMs } = options;
  const sentMs = nowMs();
  const { statusCode, body } = await request(`${engineAddress(url).origin}/v1/completions`, {
    dispatcher,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    },
    body: JSON.stringify({
      ...{ model, prompt, max_tokens: maxTokens, temperature: 0, ignore_eos: true, stream: true },
      stream_options: { include_usage: true },
    }),
    signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
  });
  if (statusCode !== 200) {
    const text = (await body.text()).slice(0, 300);
    throw new MaestroError('engine_failed', `The engine answered ${statusCode} to a completion: ${text}`);
  }
  let firstMs: number | undefined;
  let endMs = sentMs;
  let tail = '';
  let usage: { prompt_tokens?: number; completion_tokens?: number } | undefined;
  for await (const chunk of body) {
    const atMs = nowMs();
    tail += (chunk as Buffer).toString('utf8');
    const lines = tail.split('\n');
    tail = lines.pop()!;
    for (const line of lines) {
      if (!line.startsWith('data: {')) continue;
      const frame = JSON.parse(line.slice(6)) as { choices?: unknown[]; usage?: typeof usage | null; error?: object };
      if (frame.error) throw new MaestroError('engine_failed', `The engine broke off: ${JSON.stringify(frame.error)}`);
      if (frame.usage) usage = frame.usage;
      if ((frame.choices?.length ?? 0) === 0) continue;
      firstMs ??= atMs;
      endMs = atMs;
    }
  }
  if (firstMs === undefined || usage?.prompt_tokens === undefined) {
    throw new MaestroError('engine_failed', 'The engine streamed no tokens, or told no usage.');
  }
  const { prompt_tokens: promptTokens, completion_tokens: outputTokens = 0 } = usage;
  return { promptTokens, outputTokens, firstMs, endMs, sentMs };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
