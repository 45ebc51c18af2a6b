import { fieldOf } from '../../model/json.js';
import type { EmulatorContext } from './context.js';
import { parseBool } from './fields.js';
import type { Call, Handler, Routes } from './http.js';
import { badValue, httpException, internalError, validationError } from './http-error.js';
import { type PauseMode, parsePauseMode } from './sleep.js';

/** Endpoints of VLLM_SERVER_DEV_MODE=1. Parameters are query parameters; bodies of sleep and wake are ignored. */
export function devRoutes(context: EmulatorContext): Routes {
  const { sleep, loop } = context;
  const json = (call: Call, body: unknown) => call.reply.json(200, JSON.stringify(body));
  const get = (answer: (call: Call) => unknown): Record<string, Handler> => ({
    GET: (call) => json(call, answer(call)),
  });
  return new Map<string, Record<string, Handler>>([
    ['/sleep', { POST: (call) => sleepEndpoint(context, call) }],
    [
      '/wake_up',
      {
        POST: async (call) => {
          const tags = call.query.has('tags') ? call.query.getAll('tags') : undefined;
          await sleep.wakeUp(tags);
          if (context.version === '0.29.0') call.reply.empty();
          else json(call, { status: sleep.isSleeping ? 'sleeping' : 'awake', tags: tags ?? null });
        },
      },
    ],
    ['/is_sleeping', get(() => ({ is_sleeping: sleep.isSleeping }))],
    ['/is_paused', get(() => ({ is_paused: sleep.isPaused }))],
    ['/pause', { POST: (call) => pauseEndpoint(context, call) }],
    [
      '/resume',
      {
        POST: (call) => {
          sleep.resume();
          json(call, { status: 'resumed' });
        },
      },
    ],
    ['/abort_requests', { POST: (call) => abortEndpoint(context, call) }],
    ['/collective_rpc', { POST: (call) => rpcEndpoint(context, call) }],
    [
      '/reset_prefix_cache',
      {
        POST: (call) => {
          const running = queryBool(call, 'reset_running_requests', false);
          queryBool(call, 'reset_external', false);
          json(call, { success: loop.resetPrefixCache(running) });
        },
      },
    ],
    ['/reset_mm_cache', { POST: ({ reply }) => reply.empty() }],
    ['/reset_encoder_cache', { POST: ({ reply }) => reply.empty() }],
    ['/server_info', get((call) => serverInfo(context, call))],
    [
      '/get_world_size',
      get((call) => {
        const { tp, gpuCount } = context.model;
        return { world_size: queryBool(call, 'include_dp', true) ? gpuCount : tp };
      }),
    ],
    ['/weight_info', get(() => ({ weight_version: 'default' }))],
  ]);
}

async function sleepEndpoint({ sleep, version }: EmulatorContext, { query, reply }: Call): Promise<void> {
  const text = query.get('level') ?? '1';
  if (version !== '0.29.0') {
    const { level, mode } = strictSleepParameters(text, query.get('mode') ?? 'abort');
    await sleep.sleep(level, mode);
    reply.json(200, JSON.stringify({ status: 'sleeping', level }));
    return;
  }
  if (!/^\s*[+-]?\d+\s*$/.test(text)) throw badValue(`invalid literal for int() with base 10: '${text}'`);
  const modeText = query.get('mode') ?? 'abort';
  const mode = parsePauseMode(modeText);
  if (!mode) throw internalError(`Call to sleep method failed: Invalid pause mode: ${modeText}`);
  await sleep.sleep(Number(text), mode);
  reply.empty();
}

/** 0.32 validates what 0.29 takes as it comes. */
function strictSleepParameters(levelText: string, modeText: string): { level: number; mode: PauseMode } {
  const complain = (type: string, msg: string, ctx?: Record<string, unknown>) =>
    validationError([{ type, loc: ['query', 'level'], msg, input: levelText, ...(ctx ? { ctx } : {}) }]);
  if (!/^\s*[+-]?\d+\s*$/.test(levelText)) {
    throw complain('int_parsing', 'Input should be a valid integer, unable to parse string as an integer');
  }
  const level = Number(levelText);
  if (level < 0) throw complain('greater_than_equal', 'Input should be greater than or equal to 0', { ge: 0 });
  if (level > 2) throw complain('less_than_equal', 'Input should be less than or equal to 2', { le: 2 });
  const mode = parsePauseMode(modeText);
  if (!mode) throw badLiteral('mode', modeText, "'abort', 'wait' or 'keep'");
  return { level, mode };
}

async function pauseEndpoint({ sleep }: EmulatorContext, call: Call): Promise<void> {
  const modeText = call.query.get('mode') ?? 'abort';
  const mode = queryBool(call, 'wait_for_inflight_requests', false) ? 'wait' : parsePauseMode(modeText);
  if (!mode) throw badLiteral('mode', modeText, "'abort', 'wait' or 'keep'");
  await sleep.pause(mode, queryBool(call, 'clear_cache', true));
  call.reply.json(200, JSON.stringify({ status: 'paused' }));
}

