import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLocalLevels, type LocalLevels } from '../bus/local.js';
import { WallClock } from '../bus/wall-clock.js';
import type { MaestroConfig } from '../config/schema.js';
import { EnginePath } from '../engine/vllm/data-path.js';
import { createGateway, createGatewayMetrics, type Gateway, type GatewayConfig } from '../gateway/index.js';
import type { Clock } from '../model/clock.js';
import { createLogger } from '../observe/log.js';
import type { StageModel } from '../predict/stage-model.js';
import { discoveredNodes } from './vllm-urls.js';

export interface RehearsalOptions {
  readonly config: MaestroConfig;
  readonly gateway: GatewayConfig;
  readonly model: StageModel | undefined;
  /** Ends the rehearsal early: asked before every request. */
  readonly stopped: () => boolean;
}

/**
 * Requests that are made up. The first ones cost ten times as much as those after 100,000. Source: after 7,000 those of the first second with one connection cost 0.8 of what
 * they cost after 3,000, for half as much CPU time again at the start.
 */
const REQUESTS = 7000;
/** On a machine without CPU time the rehearsal ends by then, wall milliseconds. */
const LIMIT_MS = 9000;
const AT_ONCE = 4;
/** Events with text in a stream. */
const WORDS = 14;
const KEEP_ALIVE_MS = 5000;

const MODEL = 'rehearsal';
const ANSWER = JSON.stringify({
  id: 'chatcmpl-0',
  object: 'chat.completion',
  created: 0,
  model: MODEL,
  choices: [{ index: 0, message: { role: 'assistant', content: 'word '.repeat(40) }, finish_reason: 'stop' }],
  usage: { prompt_tokens: 20, total_tokens: 60, completion_tokens: 40 },
});
/** Of a stream, each read and written on its own, as they come from an engine: what is done with an event is compiled only after some thousands. */
const EVENTS = [
  { delta: { role: 'assistant', content: '' }, finish_reason: null },
  ...new Array<object>(WORDS).fill({ delta: { content: 'word' }, finish_reason: null }),
  { delta: {}, finish_reason: 'stop' },
].map((choice) => event({ choices: [{ index: 0, ...choice }] }));
const USAGE_EVENT = event({ choices: [], usage: { prompt_tokens: 20, total_tokens: 22, completion_tokens: 2 } });

function event(fields: object): string {
  return `data: ${JSON.stringify({ id: 'chatcmpl-0', object: 'chat.completion.chunk', created: 0, model: MODEL, ...fields })}\n\n`;
}

/**
 * Sends made-up requests through a gateway, levels and an engine of their own in this process, so that the code that serves is compiled before clients
 * need it (see {@link REQUESTS}). Nothing of it is learned, counted or seen
 * outside; all is gone when it ends. Never rejects: what fails here costs time later, and nothing else.
 */
export async function rehearse(options: RehearsalOptions): Promise<void> {
  const engines = [createServer(answer), createServer(answer)];
  try {
    await rehearseOn(await Promise.all(engines.map(listening)), options);
  } catch {
    // A machine without a free port, for one; those who serve will say so.
  }
  for (const engine of engines) {
    engine.closeAllConnections();
    engine.close();
  }
}

async function rehearseOn(engineUrls: readonly string[], options: RehearsalOptions): Promise<void> {
  const clock = new WallClock();
  const doors = engineUrls.map((_url, index) => new Door(engineUrls.slice(index), clock, options));
  try {
    for (const door of doors) await door.open();
    const endMs = clock.nowMs() + LIMIT_MS;
    let sent = 0;
    const callAgain = async () => {
      while (sent < REQUESTS && clock.nowMs() < endMs && !options.stopped()) {
        const index = sent++;
        // Both get requests of every kind: these come in eights.
        await doors[(index >> 3) % doors.length]!.call(index);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, callAgain));
  } finally {
    for (const door of doors) await door.close();
  }
}

/**
 * A gateway and levels that stand in for those that serve. There are two, of unlike fleets: what V8 compiles for one alone takes its objects and functions for the only
 * ones there are, and is thrown away when the first client comes to others.
 */
