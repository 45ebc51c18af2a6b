import { type Command, InvalidArgumentError, Option } from 'commander';
import { WallClock } from '../bus/wall-clock.js';
import { VLLM_VERSIONS } from '../engine/emulator/dialect.js';
import { type KvEventsConfig, kvEventsConfig as readKvEventsConfig } from '../engine/emulator/kv-events/publisher.js';
import { launchEmulator } from '../engine/emulator/launch.js';
import type { EmulatorOptions } from '../engine/emulator/options.js';
import { MaestroError } from '../model/error.js';
import { nonNegativeInteger, port, positive, positiveInteger } from './numbers.js';

/** vLLM's process is gone this long after its engine died. */
const DEATH_MS = 600;

/** What is named otherwise on the command line, or told by the environment as for vLLM. */
type NamedOtherwise =
  | 'servedModelNames'
  | 'kvDtype'
  | 'kvEvents'
  | 'shutdownTimeoutS'
  | 'apiKeys'
  | 'deviceSocket'
  | 'gpuIndices'
  | 'kvcachedName'
  | 'kvcachedFolder'
  | 'keepAliveOnEngineDeath'
  | 'responsesStore'
  | 'runtimeLora'
  | 'ssl';

interface EmulateArguments extends Omit<EmulatorOptions, NamedOtherwise> {
  readonly sslKeyfile?: string;
  readonly sslCertfile?: string;
  readonly sslCaCerts?: string;
  readonly sslCertReqs?: number;
  readonly timeScale: number;
  readonly servedModelName?: string[];
  readonly kvCacheDtype?: EmulatorOptions['kvDtype'];
  readonly kvEventsConfig?: unknown;
  readonly shutdownTimeout?: number;
  readonly apiKey?: string[];
  readonly device?: string;
  readonly gpus?: number[];
  readonly exitWithStdin?: boolean;
}

