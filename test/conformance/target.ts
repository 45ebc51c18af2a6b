import { request } from 'undici';
import { WallClock } from '../../src/bus/wall-clock.js';
import type { VllmVersion } from '../../src/engine/emulator/dialect.js';
import { launchEmulator } from '../../src/engine/emulator/launch.js';
import type { EmulatorOptions } from '../../src/engine/emulator/options.js';

/** A server that the suite runs against, and what was found out about it before. */
export interface Target {
  /** `emulator 0.29.0` or `real 0.32.0`. */
  readonly name: string;
  readonly url: string;
  readonly real: boolean;
  /** Version of vLLM, as it says itself. */
  readonly version: string;
  readonly model: string;
  readonly maxModelLen: number;
  readonly apiKey: string | undefined;
  readonly devMode: boolean;
  /** Sleep mode: undefined where the server does not say. */
  readonly sleepMode: boolean | undefined;
  readonly policy: string | undefined;
  readonly maxNumSeqs: number | undefined;
  /** Does usage tell the cached tokens? */
  readonly promptTokensDetails: boolean;
  readonly toolParser: boolean;
  readonly requestIdHeaders: boolean;
  readonly forceUsage: boolean;
  readonly perRequestMetrics: boolean;
  close(): Promise<void>;
}

/** The flags of the server that the captures come from, so that none of them has to be skipped. */
const CAPTURE_FLAGS: Omit<EmulatorOptions, 'model' | 'gpu'> = {
  servedModelNames: ['tiny'],
  schedulingPolicy: 'priority',
  enablePromptTokensDetails: true,
  maxNumSeqs: 4,
  maxModelLen: 2048,
  devMode: true,
};

interface Emulated extends Target {
  terminate(): Promise<void>;
  readonly kvEventPorts: readonly number[];
}

/** An emulator of this version in this process. */
export async function emulatorTarget(
  version: VllmVersion,
  flags: Partial<EmulatorOptions> = {},
  timeScale = 4,
): Promise<Emulated> {
  const options = {
    model: 'llama-3.1-8b',
    gpu: 'h100-sxm',
    ...CAPTURE_FLAGS,
    vllmVersion: version,
    timeScale,
    ...flags,
  };
  const running = await launchEmulator(options, new WallClock(timeScale));
  const probed = await probe(running.url, flags.apiKeys?.[0]);
  const { close, terminate, server } = running;
  const kvEventPorts = server.kvEvents?.ports ?? [];
  return { ...probed, name: `emulator ${version}`, real: false, close, terminate, kvEventPorts };
}

/** The real server that `MAESTRO_VLLM_URL` names (the first of several), with `MAESTRO_VLLM_API_KEY` where it asks for one; undefined without. */
export async function realTarget(): Promise<Target | undefined> {
  const [url] = process.env['MAESTRO_VLLM_URL']?.split(',') ?? [];
  if (!url) return undefined;
  const probed = await probe(url.replace(/\/+$/, ''), process.env['MAESTRO_VLLM_API_KEY']);
  return { ...probed, name: `real ${probed.version}`, real: true, close: async () => undefined };
}

type Json = Readonly<Record<string, unknown>>;

async function probe(url: string, apiKey: string | undefined): Promise<Omit<Target, 'name' | 'real' | 'close'>> {
  const headers = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const ask = async (path: string, body?: object): Promise<{ status: number; headers: Json; json: Json }> => {
    const answer = await request(url + path, {
      method: body ? 'POST' : 'GET',
      headers: { ...headers, ...(body ? { 'content-type': 'application/json' } : {}) },
      body: body ? JSON.stringify(body) : null,
    });
    const text = await answer.body.text();
    let json: Json = {};
    try {
      json = JSON.parse(text) as Json;
    } catch {}
    return { status: answer.statusCode, headers: answer.headers, json };
  };
  const version = String((await ask('/version')).json['version']);
  const [served] = (await ask('/v1/models')).json['data'] as Json[];
  const model = String(served!['id']);
  const info = await ask('/server_info?config_format=json');
  const config = info.json['vllm_config'] as Record<string, Json> | undefined;
  const chat = { model, messages: [{ role: 'user', content: 'hello' }], max_tokens: 1 };
  const plain = await ask('/v1/chat/completions', chat);
  const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object', properties: {} } } }];
  const withTools = await ask('/v1/chat/completions', { ...chat, tools });
  const frames = await stream(url, headers, chat);
  return {
    url,
    version,
    model,
    maxModelLen: Number(served!['max_model_len']),
    apiKey,
    devMode: (await ask('/is_sleeping')).status === 200,
    sleepMode: config?.['model_config']?.['enable_sleep_mode'] as boolean | undefined,
    policy: config?.['scheduler_config']?.['policy'] as string | undefined,
    maxNumSeqs: config?.['scheduler_config']?.['max_num_seqs'] as number | undefined,
    promptTokensDetails: (plain.json['usage'] as Json | undefined)?.['prompt_tokens_details'] !== null,
    toolParser: withTools.status === 200,
    requestIdHeaders: plain.headers['x-request-id'] !== undefined,
    forceUsage: frames.includes('"usage":{'),
    perRequestMetrics: plain.json['metrics'] !== null,
  };
}

async function stream(url: string, headers: Record<string, string>, chat: object): Promise<string> {
  const { body } = await request(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify({ ...chat, stream: true }),
  });
  return body.text();
}
