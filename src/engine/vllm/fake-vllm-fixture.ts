import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface FakeVllmOptions {
  readonly dialect?: '0.29' | '0.32';
  /** Are the development endpoints (sleep, pause, server_info …) there? */
  readonly devMode?: boolean;
  readonly models?: readonly string[];
  readonly apiKey?: string;
}

/**
 * A scripted vLLM for the tests of this room: the control endpoints with the shapes of two versions, a sleep state, counters to set, and faults
 * to switch on. It schedules nothing; the emulator does that.
 */
export class FakeVllm {
  level: 0 | 1 | 2 = 0;
  running = 0;
  waiting = 0;
  adapters: readonly string[] = [];
  preemptions = 0;
  generatedTokens = 0;
  startedAtSeconds = 1000;
  /** Stands in for the whole page of metrics. */
  page: string | undefined;
  /** `--load-format`. */
  loadFormat = 'auto';
  /** Series that nobody wants, in front of the others on the metrics page. */
  ballast = '';
  /** What the canary is answered with. */
  answer = ' five, six, seven';
  /** Paths that answer with this status, never (`hang`), or whose connection is closed (`cut`). */
  readonly faults = new Map<string, number | 'hang' | 'cut'>();
  /** Method and path of every request, with its body where there was one. */
  readonly requests: string[] = [];
  readonly headers: IncomingMessage['headers'][] = [];
  private server: Server | undefined;
  private awakeTags = new Set<string>();

  constructor(readonly options: FakeVllmOptions = {}) {}

  /** Listens on `port`, or on a free one; returns the base URL. */
  async start(port = 0): Promise<string> {
    const server = createServer((request, response) => void this.handle(request, response));
    this.server = server;
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    return `http://127.0.0.1:${this.port}`;
  }

  get port(): number {
    return (this.server!.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const { server } = this;
    if (!server) return;
    this.server = undefined;
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const url = new URL(request.url ?? '/', 'http://fake');
    this.requests.push(`${request.method} ${request.url}${body && ` ${body}`}`);
    this.headers.push(request.headers);
    const fault = this.faults.get(url.pathname);
    if (fault === 'hang') return;
    if (fault === 'cut') return void response.destroy();
    const { apiKey, devMode = true } = this.options;
    if (apiKey && url.pathname.startsWith('/v1') && request.headers.authorization !== `Bearer ${apiKey}`) {
      json(response, 401, { error: 'Unauthorized' });
      return;
    }
    if (fault !== undefined) {
      const message = `fault ${fault}`;
      json(response, fault, { error: { message, type: 'InternalServerError', param: null, code: fault } });
      return;
    }
    if (this.answerAlways(url, response, body)) return;
    if (devMode && this.answerDevelopment(url, response, body)) return;
    json(response, 404, { detail: 'Not Found' });
  }

  private answerAlways(url: URL, response: ServerResponse, body: string): boolean {
    switch (url.pathname) {
      case '/health':
        return empty(response);
      case '/version':
        return json(response, 200, { version: `${this.options.dialect ?? '0.29'}.0` });
      case '/v1/models': {
        const entry = (id: string) => ({
          id,
          object: 'model',
          root: 'meta-llama/Llama-3.1-8B-Instruct',
          parent: null,
          max_model_len: 2048,
        });
        const data = (this.options.models ?? ['tiny']).map(entry);
        const adapters = this.adapters.map((id) => ({ ...entry(id), parent: 'tiny', max_model_len: null }));
        return json(response, 200, { object: 'list', data: [...data, ...adapters] });
      }
      case '/metrics':
        response
          .writeHead(200, { 'content-type': 'text/plain; version=1.0.0; charset=utf-8' })
          .end(this.page ?? this.metricsPage());
        return true;
      case '/tokenize':
        return json(response, 200, { count: String(JSON.parse(body).prompt).length, max_model_len: 2048, tokens: [] });
      case '/v1/completions':
        return json(response, 200, {
          id: 'cmpl-1',
          choices: [{ index: 0, text: this.answer, finish_reason: 'length' }],
        });
      default:
        return false;
    }
  }

  private answerDevelopment(url: URL, response: ServerResponse, body: string): boolean {
    const later = this.options.dialect === '0.32';
    switch (url.pathname) {
      case '/sleep':
        if (this.level === 0) this.awakeTags.clear();
        if (this.level === 0) this.level = url.searchParams.get('level') === '2' ? 2 : 1;
        return later ? json(response, 200, { status: 'sleeping', level: this.level }) : empty(response);
      case '/wake_up': {
        const tags = url.searchParams.getAll('tags');
        for (const tag of tags.length > 0 ? tags : ['weights', 'kv_cache']) this.awakeTags.add(tag);
        if (this.awakeTags.has('weights') && this.awakeTags.has('kv_cache')) this.level = 0;
        return later ? json(response, 200, { status: this.level === 0 ? 'awake' : 'sleeping', tags }) : empty(response);
      }
      case '/is_sleeping':
        return json(response, 200, { is_sleeping: this.level !== 0 });
      case '/pause':
        return json(response, 200, { status: 'paused' });
      case '/resume':
        return json(response, 200, { status: 'resumed' });
      case '/abort_requests':
        return json(response, 200, { status: 'aborted', aborted: JSON.parse(body).request_ids.length });
      case '/collective_rpc':
        return json(response, 200, { results: [null] });
      case '/reset_prefix_cache':
        return json(response, 200, { success: true });
      case '/server_info':
        return json(response, 200, {
          vllm_config: {
            model_config: { model: 'x', enable_sleep_mode: true },
            load_config: { load_format: this.loadFormat },
            scheduler_config: { policy: 'priority', max_num_seqs: 4 },
            parallel_config: { tensor_parallel_size: 1 },
          },
        });
      default:
        return false;
    }
  }

  private metricsPage(): string {
    const labels = 'engine="0",model_name="tiny"';
    const gauge = (state: string, level: number) =>
      `vllm:engine_sleep_state{${labels},sleep_state="${state}"} ${this.level === level ? '1.0' : '0.0'}`;
    return `${this.ballast}# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{${labels}} ${this.running}.0
vllm:num_requests_waiting{${labels}} ${this.waiting}.0
vllm:num_preemptions_total{${labels}} ${this.preemptions}.0
vllm:kv_cache_usage_perc{${labels}} 0.25
vllm:generation_tokens_total{${labels}} ${this.generatedTokens}.0
${gauge('awake', 0)}
${gauge('weights_offloaded', 1)}
${gauge('discard_all', 2)}
vllm:cache_config_info{block_size="16",engine="0",kv_cache_size_tokens="4096",num_gpu_blocks="256"} 1.0
process_start_time_seconds ${this.startedAtSeconds}
`;
  }
}

function json(response: ServerResponse, status: number, body: unknown): true {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  return true;
}

function empty(response: ServerResponse): true {
  response.writeHead(200, { 'content-length': '0' }).end();
  return true;
}
