import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The least of a vLLM server, with answers by script: for faults that an emulator would not have. Serves one model, `m`. */
export class ScriptedEngine {
  /** Status of the n-th request to generate, from 1; 200 gives an answer of one token. */
  status: (request: number) => number = () => 200;
  /** Requests to generate so far, canaries among them, and how many of them are open, now and at most. */
  requests = 0;
  open = 0;
  mostOpen = 0;
  /** An answer takes so long, in ms. */
  delayMs = 0;
  /** What `/metrics` answers. */
  metrics: () => string = () => '';
  /** Does `/health` answer 200? */
  healthy = true;
  private server: Server | undefined;
  private port = 0;

  async start(): Promise<string> {
    const server = createServer((request, response) => {
      const send = (status: number, body: string) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(body);
      };
      if (request.url === '/health') return send(this.healthy ? 200 : 503, '');
      if (request.url === '/metrics') return send(200, this.metrics());
      const fixed = FIXED[request.url ?? ''];
      if (fixed !== undefined) return send(200, fixed);
      if (request.method !== 'POST') return send(404, '{"detail":"Not Found"}');
      request.resume();
      this.requests += 1;
      this.open += 1;
      this.mostOpen = Math.max(this.mostOpen, this.open);
      const status = this.status(this.requests);
      response.once('close', () => {
        this.open -= 1;
      });
      request.once('end', () => setTimeout(() => send(status, status === 200 ? ANSWER : REFUSAL), this.delayMs));
      return undefined;
    });
    this.server = server;
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.port = (server.address() as AddressInfo).port;
    return `http://127.0.0.1:${this.port}`;
  }

  /** Closes the door and every connection; `start` opens it at the same address. */
  async stop(): Promise<void> {
    const { server } = this;
    if (!server) return;
    this.server = undefined;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }
}

const FIXED: Readonly<Record<string, string>> = {
  '/version': '{"version":"0.29.0"}',
  '/v1/models': '{"object":"list","data":[{"id":"m","object":"model","root":"m","parent":null,"max_model_len":4096}]}',
};
const ANSWER =
  '{"id":"x-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"text":"hi","message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],' +
  '"usage":{"prompt_tokens":1,"total_tokens":2,"completion_tokens":1}}';
const REFUSAL = '{"error":{"message":"no","type":"BadRequestError","param":null,"code":400}}';
