/**
 * The cheapest possible stand-in for a vLLM server: constant answers, no model, no pacing. It exists to measure what a gateway adds.
 * Run as a process of its own: `tsx bench/mock-engine.ts PORT`.
 */
import { createServer } from 'node:http';

const SSE_EVENTS = 64;

const id = 'chatcmpl-0123456789abcdef';
const usage = { prompt_tokens: 100, total_tokens: 164, completion_tokens: 64 };
const completion = Buffer.from(
  JSON.stringify({
    id,
    object: 'chat.completion',
    created: 1,
    model: 'mock',
    choices: [
      { index: 0, message: { role: 'assistant', content: 'x'.repeat(200) }, logprobs: null, finish_reason: 'stop' },
    ],
    usage,
  }),
);
const event = (delta: object, finishReason: string | null) =>
  `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1, model: 'mock', choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }] })}\n\n`;
const stream = Buffer.from(
  event({ role: 'assistant', content: '' }, null) +
    event({ content: ' word' }, null).repeat(SSE_EVENTS - 1) +
    event({ content: '' }, 'stop'),
);
const usageEvent = Buffer.from(
  `data: ${JSON.stringify({ id, object: 'chat.completion.chunk', created: 1, model: 'mock', choices: [], usage })}\n\ndata: [DONE]\n\n`,
);
const models = JSON.stringify({
  object: 'list',
  data: [
    { id: 'mock', object: 'model', created: 1, owned_by: 'vllm', root: 'mock', parent: null, max_model_len: 131072 },
  ],
});

const GET_BODIES: Readonly<Record<string, string>> = {
  '/health': '',
  '/metrics': '',
  '/version': '{"version":"0.29.0"}',
  '/v1/models': models,
};

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    const body = GET_BODIES[request.url ?? ''];
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(body ?? '{"detail":"Not Found"}');
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    if (body.includes('"stream":true')) {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
      response.write(stream);
      response.end(usageEvent);
    } else {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': completion.length });
      response.end(completion);
    }
  });
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const address = server.address();
  if (address && typeof address === 'object') console.log(`listening http://127.0.0.1:${address.port}`);
});