class Door {
  private readonly levels: LocalLevels;
  private readonly gateway: Gateway;
  private client: EnginePath | undefined;

  constructor(
    engineUrls: readonly string[],
    private readonly clock: Clock,
    { config, gateway, model }: RehearsalOptions,
  ) {
    const logger = createLogger({ level: 'silent' });
    const { decisionLog: _unwritten, ...observe } = config.observe;
    this.levels = createLocalLevels({
      config: { ...config, observe },
      ...{ nodes: discoveredNodes(engineUrls), clock, wallClock: clock, logger },
      prediction: { model },
    });
    this.gateway = createGateway({
      ...{ scheduling: this.levels.scheduling, clock, wallClock: clock, logger },
      metrics: createGatewayMetrics(config.classes.map(({ name }) => name)),
      config: { ...gateway, keys: [] },
    });
  }

  async open(): Promise<void> {
    const { levels, gateway, clock } = this;
    await levels.start();
    await gateway.listen(0, '127.0.0.1');
    this.client = new EnginePath({ origin: gateway.address, apiKey: undefined, keepAliveMs: KEEP_ALIVE_MS, clock });
  }

  call(index: number): Promise<void> {
    return call(this.client!, index);
  }

  async close(): Promise<void> {
    this.client?.close();
    await this.gateway.close(0);
    await this.levels.stop();
  }
}

/** Sends the request of that number and reads its answer. */
function call(client: EnginePath, index: number): Promise<void> {
  const body = Buffer.from(JSON.stringify(requestOf(index)));
  const headers = ['content-type', 'application/json', 'authorization', 'Bearer none', 'accept', '*/*'];
  return new Promise((resolve, reject) => {
    client.dispatch(
      { method: 'POST', path: '/v1/chat/completions', headers, body },
      { onStart() {}, onHead() {}, onData() {}, onEnd: () => resolve(), onError: reject, onFault: reject },
    );
  });
}

/** A line of a system prompt as agents send it: full of what JSON escapes. */
const LINE = '\tif (answer === "none") return "ask again";\n';

/**
 * Requests of the kinds that come most: a single question, a long system prompt, a conversation that goes on; every fourth is streamed. Every sixteenth has a prompt of 40 kB, and a
 * fourth of these one of 160 kB, which comes in several pieces.
 */
function requestOf(index: number): object {
  const messages: object[] = [{ role: 'user', content: 'Hello, how are you?' }];
  const lines = index % 16 === 4 ? (index % 64 === 4 ? 4000 : 1000) : 0;
  if (index % 8 >= 4) {
    messages.unshift({ role: 'system', content: `You are agent ${index % 3}. `.repeat(60) + LINE.repeat(lines) });
  }
  if (index % 8 >= 6)
    messages.push({ role: 'assistant', content: 'Well.' }, { role: 'user', content: `And ${index}?` });
  return { model: MODEL, messages, max_tokens: 64, temperature: 0.7, stream: index % 4 === 3 };
}

/** A vLLM server that has nothing to say. */
function answer(req: IncomingMessage, res: ServerResponse): void {
  const pieces: Buffer[] = [];
  req.on('data', (piece: Buffer) => pieces.push(piece));
  req.once('end', () => {
    if (req.url === '/v1/models')
      sendJson(res, JSON.stringify({ object: 'list', data: [{ id: MODEL, root: MODEL, max_model_len: 131_072 }] }));
    else if (req.url === '/health') sendJson(res, '');
    else if (req.method !== 'POST') res.writeHead(404).end();
    else if (Buffer.concat(pieces).includes('"stream":true')) {
      res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
      stream(res, 0);
    } else sendJson(res, ANSWER);
  });
}

/** Goes on with a stream of which so many events have been sent, one in a turn of the event loop. */
function stream(res: ServerResponse, sent: number): void {
  const next = EVENTS[sent];
  if (next === undefined) {
    res.end(`${USAGE_EVENT}data: [DONE]\n\n`);
    return;
  }
  res.write(next);
  setImmediate(stream, res, sent + 1);
}

function sendJson(res: ServerResponse, text: string): void {
  res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
}

function listening(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  });
}