/** `maestro emulate`: one emulated vLLM server as a process. */
export function registerEmulate(program: Command): void {
  program
    .command('emulate')
    .summary('run one emulated vLLM server')
    .description(
      'An HTTP server that behaves like `vllm serve` on a GPU that is not there: its endpoints, its scheduling, its times. ' +
        "The flags are vLLM's where vLLM has them.",
    )
    .requiredOption('--model <name>', 'model of the catalogue, or its Hugging Face id')
    .requiredOption('--gpu <type>', 'GPU of the catalogue, such as h100-sxm')
    .option('--port <port>', 'port to listen on; 0 picks one', port, 8000)
    .option('--host <host>', 'address to listen on', '127.0.0.1')
    .option('--uds <path>', 'Unix socket to listen on, in place of host and port')
    .option('--ssl-keyfile <file>', 'private key (PEM): serve TLS')
    .option('--ssl-certfile <file>', 'certificate (PEM) for it')
    .option('--ssl-ca-certs <file>', 'certificates that sign those of clients')
    .option('--ssl-cert-reqs <n>', '0: clients need no certificate, 2: they do', nonNegativeInteger)
    .option('--time-scale <x>', 'emulated seconds in one real second', positive, 1)
    .option('--tp <n>', 'GPUs that share the model, or each rank of it (vLLM --tensor-parallel-size)', positiveInteger)
    .option('--data-parallel-size <n>', 'ranks of --tp GPUs each, behind one address', positiveInteger)
    .option('--served-model-name <names...>', 'names under which clients ask for it')
    .option('--enable-lora', 'taken for granted where adapters are named')
    .option('--max-loras <n>', 'taken and not looked at: calls of any adapters share a batch', positiveInteger)
    .option('--max-lora-rank <n>', 'taken and not looked at', positiveInteger)
    .option('--lora-modules <name=path...>', 'LoRA adapters from the start; nothing is read from the paths')
    .addOption(new Option('--dtype <type>', 'number format of the weights').choices(['bf16', 'fp8', 'int4', 'mxfp4']))
    .addOption(new Option('--kv-cache-dtype <type>', 'number format of the KV cache').choices(['bf16', 'fp8']))
    .option('--max-model-len <tokens>', 'longest sequence', positiveInteger)
    .option('--max-num-seqs <n>', 'largest batch', positiveInteger)
    .option('--max-num-batched-tokens <n>', 'token budget of a step', positiveInteger)
    .option('--block-size <tokens>', 'tokens of a KV block', positiveInteger)
    .option('--kv-cache-memory-bytes <bytes>', 'KV pool on each GPU', positiveInteger)
    .option('--gpu-memory-utilization <share>', 'share of each GPU that must be free at the start', positive)
    .option('--residue-bytes <bytes>', 'HBM that stays taken while asleep', nonNegativeInteger)
    .addOption(new Option('--scheduling-policy <policy>', 'order of the queue').choices(['fcfs', 'priority']))
    .option('--no-enable-prefix-caching', 'share no prompt prefixes')
    .option('--enable-sleep-mode', 'give memory back on /sleep')
    .option('--start-asleep', 'begin in level-1 sleep, weights in host memory; needs --enable-sleep-mode')
    .option('--dev-mode', 'development endpoints: sleep, pause, abort … (also VLLM_SERVER_DEV_MODE=1)')
    .option('--enable-request-id-headers', 'send X-Request-Id on every answer')
    .option('--enable-prompt-tokens-details', 'tell cached tokens in usage')
    .option('--enable-force-include-usage', 'usage on every frame of every stream')
    .option('--enable-per-request-metrics', 'tell times in answers')
    .option('--enable-server-load-tracking', 'count requests in /load')
    .option('--enable-auto-tool-choice', 'allow tool_choice auto; needs --tool-call-parser')
    .option('--tool-call-parser <name>', 'allow tool calls')
    .addOption(
      new Option('--vllm-version <version>', 'release whose behaviour is shown')
        .choices(VLLM_VERSIONS)
        .default('0.29.0'),
    )
    .option('--enable-scale-out', '0.32: allow the render endpoints')
    .option('--max-num-queued-reqs <n>', 'refuse requests beyond this many with 503', positiveInteger)
    .option(
      '--max-num-queued-tokens <n>',
      'refuse requests beyond this many unread prompt tokens with 503',
      positiveInteger,
    )
    .addOption(new Option('--kv-events-config <json>', 'tell over ZeroMQ what the prefix cache has').argParser(json))
    .option('--shutdown-timeout <s>', 'seconds that open requests get after SIGTERM', nonNegativeInteger)
    .addOption(new Option('--runner <kind>', '`pooling` serves embeddings only').choices(['generate', 'pooling']))
    .option('--api-key <keys...>', 'keys that /v1 asks for')
    .option('--seed <n>', 'seed of texts and lengths', nonNegativeInteger)
    .option('--startup-ms <ms>', 'emulated time before it listens', nonNegativeInteger)
    .option('--stream-tick-ms <ms>', 'write streams at most once in this real time', positive)
    .option('--device <socket>', 'Unix socket of the emulated device of the node')
    .option('--gpus <indices>', 'GPUs of that device, such as 0,1', indices)
    .option('--exit-with-stdin', 'end when standard input closes')
    .addOption(
      new Option('--llm-spec <json>', 'shape of a model that the catalogue does not hold').argParser(json).hideHelp(),
    )
    .addOption(new Option('--gpu-spec <json>', 'a GPU that the catalogue does not hold').argParser(json).hideHelp())
    .addHelpText('after', '\nExample:\n  $ maestro emulate --model llama-3.1-8b --gpu h100-sxm --port 8000\n')
    .action(emulate);
}