async function abortEndpoint({ loop }: EmulatorContext, call: Call): Promise<void> {
  const body = parseObject(await call.body());
  if (!body) throw httpException(400, 'Invalid JSON format');
  const asked = body['request_ids'];
  const ids: string[] = Array.isArray(asked) ? asked.map(String) : typeof asked === 'string' ? [...asked] : [];
  // An empty list stands for all. Otherwise the real server does not look whether the ids exist.
  const aborted = ids.length > 0 ? ids.length : loop.size;
  loop.abort(ids);
  call.reply.json(200, JSON.stringify({ status: 'aborted', aborted }));
}

async function rpcEndpoint({ sleep, model }: EmulatorContext, call: Call): Promise<void> {
  const body = parseObject(await call.body());
  if (!body) throw httpException(400, 'JSON decode error: Expecting value: line 1 column 1 (char 0)');
  const method = body['method'];
  if (typeof method !== 'string' || method === '') throw httpException(400, "Missing 'method' in request body");
  if (body['args'] !== undefined && !Array.isArray(body['args'])) {
    throw badValue(`'${typeof body['args'] === 'number' ? 'int' : typeof body['args']}' object is not iterable`);
  }
  if (method === 'reload_weights') await sleep.reloadWeights(weightsPathOf(body['kwargs']));
  else if (method !== 'check_health') {
    const cause = `'Worker' object has no attribute '${method}'`;
    throw internalError(
      `Call to collective_rpc method failed: Worker failed with error '${cause}', please check the stack trace above for the root cause`,
    );
  }
  call.reply.json(200, JSON.stringify({ results: Array.from({ length: model.tp }, () => null) }));
}

function weightsPathOf(kwargs: unknown): string | undefined {
  const path = fieldOf(kwargs, 'weights_path');
  return typeof path === 'string' && path !== '' ? path : undefined;
}

function serverInfo({ model, options, version }: EmulatorContext, { query }: Call) {
  const format = query.get('config_format') ?? 'text';
  if (format !== 'text' && format !== 'json') throw badLiteral('config_format', format, "'text' or 'json'");
  const policy = options.schedulingPolicy ?? 'fcfs';
  const config = {
    model_config: {
      model: options.model,
      dtype: `torch.${model.dtype === 'bf16' ? 'bfloat16' : model.dtype}`,
      seed: options.seed ?? 0,
      max_model_len: model.maxModelLen,
      served_model_name: model.servedModelNames[0],
      enable_sleep_mode: options.enableSleepMode ?? false,
      sleep_mode_backend: 'cumem',
    },
    cache_config: {
      block_size: model.blockSize,
      gpu_memory_utilization: model.gpuMemoryUtilization,
      cache_dtype: model.kvDtype === 'fp8' ? 'fp8' : 'auto',
      enable_prefix_caching: options.enablePrefixCaching ?? true,
      num_gpu_blocks: model.dataParallel * model.numGpuBlocks,
      kv_cache_size_tokens: model.kvPoolTokens,
      kv_cache_max_concurrency: model.kvPoolTokens / model.maxModelLen,
      kv_cache_memory_bytes: model.kvPoolBytes,
    },
    load_config: { load_format: 'auto' },
    parallel_config: {
      tensor_parallel_size: model.tp,
      pipeline_parallel_size: 1,
      data_parallel_size: model.dataParallel,
    },
    scheduler_config: {
      max_num_batched_tokens: model.maxNumBatchedTokens,
      max_num_seqs: model.maxNumSeqs,
      max_num_queued_reqs: options.maxNumQueuedReqs ?? null,
      policy,
      scheduler_reserve_full_isl: true,
      stream_interval: 1,
    },
    // A dict of no fixed fields in vLLM: this is how the emulator says what it is.
    additional_config: { emulated: true },
  };
  const text =
    `model='${options.model}', dtype=torch.${model.dtype}, max_seq_len=${model.maxModelLen}, tensor_parallel_size=${model.tp}, ` +
    `pipeline_parallel_size=1, data_parallel_size=${model.dataParallel}, ` +
    `seed=${options.seed ?? 0}, served_model_name=${model.servedModelNames[0]}`;
  return {
    vllm_config: format === 'json' ? config : text,
    vllm_env: { VLLM_SERVER_DEV_MODE: true },
    system_env: { vllm_version: version, nvidia_gpu_models: model.gpu.name },
  };
}

function queryBool({ query }: Call, name: string, fallback: boolean): boolean {
  const text = query.get(name);
  if (text === null) return fallback;
  const parsed = parseBool(text);
  if (parsed !== undefined) return parsed;
  throw validationError([
    {
      type: 'bool_parsing',
      loc: ['query', name],
      msg: 'Input should be a valid boolean, unable to interpret input',
      input: text,
    },
  ]);
}

function badLiteral(name: string, input: string, expected: string) {
  const msg = `Input should be ${expected}`;
  return validationError([{ type: 'literal_error', loc: ['query', name], msg, input, ctx: { expected } }]);
}

function parseObject(bytes: Buffer): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