async function emulate(args: EmulateArguments): Promise<void> {
  if (args.startAsleep && !args.enableSleepMode) {
    throw new MaestroError('invalid_request', '--start-asleep needs --enable-sleep-mode.');
  }
  const {
    servedModelName,
    kvCacheDtype,
    apiKey,
    device,
    gpus,
    exitWithStdin,
    shutdownTimeout,
    kvEventsConfig,
    sslKeyfile: keyfile,
    sslCertfile: certfile,
    sslCaCerts: caCerts,
    sslCertReqs: certReqs,
    ...rest
  } = args;
  if ((keyfile === undefined) !== (certfile === undefined)) {
    throw new MaestroError('invalid_request', '--ssl-keyfile and --ssl-certfile belong together: give both or none.');
  }
  const kvEvents = toKvEvents(kvEventsConfig);
  // As for vLLM the flag goes first.
  const apiKeys = apiKey ?? (process.env['VLLM_API_KEY'] ? [process.env['VLLM_API_KEY']] : undefined);
  const options: EmulatorOptions = {
    ...rest,
    devMode: rest.devMode ?? process.env['VLLM_SERVER_DEV_MODE'] === '1',
    runtimeLora: process.env['VLLM_ALLOW_RUNTIME_LORA_UPDATING'] === '1',
    responsesStore: process.env['VLLM_ENABLE_RESPONSES_API_STORE'] === '1',
    ...kvcachedName(process.env),
    keepAliveOnEngineDeath: process.env['VLLM_KEEP_ALIVE_ON_ENGINE_DEATH'] === '1',
    ...(kvEvents ? { kvEvents } : {}),
    ...(shutdownTimeout === undefined ? {} : { shutdownTimeoutS: shutdownTimeout }),
    ...(servedModelName ? { servedModelNames: servedModelName } : {}),
    ...(kvCacheDtype ? { kvDtype: kvCacheDtype } : {}),
    ...(apiKeys ? { apiKeys } : {}),
    ...(device ? { deviceSocket: device } : {}),
    ...(gpus ? { gpuIndices: gpus } : {}),
    ...(keyfile === undefined || certfile === undefined
      ? {}
      : {
          ssl: {
            ...{ keyfile, certfile },
            ...(caCerts === undefined ? {} : { caCerts }),
            ...(certReqs === undefined ? {} : { certReqs }),
          },
        }),
  };
  const emulator = await launchEmulator(options, new WallClock(args.timeScale), {
    onDeath: (how) => {
      if (how === 'cut') process.exit(1);
      setTimeout(() => process.exit(0), DEATH_MS);
    },
    onDeviceLost: () => process.exit(1),
  });
  const leave = () => {
    void emulator.terminate().then(() => process.exit(0));
    // Clients that never close must not keep the process, save after a drain, where they do so for vLLM too.
    if (!shutdownTimeout) setTimeout(() => process.exit(0), 300);
  };
  process.once('SIGTERM', leave);
  // Ctrl-C reaches the whole process group; a parent decides for itself when its engines end.
  process.on('SIGINT', () => process.send || leave());
  // Whoever started it with a channel is its parent; without the parent it would be an orphan.
  process.once('disconnect', () => process.exit(0));
  if (exitWithStdin) process.stdin.once('close', () => process.exit(0)).resume();
  process.stdout.on('error', () => undefined);
  process.stdout.write(`listening ${emulator.url}\n`);
  process.send?.({ kind: 'listening', url: emulator.url });
  await new Promise<never>(() => undefined);
}

function toKvEvents(config: unknown): KvEventsConfig | undefined {
  return typeof config === 'object' && config !== null
    ? readKvEventsConfig(config as Readonly<Record<string, unknown>>)
    : undefined;
}

function indices(text: string): number[] {
  return text.split(',').map(nonNegativeInteger);
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new InvalidArgumentError('It must be JSON.');
  }
}

/** As kvcached itself is switched on. */
function kvcachedName(env: NodeJS.ProcessEnv): Pick<EmulatorOptions, 'kvcachedName'> {
  const name = env['KVCACHED_IPC_NAME'];
  return env['ENABLE_KVCACHED'] === 'true' && name ? { kvcachedName: name } : {};
}
